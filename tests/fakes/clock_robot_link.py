"""What the tests of the executor work with: a clock, a robot and a link that do as they are told, faults included."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from segue.core.chunk import Array
from segue.core.correction import Correction
from segue.core.observation import state_of
from segue.core.spec import PolicySpec
from segue.links.link import Answer, LinkState
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Handover, Plan, Request, Tick
from segue.runtime.executor import Executor, Tolerance
from segue.safety.ladder import Ladder, State
from segue.safety.limits import JointLimits
from segue.trace.records import ChunkRecord, TickRecord

DT, HORIZON, S = 0.01, 16, 4
NAMES = ("shoulder", "elbow")
LIMITS = JointLimits.uniform(NAMES, (-2.0, -2.0), (2.0, 2.0), unit="rad", velocity=4.0, acceleration=80.0, jerk=8000.0)


class Half(Correction):
    """Halves an action, and goes a little towards the goal that is seen now, more so late in a chunk."""

    def corrected(self, state: Array, action: Array, index: int) -> Array:
        return (0.5 * action + 0.01 * index * state[2:]).astype(np.float32)


@dataclass
class FakeClock:
    """Stands still unless somebody waits, or somebody's work takes time."""

    time: float = 1000.0
    oversleep: Callable[[], float] = lambda: 0.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, deadline: float) -> None:
        self.time = max(self.time, deadline) + self.oversleep()


@dataclass
class FakeRobot:
    """Two joints that are where they were told to be; records every command with its time.

    That of the call, or of its return if it took longer than a control period.

    ``faults`` maps the number of a call of observe or send to what happens in it: an exception is raised, a number is
    the time that it takes [s], "nan" spoils an observation.
    """

    clock: FakeClock
    faults: dict[tuple[str, int], Any] = field(default_factory=dict)
    at: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    sent: list[tuple[float, NDArray[np.float64]]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=lambda: {"observe": 0, "send": 0})
    stops: int = 0
    age: float = 0.0

    def _fault(self, call: str) -> Any:
        self.calls[call] += 1
        fault = self.faults.get((call, self.calls[call]))
        if isinstance(fault, BaseException):
            raise fault
        if isinstance(fault, float):
            self.clock.time += fault
        return fault

    def observe(self) -> Array:
        observation = np.concatenate([self.at, [1.0]]).astype(np.float32)
        if self._fault("observe") == "nan":
            observation[1] = np.nan
        return observation

    def send(self, action: NDArray) -> None:
        assert action.dtype == np.float64
        begun = self.clock.time
        self._fault("send")
        self.at = np.array(action)
        took = self.clock.time - begun
        self.sent.append((begun if took <= DT else self.clock.time, self.at))

    def stop(self) -> None:
        self.stops += 1

    def position(self) -> NDArray[np.float64]:
        return self.at


def wave(request: Request, observation: Array) -> Array:
    """A chunk of a motion that goes on for ever, whoever makes it: a sine in absolute time."""
    steps = request.step + np.arange(HORIZON)
    return np.stack([0.5 * np.sin(0.02 * steps), 0.3 * np.sin(0.03 * steps)], 1).astype(np.float32)


@dataclass
class FakeLink:
    """Answers request number n after ``delay(n)`` seconds with ``answer(request, observation)``.

    A delay of `math.inf` loses the request. An answer is a chunk or an error in words, with ``surprise(n)``.
    """

    clock: FakeClock
    delay: Callable[[int], float] = lambda number: 0.0
    answer: Callable[[Request, Array], Array | str] = wave
    state: LinkState = LinkState.READY
    restarts: int = 0
    reason: str = ""
    requests: list[Request] = field(default_factory=list)
    due: list[tuple[float, Answer]] = field(default_factory=list)
    closed: bool = False
    surprise: Callable[[int], float] = lambda number: math.nan
    spec: PolicySpec | None = None
    epoch: int = -1

    def new_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def send(self, request: Request, observation: Array) -> None:
        assert np.isfinite(state_of(observation)).all()
        self.requests.append(request)
        if self.state is not LinkState.READY:
            self.fail(request, self.reason)
            return
        delay = self.delay(len(self.requests))
        if math.isinf(delay):
            return
        answer = self.answer(request, observation)
        good = not isinstance(answer, str)
        made = Answer(
            request.epoch, request.number, answer if good else None, delay, "" if good else str(answer),
            self.surprise(len(self.requests)),
        )  # fmt: skip
        self.due.append((self.clock.now() + delay - 1e-9, made))

    def fail(self, request: Request, why: str) -> None:
        """Nothing will come for this request."""
        self.due.append((self.clock.now(), Answer(request.epoch, request.number, None, 0.0, why)))

    def lose(self, why: str) -> None:
        """The policy is gone, and what it was asked with it."""
        self.state, self.reason = LinkState.LOST, why
        under_way = [answer for _, answer in self.due]
        self.due = [(self.clock.now(), Answer(each.epoch, each.number, None, 0.0, why)) for each in under_way]

    def back(self) -> None:
        """It has been started again."""
        self.state, self.restarts = LinkState.READY, self.restarts + 1

    def poll(self) -> Answer | None:
        for place, (at, answer) in enumerate(self.due):
            if at <= self.clock.now():
                del self.due[place]
                return answer
        return None

    def close(self) -> None:
        self.closed = True


