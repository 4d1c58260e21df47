"""What one control step costs, part by part, and how punctual steps are while a policy is at work.

CPU time of one thread, and ratios over the plan alone, measured in turns: the median over the rounds, and the middle
half of the rounds beside it. Lateness depends on the machine and on what else it does: it is for information.

    python benchmarks/runtime.py [--rounds 15] [--seconds 0.5]
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from math import pi
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from segue.core.chunk import nothing_to_continue
from segue.core.spec import PolicySpec
from segue.links.link import Answer, LinkState, PolicyLink
from segue.links.shared_memory import ANSWER, Channel, anonymous_file, pack_answer, unpack_answer
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Event, Plan, Request, Tick
from segue.runtime.clock import MonotonicClock
from segue.runtime.doctor import measure_jitter
from segue.runtime.executor import Executor
from segue.runtime.realtime import realtime
from segue.safety.ladder import Ladder
from segue.safety.limiter import Limiter
from segue.safety.limits import JointLimits
from segue.trace.file import TraceWriter
from segue.trace.records import TickRecord

JOINTS, HORIZON, DT, STEPS = 14, 50, 0.02, 1000
RATES = (60, 100, 250, 500, 1000)
NAMES = tuple(f"joint {joint}" for joint in range(JOINTS))
LIMITS = JointLimits.uniform(
    NAMES, [-pi] * JOINTS, [pi] * JOINTS, unit="rad", velocity=3.0, acceleration=15.0, jerk=500.0
)
BUSY = """
import sys, torch
torch.set_num_threads(1)
layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
x = torch.randn(1, 50, 256)
print("ready", flush=True)
while True:
    layer(x)
"""
Work = Callable[[], object]


def measure(work: Mapping[str, Work], rounds: int) -> dict[str, np.ndarray]:
    """CPU seconds per control step, shape (rounds,) each; one call of a work is `STEPS` steps. All take turns."""
    order = np.random.default_rng(0)
    for each in work.values():
        each()
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name in order.permutation(list(work)):
            started = time.process_time_ns()
            work[name]()
            times[name].append((time.process_time_ns() - started) / STEPS / 1e9)
    return {name: np.array(values) for name, values in times.items()}


def chunk_at(step: int) -> np.ndarray:
    """Actions of joints that swing by 0.5 rad at up to 1 rad/s. Shape (horizon, action), float32."""
    time = DT * (step + np.arange(HORIZON))[:, None]
    return (0.5 * np.sin((1 + np.arange(JOINTS) / JOINTS) * time)).astype(np.float32)


CHUNKS = [chunk_at(step) for step in range(0, STEPS + HORIZON, 8)]
ACTIONS = np.concatenate([chunk[:8] for chunk in CHUNKS])[:STEPS]


class InstantLink(PolicyLink):
    """A policy that has always answered already."""

    state, restarts, reason, spec, epoch = LinkState.READY, 0, "", None, 0

    def __init__(self) -> None:
        self.waiting: Request | None = None

    @override
    def new_epoch(self) -> int:
        return 0  # there is one episode

    @override
    def send(self, request: Request, observation: np.ndarray) -> None:
        self.waiting = request

    @override
    def poll(self) -> Answer | None:
        request, self.waiting = self.waiting, None
        if request is None:
            return None
        return Answer(request.epoch, request.number, CHUNKS[request.step // 8], 0.0)

    @override
    def close(self) -> None:
        pass


class JumpingClock:
    """Is where it is waited for."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        """Where it is [s]."""
        return self.time

    def sleep_until(self, deadline: float) -> None:
        """Jump there."""
        self.time = max(self.time, deadline)


class NoRobot:
    """Measures nothing and moves nothing."""

    def __init__(self) -> None:
        self.observation = np.zeros(2 * JOINTS, np.float32)

    def observe(self) -> np.ndarray:
        """Zeros."""
        return self.observation

    def send(self, action: np.ndarray) -> None:
        """Nowhere."""

    def stop(self) -> None:
        """It stands already."""


def fresh_plan() -> Plan:
    return Plan(HORIZON, JOINTS, 8, WindowQuantile(1))


def writer(path: Path, ticks: int) -> TraceWriter:
    return TraceWriter(path, {}, action=JOINTS, observation=2 * JOINTS, horizon=HORIZON, ticks=ticks, chunks=ticks // 4)


def plan_alone() -> None:
    """Requests, deliveries and ticks."""
    plan, observation = fresh_plan(), NoRobot().observation
    for _ in range(STEPS):
        request = plan.request(observation)
        if request is not None:
            plan.deliver(request, CHUNKS[request.step // 8])
        plan.tick()


def limiter_alone() -> None:
    """Wanted actions in double precision, as the ladder passes them on."""
    wanted = ACTIONS.astype(float)
    limiter = Limiter(LIMITS, DT, wanted[0])
    for each in wanted:
        limiter.step(each)


def ladder_alone() -> None:
    """With its limiter."""
    ladder = Ladder(LIMITS, DT, ACTIONS[0].tolist())
    for each in ACTIONS:
        ladder.step(each)


def whole_step(sink: TraceWriter | None) -> None:
    """Everything that the executor does in a control step but waiting."""
    executor = Executor(
        NoRobot(), fresh_plan(), Ladder(LIMITS, DT, [0.0] * JOINTS), InstantLink(), clock=JumpingClock(), sink=sink,
        position=lambda: np.zeros(JOINTS),
    )  # fmt: skip
    executor.run(done=lambda: executor.counts.ticks >= STEPS)


def control_steps(folder: Path, rounds: int) -> dict[str, Work]:
    """`STEPS` control steps: the plan alone, the limits alone, all together without and with a trace."""
    tick, sent, seen = Tick(0, ACTIONS[0], Event.CONTINUED, 1, 2, 3), ACTIONS[0].astype(float), NoRobot().observation
    room = (rounds + 2) * STEPS
    ticks, run = writer(folder / "ticks", room), writer(folder / "run", room)

    def trace() -> None:
        for slot in range(STEPS):
            ticks.tick(TickRecord(slot, tick, 0, time=0.0, lateness=0.0, ladder=0, sent=sent, observation=seen))

    return {
        "plan": plan_alone,
        "limiter": limiter_alone,
        "ladder": ladder_alone,
        "trace": trace,
        "executor": lambda: whole_step(None),
        "recorded": lambda: whole_step(run),
    }


def hand_overs() -> dict[str, Work]:
    """What the control process pays for chunks from shared memory: looking for one, and taking one."""
    names = tuple(f"joint {i}" for i in range(2 * JOINTS))
    spec = PolicySpec(HORIZON, DT, names, names[:JOINTS])
    memory = anonymous_file()
    here, there = Channel.over(memory, spec), Channel.over(memory, spec)
    os.close(memory)
    request = Request(0, 1, 0, nothing_to_continue(0, JOINTS, 8))
    message = pack_answer(request, chunk_at(0), "", captured=0.0, finished=0.0)
    assert len(message) == ANSWER.size + 4 * HORIZON * JOINTS

    def look() -> None:
        for _ in range(STEPS):
            here.answers.read()

    def write() -> None:
        for _ in range(STEPS):
            there.answers.write(message)

    def write_and_take() -> None:
        for _ in range(STEPS):
            there.answers.write(message)
            found = here.answers.read()
            assert found is not None
            unpack_answer(found, spec)

    return {"look": look, "write": write, "write and take": write_and_take}


def weight() -> str:
    """What a control process weighs before it has a robot."""
    code = (
        "import re, time; started = time.process_time();"
        "import segue.runtime.executor, segue.links.process, segue.trace.file;"
        # not `getrusage`, whose maximum is that of the process that started this one
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1];"
        "print(time.process_time() - started, int(peak) / 1024)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, megabytes = map(float, said.split())
    return f"control process: {megabytes:.0f} MB, imported in {seconds:.2f} s of CPU time"


@contextlib.contextmanager
def torch_in_a_process() -> Iterator[None]:
    """A transformer without pause, in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def torch_in_a_thread() -> Iterator[None]:
    """The same in a thread of this process."""
    import torch

    torch.set_num_threads(1)
    layer, x = torch.nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True), torch.randn(1, 50, 256)
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            layer(x)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def lateness(seconds: float) -> Table:
    """Lateness of empty ticks, with real-time priority where it is granted."""
    table = Table("rate", "waiting", "idle", "torch in another process", "torch in a thread", title_justify="left")
    table.title = "Lateness in us: median / 99th percentile / largest, and slots missed"
    cells: dict[tuple[int, str], list[str]] = {}
    for busy in (contextlib.nullcontext, torch_in_a_process, torch_in_a_thread):
        with busy(), realtime():
            for rate in RATES:
                for waiting, spin in (("sleep", 0.0), ("sleep + spin", 0.0005)):
                    found = measure_jitter(MonotonicClock(spin), rate, seconds)
                    middle, slow, worst = 1e6 * np.quantile(found.lateness, (0.5, 0.99, 1))
                    cell = f"{middle:.1f} / {slow:.0f} / {worst:.0f}, {found.missed}"
                    cells.setdefault((rate, waiting), []).append(cell)
    for (rate, waiting), columns in cells.items():
        table.add_row(f"{rate} Hz", waiting, *columns)
    return table


