"""What a burst of bad frames from one client costs another: answers during a burst beside answers without, in one run.

A server in a process of its own logs as `segue serve` does. One client asks, again and again; in every other round a
stranger connects and sends its burst at once. Rounds with and without alternate, so that whatever else the machine
does hits both alike.

    python benchmarks/flood.py [--frames 10000] [--rounds 20] [--calls 50]
"""

import argparse
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from rich.console import Console
from rich.logging import RichHandler
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from segue.core.chunk import Array, Continuation, nothing_to_continue
from segue.core.spec import PolicySpec
from segue.links.address import Address
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, serve_until

SPEC = PolicySpec(8, 0.02, ("x",), ("a",))
BURSTS = {
    "no burst": None,
    "one byte each": Frame(Opcode.BINARY, b"\xc1"),
    "pings": Frame(Opcode.PING, b""),
    "pieces of a message": Frame(Opcode.CONT, b"", fin=False),
}


class Silent:
    """Answers at once, always the same."""

    spec = SPEC
    stateless = True

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        """Nothing to think about."""
        return np.zeros((8, 1), np.float32)

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to release."""


def serve() -> None:
    """The process of the server: prints its address, and ends with SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True))])
    server = PolicyServer(Silent(), Address(port=0))
    serve_until(server, (signal.SIGTERM,), lambda ready: print(ready.url, flush=True))


@contextmanager
def server() -> Iterator[str]:
    """The address of a server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


def asked(client: RemotePolicy, calls: int) -> list[float]:
    """Seconds of as many answers in a row."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        client.next_chunk(np.zeros(1, np.float32), nothing_to_continue(0, 1, 4))
        times.append(time.perf_counter() - started)
    return times


def measure(url: str, frames: int, rounds: int, calls: int) -> dict[str, np.ndarray]:
    """Seconds of all answers under each burst, the first of which is asked for right after it. (rounds, calls)."""
    client, found = RemotePolicy(url, deadline=120), {name: list[list[float]]() for name in BURSTS}
    for _ in range(rounds):
        for name, frame in BURSTS.items():
            if frame is None:
                found[name].append(asked(client, calls))
                continue
            with connect(url, compression=None, proxy=None, max_queue=None, close_timeout=0.1, legacy=True) as stranger:
                stranger.recv()
                begun = (
                    Frame(Opcode.BINARY, b"", fin=False).serialize(mask=True) if frame.opcode is Opcode.CONT else b""
                )
                with suppress(OSError):
                    stranger.socket.sendall(begun + frame.serialize(mask=True) * frames)
                found[name].append(asked(client, calls))
    client.close()
    return {name: np.array(times) for name, times in found.items()}


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000, help="of a burst")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=50, help="after each burst")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve()
    with server() as url:
        times = measure(url, chosen.frames, chosen.rounds, chosen.calls)
    usual = np.median(times["no burst"])
    for name, each in times.items():
        first, slowest = np.median(each[:, 0]), each.max()
        print(
            f"{name:20} first answer {1e3 * first:7.2f} ms ({first / usual:5.1f} times the usual), "
            f"slowest {1e3 * slowest:7.2f} ms, median {1e3 * np.median(each):5.2f} ms"
        )


if __name__ == "__main__":
    main()
