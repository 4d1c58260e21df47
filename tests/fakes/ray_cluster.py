"""A Ray cluster of two nodes on this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fakes.served_policies import WAIT

ROOT = Path(__file__).parents[2]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
"""For the environment, before Ray is imported."""


class Cluster(NamedTuple):
    """Two nodes of two cores each, on this machine."""

    head: "subprocess.Popen[bytes]"
    node: "subprocess.Popen[bytes]"
    client: str
    cache: Path

    def lose_node(self) -> None:
        """Kill every process of the second node, of which this test has started the first."""
        _kill(self.node)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = [pid]
    for parent in found:
        found += [child for child, its in pairs if its == parent]
    return found


def _kill(started: "subprocess.Popen[bytes]") -> None:
    for pid in family(started.pid):
        with suppress(ProcessLookupError):  # some end with those that are killed before them
            os.kill(pid, signal.SIGKILL)
    started.wait()


def _free() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@contextmanager
def two_nodes(place: Path) -> Iterator[Cluster]:
    """A cluster with a token, whose nodes keep policies in a folder of their own."""
    home, cache, log = Path(f"/tmp/segue-ray-{os.getpid()}"), place / "cache", (place / "ray.log").open("w+b")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    # as fast as the tests: Ray's workers are at nice 15 otherwise, and starve on a machine that has other work
    given = {**os.environ, "PYTHONPATH": path, "SEGUE_CACHE": str(cache), "RAY_worker_niceness": "0"}
    port, client = _free(), _free()
    alike = ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    ray = [str(Path(sys.executable).parent / "ray"), "start", *alike]
    head_only = ["--head", f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false"]
    started = []
    try:
        for words in ([*head_only, f"--temp-dir={home}"], [f"--address=127.0.0.1:{port}"]):
            begun = log.seek(0, os.SEEK_END)
            each = subprocess.Popen([*ray, *words], env=given, stdout=log, stderr=log, start_new_session=True)
            started.append(each)
            end = time.monotonic() + 6 * WAIT
            while b"Ray runtime started" not in Path(log.name).read_bytes()[begun:]:
                if each.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(Path(log.name).read_text())
                time.sleep(0.1)
        os.environ["RAY_ADDRESS"] = f"127.0.0.1:{port}"
        yield Cluster(started[0], started[1], f"ray://127.0.0.1:{client}", cache)
    finally:
        for each in started:
            _kill(each)
        shutil.rmtree(home, ignore_errors=True)