def costs(times: Mapping[str, np.ndarray], reference: np.ndarray, title: str, labels: Mapping[str, str]) -> Table:
    """A table of ratios over a reference, and CPU time."""
    table = Table(title=title, title_justify="left")
    for name, side in (("what", "left"), ("ratio", "right"), ("middle half", "right"), ("CPU time", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for name, label in labels.items():
        low, middle, high = np.quantile(times[name] / reference, (0.25, 0.5, 0.75))
        table.add_row(label, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{np.median(times[name]) * 1e6:.3g} us")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="per cell of the table of lateness; 0 leaves it out")
    chosen, console = parser.parse_args(), Console(width=max(Console().width, 110))
    with tempfile.TemporaryDirectory() as folder:
        times = measure(control_steps(Path(folder), chosen.rounds), chosen.rounds)
    labels = {
        "plan": "plan, a chunk every 8 steps", "limiter": "limiter, all limits", "ladder": "ladder and limiter",
        "trace": "trace, one tick", "executor": "whole control step", "recorded": "whole control step, recorded",
    }  # fmt: skip
    console.print(costs(times, times["plan"], f"One control step of {JOINTS} joints, over the plan alone", labels))

    times = measure(hand_overs(), chosen.rounds)
    times["take"] = times["write and take"] - times["write"]
    labels = {"look": "look for a chunk, none there", "take": f"take a chunk of {HORIZON} x {JOINTS}"}
    console.print(costs(times, times["look"], "Hand-over between processes, control side, over a look", labels))
    console.print(weight())
    if chosen.seconds > 0:
        console.print(lateness(chosen.seconds))


if __name__ == "__main__":
    main()
