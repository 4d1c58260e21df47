"""What it costs to ask a policy in another process: round trips without any inference, as ratios in one run.

Three pictures of 224 x 224 and 14 joint angles go there, 50 x 14 actions come back, over the loopback interface. The
same messages are written, read and checked over ZeroMQ and gRPC, and as many bytes are sent over ZeroMQ that nobody
looks at. A server of ZeroMQ does our server's work: one thread reads and checks, and hears everybody while another one
answers. The one in one thread hands nothing over, and hears nobody meanwhile. Everybody takes a turn in each round, so
that whatever else the machine does hits all alike.

    pip install pyzmq grpcio '.[images,fast]'
    python benchmarks/wire.py [--rounds 40] [--calls 25]

Wall-clock time depends on what else runs; CPU time (client and server together) less so. Without pyzmq there is nothing
to compare with, and it says so and ends; without grpcio its rows are left out.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from segue.core.chunk import Array, Continuation
from segue.core.observation import Observation
from segue.core.spec import PolicySpec
from segue.links import frames, jpeg, messages
from segue.links.address import Address
from segue.links.card import Card
from segue.links.client import RemotePolicy
from segue.links.jpeg import Picture, encode_jpeg
from segue.links.messages import Question
from segue.links.server import PolicyServer, running

SIZE = (224, 224)
CAMERAS = {name: SIZE for name in ("head", "left wrist", "right wrist")}
SPEC = PolicySpec(50, 0.02, tuple(f"joint {i}" for i in range(14)), tuple(f"target {i}" for i in range(14)))
QUALITY = 90
PLAIN, WATCHING = Card(SPEC), Card(replace(SPEC, cameras=CAMERAS))
METHOD = "/benchmark/ask"


class Silent:
    """Answers at once, always the same."""

    spec = SPEC
    stateless = True
    actions = np.zeros((50, 14), np.float32)

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        """Nothing to think about."""
        return self.actions

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to release."""


class SilentWatching(Silent):
    """The same, shown pictures too."""

    spec = replace(SPEC, cameras=CAMERAS)


@dataclass(frozen=True)
class Payload:
    """What is asked."""

    observation: Array
    continuation: Continuation
    pictures: Mapping[str, Picture]

    @classmethod
    def example(cls) -> "Payload":
        """Smooth pictures with some noise: JPEG files of a usual size."""
        rng, (height, width) = np.random.default_rng(0), SIZE
        rows, columns = np.mgrid[:height, :width]
        waves = [128 + 80 * np.sin(rows / 20 + i) * np.cos(columns / (15 + i)) for i in range(3)]
        smooth = np.stack(waves, axis=2)
        pictures = {name: np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8) for name in CAMERAS}
        prefix = np.zeros((34, 14), np.float32)
        return cls(np.zeros(14, np.float32), Continuation(16, prefix, 4, 16, np.ones(34, np.int64)), pictures)

    def question(self, kind: str) -> bytes:
        """As Segue asks."""
        seen: dict[str, Any] = dict(self.pictures) if kind != "state" else {}
        if kind == "JPEG":
            seen = {name: encode_jpeg(each, QUALITY) for name, each in seen.items()}
        asked = Question(self.observation, self.continuation, 1, pictures=seen, checksum=kind != "raw")
        return messages.encode_question(asked)


def understood(frame: bytes) -> Question:
    """Read and check a question, as Segue does."""
    found = frames.entries(frame)
    return messages.decode_question(found, WATCHING if "head" in found else PLAIN)


def answer_to(question: Question) -> bytes:
    """Answer it, as Segue does: after a look at its pictures."""
    jpeg.decoded(question.pictures, CAMERAS)
    return messages.encode_answer(Silent.actions, question, SPEC, {"infer_ms": 0.1, "wait_ms": 0.1})


def answered(frame: bytes) -> bytes:
    """Both."""
    return answer_to(understood(frame))


