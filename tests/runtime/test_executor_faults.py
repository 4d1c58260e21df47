"""Random schedules of faults, everything at once: no hang, an allowed end, and every command safe on the way.

A schedule is a list of faults and nothing else, so that one that fails is shrunk to the few that matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st

from fakes.clock_robot_link import DT, HORIZON, Cell, cell, check_safe, wave
from segue.core.chunk import Array
from segue.links.link import Answer, LinkState
from segue.plan.plan import Delivery, Request
from segue.runtime.executor import Ending, Tolerance
from segue.safety.ladder import State

CALM = 200
"""Slots after the last fault: 2 s to recover."""

OF_THE_DRIVER = ("observe raises", "observe is slow", "observe is not finite", "send raises", "send is slow")
OF_AN_ANSWER = ("raises", "is not finite", "is short", "is huge", "is noise")
EVENTS = ("killed", "foreign answer", "pause", "suspend", "stop")
KINDS = (*OF_THE_DRIVER, "latency", *OF_AN_ANSWER, *EVENTS)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        kind: What.
        at: Slot; for a driver's fault, number of the call.
        lasting: Slots, or calls.
        size: From 0 to 1: how slow, or which number of a chunk.
    """

    kind: str
    at: int
    lasting: int
    size: float

    @property
    def seconds(self) -> float:
        """How long a slow call or answer takes: mostly below a control period, at most half a second."""
        return 0.5 * self.size**4

    @property
    def standstill(self) -> float:
        """How long the machine stands still: up to a second and a half, a third of them long enough to matter."""
        return 1.5 * self.size


Faults = Sequence[Fault]


def schedules(slots: int) -> st.SearchStrategy[Faults]:
    """Some forty faults in so many slots; half of them pass at once, and a run is stopped in one schedule of three."""
    lasting = st.one_of(st.just(1), st.integers(1, 30))
    usual = st.builds(Fault, st.sampled_from(KINDS[:-1]), st.integers(1, slots), lasting, st.floats(0, 1, width=16))
    few = st.lists(usual, max_size=20)  # Hypothesis makes such a list of five on average, and shrinks it to none
    stop = st.integers(1, slots).map(lambda at: [Fault("stop", at, 1, 0.0)])
    return st.tuples(*[few] * 8, st.one_of(st.just([]), st.just([]), stop)).map(lambda all_: list(chain(*all_)))


@dataclass
class Schedule:
    """What happens in one run."""

    faults: Faults
    slots: int
    made: Cell = field(init=False)

    def __post_init__(self) -> None:
        self.made = cell(self.delay, self.answer, tolerance=Tolerance(hold=1e9, stall=None))
        self.made.clock.oversleep = lambda: 2e-4 * (self.made.executor.slot % 7 == 0)
        for fault in self.faults:
            if fault.kind in OF_THE_DRIVER:
                call, _, what = fault.kind.partition(" ")
                happens = {"raises": OSError("bus"), "is slow": fault.seconds, "is not finite": "nan"}[what]
                calls = range(fault.at, min(fault.at + fault.lasting, self.slots))
                self.made.robot.faults |= {(call, number): happens for number in calls}

    def now(self, *kinds: str) -> list[Fault]:
        """Faults of some kinds in this slot."""
        slot = self.made.executor.slot
        return [each for each in self.faults if each.kind in kinds and each.at <= slot < each.at + each.lasting]

    @property
    def over(self) -> bool:
        """Whether all faults are."""
        return self.made.executor.slot >= self.slots

    def delay(self, number: int) -> float:
        slow = [] if self.over else self.now("latency")
        return slow[0].seconds if slow else 0.025

    def answer(self, request: Request, observation: Array) -> Array | str:
        chunk = wave(request, observation)
        for fault in [] if self.over else self.now(*OF_AN_ANSWER):
            place = int(fault.size * (chunk.size - 1))
            match fault.kind:
                case "raises":
                    return "RuntimeError: no"
                case "is not finite":
                    chunk.flat[place] = (np.nan, np.inf, -np.inf)[place % 3]
                case "is short":
                    return chunk[: place % HORIZON]
                case "is huge":
                    chunk[:] = np.where(chunk < 0, -1e30, 1e30)
                case _:
                    chunk[:] = np.random.default_rng(place).standard_normal(chunk.shape)
        return chunk

    def events(self) -> bool:
        """After every tick."""
        executor, link = self.made.executor, self.made.link
        if self.over:  # faults of the driver are numbered by calls, and slow calls reach far
            self.made.robot.faults.clear()
        killed = [] if self.over else self.now("killed")
        if link.state is LinkState.READY and killed:
            link.lose("ended by signal 9")
        elif link.state is not LinkState.READY and not killed:
            link.back()
        paused = False
        for fault in [] if self.over else self.now(*EVENTS):
            paused = paused or fault.kind == "pause"
            if fault.kind == "stop":
                executor.stop()
            elif fault.kind == "suspend" and executor.slot == fault.at:
                self.made.clock.time += fault.standstill
            elif fault.kind == "foreign answer" and link.requests:
                epoch, number = divmod(int(119 * fault.size), 40)
                link.due.append((0.0, Answer(epoch, number, wave(link.requests[0], np.zeros(3, np.float32)), 0.0)))
        executor.pause() if paused else executor.resume()
        return False


