"""Random schedules of faults, everything at once: no hang, an allowed end, and every command safe on the way."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from driven import DT, HORIZON, Cell, cell, check_safe, wave
from segue.core.chunk import Array
from segue.runtime.executor import Ending, Tolerance
from segue.runtime.ladder import State
from segue.runtime.link import Answer, LinkState
from segue.runtime.plan import Delivery, Request

TICKS, CALM = 400, 200
"""Slots with faults, and slots after the last one: 2 s to recover."""


@dataclass
class Schedule:
    """What happens in one run, drawn from a seed."""

    seed: int
    rng: np.random.Generator = field(init=False)
    faults: bool = True
    back_at: int | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.made: Cell = cell(self.delay, self.answer, tolerance=Tolerance(hold=1e9, stall=None))
        robot = self.made.robot
        for call in ("observe", "send"):
            for number in range(1, TICKS):
                if self.rng.random() < 0.02:
                    robot.faults[call, number] = self.driver_fault(call)
        if self.seed % 5 == 0:  # a driver that is out for some time
            call, first = ("observe", "send")[self.seed % 2], int(self.rng.integers(1, TICKS))
            fault = "nan" if call == "observe" and self.seed % 3 else OSError("bus")
            robot.faults |= {(call, first + n): fault for n in range(int(self.rng.integers(2, 20)))}
        self.made.clock.oversleep = lambda: float(self.rng.exponential(2e-4))

    def driver_fault(self, call: str) -> object:
        kinds = [OSError("bus"), float(self.rng.exponential(0.02)), *(["nan"] if call == "observe" else [])]
        return kinds[int(self.rng.integers(len(kinds)))]

    def delay(self, number: int) -> float:
        if not self.faults:
            return 0.025
        return float(self.rng.choice([0.0, 0.005, 0.025, 0.03, 0.1, 0.5], p=[0.1, 0.1, 0.5, 0.1, 0.15, 0.05]))

    def answer(self, request: Request, observation: Array) -> Array | str:
        chunk = wave(request, observation)
        kind = self.rng.integers(40) if self.faults else 0
        if kind == 1:
            return "RuntimeError: no"
        if kind == 2:
            chunk[self.rng.integers(HORIZON), self.rng.integers(2)] = self.rng.choice([np.nan, np.inf, -np.inf])
        elif kind == 3:
            return chunk[: self.rng.integers(HORIZON)]
        elif kind == 4:
            chunk *= 1e30
        elif kind == 5:
            chunk[:] = self.rng.standard_normal(chunk.shape)
        return chunk

    def events(self) -> bool:
        """After every tick."""
        executor, link = self.made.executor, self.made.link
        self.faults = executor.slot < TICKS
        if link.state is not LinkState.READY and (not self.faults or executor.slot >= (self.back_at or 0)):
            link.back()
        if not self.faults:
            executor.resume()
            return False
        chance = self.rng.random()
        if chance < 0.01 and link.state is LinkState.READY:
            link.lose("ended by signal 9")
            self.back_at = executor.slot + int(self.rng.integers(1, 100))
        elif chance < 0.03:
            epoch, number = int(self.rng.integers(3)), int(self.rng.integers(40))
            link.due.append((0.0, Answer(epoch, number, wave(link.requests[0], np.zeros(3, np.float32)), 0.0)))
        elif chance < 0.035:
            executor.pause()
        elif chance < 0.10:
            executor.resume()
        return False


def run(seed: int) -> tuple[Schedule, Ending]:
    """One schedule with calm behind it; a stop at some moment in every third."""
    schedule = Schedule(seed)
    executor = schedule.made.executor
    stop_at = int(schedule.rng.integers(TICKS)) if seed % 3 == 0 else None

    def done() -> bool:
        if stop_at is not None and executor.slot >= stop_at:
            executor.stop()
        return schedule.events()

    return schedule, executor.run(seconds=(TICKS + CALM) * DT, done=done)


def check(seed: int) -> None:
    schedule, ending = run(seed)
    made = schedule.made
    check_safe(made)
    state = list(State)[made.log.ticks[-1][2]["ladder"]]
    assert made.robot.stops == 1
    if ending is Ending.FAULT:
        assert state is State.FAULT or made.executor.fault.startswith("send")
        return
    assert ending is (Ending.STOPPED if seed % 3 == 0 else Ending.TIME)
    assert state is State.HOLD
    if ending is Ending.TIME:
        last = [list(State)[values["ladder"]] for slot, _, values in made.log.ticks if slot < TICKS + CALM]
        assert last[-1] is State.RUN, "recovered within two seconds of the last fault"


@pytest.mark.parametrize("block", range(4))
def test_a_hundred_random_schedules(block: int) -> None:
    for seed in range(25 * block, 25 * block + 25):
        check(seed)


@pytest.mark.faults
@pytest.mark.parametrize("block", range(10))
def test_a_thousand_random_schedules(block: int) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        check(seed)


def test_the_schedules_meet_every_kind_of_fault() -> None:
    """Otherwise the tests above would say little."""
    runs = [run(seed) for seed in range(30)]
    executors = [schedule.made.executor for schedule, _ in runs]
    counts = [executor.counts for executor in executors]
    said = [executor.conversation.said for executor in executors]
    for name in ("skipped", "paused", "starved", "bad_observations", "failed_sends", "saturated"):
        assert sum(getattr(each, name) for each in counts) > 0, name
    assert min(sum(each.errors for each in said), sum(each.dropped for each in said)) > 10
    outcomes = {outcome for each in said for outcome in each.outcomes}
    assert outcomes >= {Delivery.TAKEN, Delivery.STALE, Delivery.REFUSED}
    assert {ending for _, ending in runs} == {Ending.TIME, Ending.STOPPED, Ending.FAULT}
    reached = {list(State)[values["ladder"]] for schedule, _ in runs for _, _, values in schedule.made.log.ticks}
    assert reached >= {State.RUN, State.DEGRADED, State.STOPPING, State.HOLD}


def test_fault_16_a_bad_network_and_a_partition() -> None:
    """Half of the requests lost, answers up to 0.3 s late, nothing at all for 30 s; then all is well again."""
    rng = np.random.default_rng(0)
    first, last, calm = 300, 3300, 3700

    def slot() -> int:
        return made.executor.slot

    def delay(number: int) -> float:
        return float(rng.uniform(0.005, 0.3)) if slot() < calm else 0.025

    def answer(request: Request, observation: Array) -> Array | str:
        lost = first <= slot() < last or (slot() < calm and rng.random() < 0.5)
        return "timed out" if lost else wave(request, observation)

    made = cell(delay, answer, tolerance=Tolerance(hold=1e9, stall=None))
    assert made.executor.run(seconds=(calm + 200) * DT) is Ending.TIME
    check_safe(made)
    ladder = {slot: list(State)[values["ladder"]] for slot, _, values in made.log.ticks}
    assert {ladder[n] for n in range(first + 100, last)} == {State.HOLD}
    assert ladder[calm + 190] is State.RUN
    assert State.RUN in {ladder[n] for n in range(first)}
