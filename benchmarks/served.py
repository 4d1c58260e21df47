"""A run against a server that is killed and started again while the robot moves.

    python benchmarks/served.py runs/adroit-door/seed-0 [--seconds 60] [--kills 3] [--seed 0]

Starts `segue serve` on the loopback interface and `segue run --server` against it, kills the server at moments drawn
from the seed, one in each equal part of the time, and starts it again at once. Prints what the trace of the run says;
with --out, also writes it as JSON.
"""

import argparse
import json
import random
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue.lab.results import commit
from segue.safety.ladder import State
from segue.trace.file import Trace, read
from segue.trace.measures import robot_spec
from segue.trace.summary import summarise_run

SEGUE = (sys.executable, "-m", "segue")
SAID = re.compile(r"(?P<solved>\d+) of (?P<episodes>\d+) episodes solved; (?P<failed>\d+) failed requests")


class Server:
    """`segue serve` in a process of its own, which may be killed."""

    def __init__(self, run: Path, method: str) -> None:
        with socket.socket() as probe:  # a free port that the next server takes too
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._argv = [*SEGUE, "serve", str(run), "--method", method, "--port", str(self.port)]
        self.start()
        self.wait()

    def start(self) -> None:
        """Start it, and return at once."""
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        """Return when it listens."""
        wait_for(self._process, "listening")

    def kill(self) -> None:
        """Without a warning."""
        self._process.kill()
        self._process.communicate()


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    """Read what a process says, up to a line with this text in it."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise SystemExit(f"{shlex.join(map(str, process.args))} ended before it said {text!r}")  # type: ignore[arg-type]


def moments(seconds: float, kills: int, seed: int) -> list[float]:
    """When the server is killed: somewhere in the first half of each equal part, so that it has time to come back."""
    chance, part = random.Random(seed), seconds / kills
    return [part * number + chance.uniform(0.1, 0.5) * part for number in range(kills)]


def drive(server: Server, arguments: Sequence[str], when: Sequence[float]) -> tuple[list[dict[str, float]], str, int]:
    """A run, and a kill of the server at each of these moments: what was done, what the run said, how it ended."""
    killed = []
    run = subprocess.Popen([*SEGUE, *arguments], stdout=subprocess.PIPE, text=True)
    wait_for(run, "policy:")
    begun = time.monotonic()
    for moment in when:
        time.sleep(max(begun + moment - time.monotonic(), 0))
        at = time.monotonic() - begun
        server.kill()
        server.start()
        server.wait()
        killed.append({"at_s": round(at, 2), "back_after_s": round(time.monotonic() - begun - at, 2)})
    said, _ = run.communicate()
    return killed, said, run.returncode


def measured(trace: Trace) -> dict[str, Any]:
    """What a trace says about it."""
    spec, summary = robot_spec(trace), summarise_run(trace)
    sent = trace.ticks["action"]
    late = 1e3 * np.quantile(summary.lateness, (0.5, 0.99, 1))
    rest = np.isin(summary.ladder, [summary.states.index(state.value) for state in (State.HOLD, State.FAULT)])
    return {
        "ticks": summary.ticks,
        "missed_slots": summary.missed,
        "ticks_without_a_command": int(np.count_nonzero(~np.isfinite(sent).all(axis=1))),
        "commands_out_of_range": int(np.count_nonzero((sent < spec.action_low) | (sent > spec.action_high))),
        "lateness_ms": dict(zip(("median", "p99", "largest"), np.round(late, 4).tolist(), strict=True)),
        "chunks": summary.outcomes,
        "starved_ticks": sum(summary.starvations),
        "gaps": len(summary.starvations),
        "at_rest_s": round(float(np.count_nonzero(rest)) * spec.dt, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A run against a server that is killed and started again.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", default="adroit-door")
    parser.add_argument("--method", default="predictive")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    given = parser.parse_args()
    server = Server(given.run, given.method)
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "trace"
            address = ["--server", f"ws://127.0.0.1:{server.port}", "--seconds", str(given.seconds)]
            when = moments(given.seconds, given.kills, given.seed)
            killed, said, status = drive(server, ["run", given.task, *address, "--trace", str(file)], when)
            found = SAID.search(said)
            outcome = {name: int(value) for name, value in found.groupdict().items()} if found else {}
            numbers = {
                "command": shlex.join(["python", "benchmarks/served.py", *sys.argv[1:]]),
                "commit": commit(),
                "exit_status": status,
                "kills": killed,
                "solved": outcome.get("solved"),
                "episodes": outcome.get("episodes"),
                "failed_requests": outcome.get("failed"),
                **measured(read(file)),
            }
    finally:
        server.kill()
    print(json.dumps(numbers, indent=1))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