def run(faults: Faults, slots: int) -> tuple[Schedule, Ending]:
    """One schedule with calm behind it."""
    schedule = Schedule(faults, slots)
    return schedule, schedule.made.executor.run(seconds=(slots + CALM) * DT, done=schedule.events)


def check(faults: Faults, slots: int) -> None:
    schedule, ending = run(faults, slots)
    made = schedule.made
    check_safe(made)
    state = list(State)[made.log.ticks[-1][2]["ladder"]]
    assert made.robot.stops == 1
    if ending is Ending.FAULT:
        assert state is State.FAULT or made.executor.fault.startswith("send")
        return
    assert ending in (Ending.STOPPED, Ending.TIME)
    assert state is State.HOLD
    if ending is Ending.TIME:
        counts = made.executor.counts
        assert counts.ticks + counts.skipped + counts.paused + counts.failed_sends >= slots + CALM, "no slot is missing"
        last = [list(State)[values["ladder"]] for slot, _, values in made.log.ticks if slot < slots + CALM]
        assert last[-1] is State.RUN, "recovered within two seconds of the last fault"


def check_many(number: int, slots: int, block: int) -> None:
    """So many schedules, the same ones every time."""

    @seed(block)
    @settings(max_examples=number, database=None)
    @given(schedules(slots))
    def checked(faults: Faults) -> None:
        check(faults, slots)

    checked()


@pytest.mark.parametrize("block", range(4))
def test_a_hundred_random_schedules(block: int) -> None:
    check_many(25, 400, block)


@pytest.mark.faults
@pytest.mark.parametrize("block", range(10))
def test_suspend_at_any_moment(block: int) -> None:
    """Again and again, for seconds to days; in between the robot recovers, and nothing moves on an old plan."""
    rng = np.random.default_rng(block)
    made = cell(lambda number: float(rng.uniform(0, 0.1)), tolerance=Tolerance(hold=1e9, stall=None))
    moments = set(np.cumsum(rng.integers(1, 300, 40)).tolist())

    def suspend() -> bool:
        if made.executor.counts.ticks in moments:
            moments.discard(made.executor.counts.ticks)
            made.clock.time += float(10 ** rng.uniform(0.1, 5))
            epochs.append(made.executor.plan.epoch)
            return False  # the executor has yet to see it
        return not moments and made.executor.ladder.state is State.RUN

    epochs: list[int] = []
    assert made.executor.run(done=suspend) is Ending.DONE
    check_safe(made)
    assert made.executor.counts.standstills >= len(set(epochs)) > 20
    for epoch in epochs:
        assert made.executor.plan.epoch > epoch


@pytest.mark.faults
@pytest.mark.parametrize("block", range(20))
def test_a_thousand_random_schedules_of_a_thousand_ticks(block: int) -> None:
    """A million ticks of the whole executor, with random chunks and faults."""
    check_many(50, 1000 - CALM, 1000 + block)


@pytest.mark.faults
def test_the_schedules_meet_every_kind_of_fault() -> None:
    """Otherwise the tests above would say little."""
    runs: list[tuple[Schedule, Ending]] = []

    @seed(0)
    @settings(max_examples=100, database=None)
    @example([Fault("stop", 200, 1, 0.0)])  # what Hypothesis draws depends on the modules that are loaded
    @example([Fault("suspend", 150, 1, 1.0)])
    @given(schedules(400))
    def collect(faults: Faults) -> None:
        runs.append(run(faults, 400))

    collect()
    executors = [schedule.made.executor for schedule, _ in runs]
    counts = [executor.counts for executor in executors]
    said = [executor.conversation.said for executor in executors]
    for name in ("skipped", "paused", "starved", "bad_observations", "failed_sends", "saturated", "standstills"):
        assert sum(getattr(each, name) for each in counts) > 0, name
    assert min(sum(each.errors for each in said), sum(each.dropped for each in said)) > 10
    outcomes = {outcome for each in said for outcome in each.outcomes}
    assert outcomes >= {Delivery.TAKEN, Delivery.STALE, Delivery.REFUSED}
    assert {ending for _, ending in runs} == {Ending.TIME, Ending.STOPPED, Ending.FAULT}
    reached = {list(State)[values["ladder"]] for schedule, _ in runs for _, _, values in schedule.made.log.ticks}
    assert reached >= {State.RUN, State.DEGRADED, State.STOPPING, State.HOLD}
    assert {fault.kind for schedule, _ in runs for fault in schedule.faults} == set(KINDS)


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