@dataclass
class Log:
    """A sink that keeps everything."""

    ticks: list[tuple[int, Tick, dict[str, Any]]] = field(default_factory=list)
    chunks: list[tuple[Request, Any, dict[str, Any]]] = field(default_factory=list)

    def tick(self, record: TickRecord) -> None:
        self.ticks.append((record.slot, record.tick, structs.asdict(record)))

    def chunk(self, record: ChunkRecord) -> None:
        self.chunks.append((record.request, record.outcome, structs.asdict(record)))

    def close(self) -> None:
        pass


@dataclass
class Cell:
    """A robot, a policy and an executor, all made of air."""

    clock: FakeClock
    robot: FakeRobot
    link: FakeLink
    log: Log
    executor: Executor

    @property
    def commands(self) -> NDArray[np.float64]:
        """Shape (commands, action)."""
        return np.array([values for _, values in self.robot.sent]).reshape(-1, 2)

    @property
    def times(self) -> NDArray[np.float64]:
        """When they were sent [s]."""
        return np.array([time for time, _ in self.robot.sent])

    def after(self, ticks: int, then: Callable[[], Any]) -> Callable[[], bool]:
        """A condition for `Executor.run` that is never true, and does something once after so many ticks."""

        def done() -> bool:
            if self.executor.counts.ticks == ticks:
                then()
            return False

        return done


def cell(
    delay: Callable[[int], float] = lambda number: 0.025,
    answer: Callable[[Request, Array], Array | str] = wave,
    *,
    limits: JointLimits = LIMITS,
    tolerance: Tolerance | None = None,
    s: int = S,
    correction: Correction | None = None,
) -> Cell:
    """Everything well, unless told otherwise: answers come after 2.5 control steps."""
    clock, log = FakeClock(), Log()
    robot, link = FakeRobot(clock), FakeLink(clock, delay, answer)
    plan = Plan(HORIZON, 2, s, WindowQuantile(3), Handover.CONTINUE)
    executor = Executor(
        robot, plan, Ladder(limits, DT, [0.0, 0.0]), link, clock=clock, position=robot.position, sink=log,
        tolerance=tolerance or Tolerance(stall=None), state_age=lambda: robot.age, correction=correction,
    )  # fmt: skip
    return Cell(clock, robot, link, log, executor)


def next_to(made: Cell, robot: FakeRobot, plan: Plan | None = None) -> Executor:
    """A new executor at the same link, with a new plan unless one is given."""
    return Executor(
        robot, plan or Plan(HORIZON, 2, S, WindowQuantile(3)), Ladder(LIMITS, DT, robot.at.tolist()), made.link,
        clock=made.clock, position=robot.position, sink=made.log, tolerance=Tolerance(stall=None),
    )  # fmt: skip


def check_safe(made: Cell, limits: JointLimits = LIMITS, start: tuple[float, float] = (0.0, 0.0)) -> None:
    """Every command finite and inside of all limits, one per tick, at least half a period apart."""
    commands = made.commands
    assert np.isfinite(commands).all()
    ticks = [values for _, _, values in made.log.ticks if values["sent"] is not None]
    assert np.array_equal(commands, np.array([values["sent"] for values in ticks]).reshape(-1, 2))
    slots = [slot for slot, _, _ in made.log.ticks]
    assert slots == sorted(set(slots))
    assert (np.diff(made.times) >= DT / 2 - 1e-9).all()
    assert (commands >= np.array(limits.low) - 1e-12).all()
    assert (commands <= np.array(limits.high) + 1e-12).all()
    path = np.concatenate([np.tile(start, (3, 1)), commands])
    for order, bound in enumerate((limits.velocity, limits.acceleration, limits.jerk), start=1):
        assert (np.abs(np.diff(path, order, axis=0)) <= np.array(bound) * DT**order * (1 + 1e-9) + 1e-12).all()


def states(made: Cell) -> list[str]:
    """States of the ladder, without repetitions."""
    names = [list(State)[values["ladder"]].name for _, _, values in made.log.ticks]
    return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]