def serve_all() -> None:
    """The process of the servers: prints their addresses, and ends with its standard input."""
    import zmq

    nothing = bytes(len(answered(Payload.example().question("state"))))
    with ExitStack() as stack:
        plain = stack.enter_context(running(PolicyServer(Silent(), Address(port=0))))
        watching = stack.enter_context(running(PolicyServer(SilentWatching(), Address(port=0))))
        context = zmq.Context()

        def listen(reply: Callable[[bytes], bytes]) -> int:
            listening = context.socket(zmq.REP)
            port = listening.bind_to_random_port("tcp://127.0.0.1")

            def answer() -> None:
                while True:
                    listening.send(reply(listening.recv()))

            Thread(target=answer, daemon=True).start()
            return port

        ports = {"zmq": listening(context), "single": listen(answered), "bytes": listen(lambda _: nothing)}
        addresses: dict[str, Any] = {"plain": plain.url, "watching": watching.url, **ports}
        if find_spec("grpc"):
            addresses["grpc"] = stack.enter_context(grpc_listening())
        print(json.dumps(addresses), flush=True)
        sys.stdin.read()


def listening(context: Any) -> int:
    """The port of a server of ZeroMQ with our two threads: one reads and checks and hears everybody, one answers."""
    import zmq

    clients, answers, jobs = context.socket(zmq.ROUTER), context.socket(zmq.PAIR), SimpleQueue[Any]()
    port = clients.bind_to_random_port("tcp://127.0.0.1")
    answers.bind("inproc://answers")

    def answer() -> None:
        back = context.socket(zmq.PAIR)
        back.connect("inproc://answers")
        while True:
            whom, question = jobs.get()
            back.send_multipart([*whom, answer_to(question)])

    def read() -> None:
        both = zmq.Poller()
        both.register(clients, zmq.POLLIN)
        both.register(answers, zmq.POLLIN)
        while True:
            for ready, _ in both.poll():
                if ready is answers:
                    clients.send_multipart(answers.recv_multipart())
                else:
                    *whom, frame = clients.recv_multipart()
                    jobs.put((whom, understood(frame)))

    for work in (answer, read):
        Thread(target=work, daemon=True).start()
    return port


@contextmanager
def grpc_listening() -> Iterator[int]:
    """The port of a server of gRPC that answers as the others do."""
    import grpc

    remote = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: answered(request))
    remote.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("benchmark", {"ask": handler}),))
    port = remote.add_insecure_port("127.0.0.1:0")
    remote.start()
    yield port
    remote.stop(None)


@contextmanager
def servers() -> Iterator[tuple[dict[str, Any], int]]:
    """The process of the servers: its addresses and its number."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.communicate()


@contextmanager
def callers(addresses: Mapping[str, Any]) -> Iterator[dict[str, Callable[[], object]]]:
    """One round trip of each kind."""
    import zmq

    payload = Payload.example()
    clients = {
        "state": RemotePolicy(addresses["plain"]),
        "raw": RemotePolicy(addresses["watching"], checksum=False),
        "JPEG": RemotePolicy(addresses["watching"], jpeg_quality=QUALITY),
    }
    frames = {name: payload.question(name) for name in clients}
    context = zmq.Context()
    sockets = {name: context.socket(zmq.REQ) for name in ("zmq", "single", "bytes")}
    for name, each in sockets.items():
        each.setsockopt(zmq.RCVTIMEO, 2000)  # nobody waits for ever, as our client does not
        each.connect(f"tcp://127.0.0.1:{addresses[name]}")
    channel = None
    if "grpc" in addresses:
        import grpc

        channel = grpc.insecure_channel(f"127.0.0.1:{addresses['grpc']}")
    call = channel.unary_unary(METHOD) if channel else lambda question: question

    def segue(name: str) -> object:
        seen = payload.observation if name == "state" else Observation(payload.observation, payload.pictures)
        return clients[name].next_chunk(seen, payload.continuation)

    def zeromq(server: str, name: str) -> object:
        sockets[server].send(payload.question(name))
        return messages.decode_answer(sockets[server].recv(), SPEC.chunk_shape)

    def unread(name: str) -> object:
        sockets["bytes"].send(frames[name])
        return sockets["bytes"].recv()

    def remote_call(name: str) -> object:
        return messages.decode_answer(call(payload.question(name)), SPEC.chunk_shape)

    kinds = {"Segue": segue, "ZeroMQ": partial(zeromq, "zmq"), "ZeroMQ, one thread": partial(zeromq, "single"),
             "gRPC": remote_call, "bytes over ZeroMQ": unread}  # fmt: skip
    if channel is None:
        del kinds["gRPC"]
    try:
        yield {f"{kind}, {name}": partial(ask, name) for name in frames for kind, ask in kinds.items()}
    finally:
        for client in clients.values():
            client.close()
        if channel is not None:
            channel.close()
        context.destroy(0)


def cpu_of(pid: int) -> float:
    """CPU time of the threads of another process [s]."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def measure(work: Mapping[str, Callable[[], object]], pid: int, rounds: int, calls: int) -> dict[str, np.ndarray]:
    """Seconds: wall (rounds, calls) of each kind, and under "<kind> CPU" the CPU time per call of both processes."""
    order = np.random.default_rng(0)
    wall: dict[str, list[list[float]]] = {name: [] for name in work}
    cpu = dict.fromkeys(work, 0.0)
    for each in work.values():
        each()
    for _ in range(rounds):
        for name in order.permutation(list(work)):
            before, times = time.process_time() + cpu_of(pid), []
            for _ in range(calls):
                started = time.perf_counter()
                work[name]()
                times.append(time.perf_counter() - started)
            wall[name].append(times)
            cpu[name] += time.process_time() + cpu_of(pid) - before
    found = {name: np.array(times) for name, times in wall.items()}
    return found | {f"{name} CPU": np.array(cpu[name] / rounds / calls) for name in work}


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=25, help="of each kind in each round")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if find_spec("zmq") is None:
        return print("nothing to compare with: pip install pyzmq")
    if chosen.serve:
        return serve_all()
    with servers() as (addresses, pid), callers(addresses) as work:
        times = measure(work, pid, chosen.rounds, chosen.calls)
    table = Table(title="One round trip without inference", title_justify="left")
    for name in ("what", "median", "fastest tenth", "99 of 100", "CPU", "over ZeroMQ", "middle half", "CPU over"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for name in work:
        reference = np.median(times["ZeroMQ" + name[name.rindex(",") :]], axis=1)
        low, middle, high = np.quantile(np.median(times[name], axis=1) / reference, (0.25, 0.5, 0.75))
        tenth, median, late = 1e3 * np.quantile(times[name], (0.1, 0.5, 0.99))
        table.add_row(
            name, f"{median:.2f} ms", f"{tenth:.2f} ms", f"{late:.2f} ms", f"{1e3 * times[name + ' CPU']:.2f} ms",
            f"{middle:.2f}", f"{low:.2f} to {high:.2f}",
            f"{times[name + ' CPU'] / times['ZeroMQ' + name[name.rindex(',') :] + ' CPU']:.2f}",
        )  # fmt: skip
    Console(width=120).print(table)
    print(f"our server's event loop is that of {'uvloop' if find_spec('uvloop') else 'asyncio'}")
    payload = Payload.example()
    print(
        "bytes of a question:", ", ".join(f"{kind} {len(payload.question(kind))}" for kind in ("state", "raw", "JPEG"))
    )
    files, started = [encode_jpeg(each, QUALITY) for each in payload.pictures.values()], time.process_time()
    for _ in range(chosen.calls):
        for each in files:
            jpeg.decode_jpeg(each, "", SIZE)
    print(f"decoding its pictures: {1e3 * (time.process_time() - started) / chosen.calls:.2f} ms of CPU time")


if __name__ == "__main__":
    main()
