"""The executor against a clock, a robot and a policy that fail as told; the numbers are rows of the fault matrix."""

import itertools
import tracemalloc
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fakes import point_mass
from fakes.clock_robot_link import DT, HORIZON, LIMITS, FakeClock, FakeLink, Half, S, cell, check_safe, states, wave
from segue.core.chunk import Array, Continuation
from segue.lab.delays import Fixed
from segue.lab.rollout import Scales, Timing, rollout
from segue.links.link import LinkState
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request
from segue.runtime.executor import Ending, Executor, Tolerance
from segue.safety.ladder import Cause, Ladder, State
from segue.safety.limits import UNLIMITED, JointLimits
from segue.trace.sink import Sinks


def test_all_is_well() -> None:
    made = cell()
    assert made.executor.run(seconds=2.0) is Ending.TIME
    check_safe(made)
    counts, said = made.executor.counts, made.executor.conversation.said
    assert (counts.skipped, counts.starved, counts.bad_observations, counts.failed_sends) == (0, 0, 0, 0)
    assert (said.errors, said.dropped) == (0, 0)
    assert states(made) == ["HOLD", "RUN", "STOPPING", "HOLD"]
    assert made.robot.stops == 1
    slots = [slot for slot, _, _ in made.log.ticks]
    assert slots == list(range(len(slots)))
    assert made.times == pytest.approx(1000 + DT * np.arange(len(slots)))


def test_delays_are_those_of_the_clock() -> None:
    """Answers after 2.5 steps are there at the third tick; the first chunk found the robot at rest."""
    made = cell()
    made.executor.run(seconds=1.0)
    assert {tick.delay for _, tick, _ in made.log.ticks if tick.chunk is not None and tick.chunk > 1} == {3}
    assert {values["seconds"] for _, _, values in made.log.chunks} == {0.025}
    assert made.executor.plan.delay.estimate() == 3


def test_each_request_tells_what_led_to_it_and_the_trace_how_surprising_that_was() -> None:
    made = cell()
    made.link.surprise = lambda number: number / 4
    made.executor.run(seconds=1.0)
    ticks, requests = made.log.ticks, made.link.requests
    assert requests[0].continuation.past is None
    told = 0
    for before, asked in itertools.pairwise(requests):
        led = [(tick, values) for _, tick, values in ticks if before.step <= tick.step < asked.step]
        past = asked.continuation.past
        if any(tick.action is None for tick, _ in led):
            assert past is None
            continue
        assert past is not None
        assert np.array_equal(past.state, led[0][1]["observation"])
        assert np.array_equal(past.executed, [tick.action for tick, _ in led if tick.action is not None])
        told += 1
    assert told > 10
    assert {request.number: values["surprise"] for request, _, values in made.log.chunks} == {
        request.number: request.number / 4 for request, _, _ in made.log.chunks
    }


class Towards:
    """A policy that moves a point mass towards its goal and continues what it is told to."""

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        way = np.linspace(0.1, 1, HORIZON, dtype=np.float32)[:, None]
        chunk = (observation[:2] + way * (observation[2:] - observation[:2])).astype(np.float32)
        known = continuation.known
        chunk[:known] = 0.5 * (chunk[:known] + continuation.prefix[:HORIZON])
        return chunk.astype(np.float32)

    def next_chunks(self, observations: Array, continuations: Sequence[Continuation], generators: Any) -> Array:
        return np.stack([self.next_chunk(*pair) for pair in zip(observations, continuations, strict=True)])


@pytest.mark.parametrize("correction", [None, Half()], ids=["plain", "corrected"])
@pytest.mark.parametrize("handover", list(Handover))
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_what_is_measured_in_virtual_time_is_what_runs(delay: int, handover: Handover, correction: Half | None) -> None:
    """The same commands, to the bit, from the executor and from an evaluation with the same delay."""
    spec, policy, steps = point_mass.SPEC, Towards(), 40
    timing = Timing(HORIZON, 4, Fixed(delay), handover, steps)
    scales = Scales(np.ones(2), 1.0)
    record = rollout(policy, [point_mass.PointMass()], [3], timing, scales, correction)[0]  # type: ignore[arg-type]

    clock, robot = FakeClock(), point_mass.PointMass()
    robot.reset(3)
    link = FakeLink(clock, lambda _: delay * spec.dt, lambda r, seen: policy.next_chunk(seen, r.continuation))
    limits = JointLimits.uniform(
        spec.action_names, spec.action_low.tolist(), spec.action_high.tolist(), unit="m",
        velocity=UNLIMITED, acceleration=UNLIMITED, jerk=UNLIMITED,
    )  # fmt: skip
    commands: list[Array] = []
    executor = Executor(
        robot, timing.plan(2), Ladder(limits, spec.dt, robot.target.tolist()), link, clock=clock,
        position=lambda: robot.target, tolerance=Tolerance(stall=None, hold=1e9), correction=correction,
    )  # fmt: skip

    def done() -> bool:
        commands.append(robot.target)
        return robot.outcome().finished or len(commands) == steps

    assert executor.run(done=done) is Ending.DONE
    first = next(n for n, command in enumerate(record.commands) if not np.array_equal(command, record.commands[0]))
    assert len(commands) == len(record.commands)
    assert np.array_equal(np.array(commands)[first:], record.commands[first:])


def test_fault_1_a_policy_that_is_killed_and_comes_back() -> None:
    made = cell()
    made.executor.run(done=made.after(50, lambda: made.link.lose("ended by signal 9")), seconds=1.5)
    assert states(made) == ["HOLD", "RUN", "DEGRADED", "STOPPING", "HOLD"]
    again = cell()

    def events() -> bool:
        if again.executor.counts.ticks == 50:
            again.link.lose("ended by signal 9")
        if again.executor.counts.ticks == 120:
            again.link.back()
        return False

    assert again.executor.run(done=events, seconds=2.0) is Ending.TIME
    check_safe(again)
    assert states(again) == ["HOLD", "RUN", "DEGRADED", "STOPPING", "HOLD", "RUN", "STOPPING", "HOLD"]
    asked = [values["asked"] for _, _, values in again.log.ticks]
    assert not any(asked[52:119])
    assert again.executor.counts.skipped == 0


def test_fault_2_a_hanging_policy_and_its_late_answer() -> None:
    """Request 5 is answered by the link when the policy is given up, and by the policy 0.6 s later."""
    made = cell(lambda number: 0.8 if number == 5 else 0.025)

    def events() -> bool:
        if made.executor.counts.ticks == 40:
            late = list(made.link.due)
            made.link.lose("no answer")
            made.link.due += late
        if made.executor.counts.ticks == 60:
            made.link.back()
        return False

    assert made.executor.run(done=events, seconds=2.0) is Ending.TIME
    check_safe(made)
    assert made.executor.conversation.said.dropped == 1
    assert states(made)[-3:] == ["RUN", "STOPPING", "HOLD"]


@pytest.mark.parametrize("every", [2, 3, 5])
def test_fault_3_a_policy_that_raises_now_and_then(every: int) -> None:
    made = cell(answer=lambda r, seen: "RuntimeError: no" if r.number % every == 0 else wave(r, seen))
    assert made.executor.run(seconds=2.0) is Ending.TIME
    check_safe(made)
    said = made.executor.conversation.said
    assert said.errors == said.requests // every or said.errors == (said.requests - 1) // every
    assert made.executor.counts.starved == 0


def test_fault_3_a_policy_that_always_raises() -> None:
    """Asked less and less often; the robot never moves, and in the end there is a fault with its root cause."""
    made = cell(answer=lambda r, seen: f"ValueError: number {r.number}", tolerance=Tolerance(hold=5.0, stall=None))
    assert made.executor.run(seconds=60.0) is Ending.FAULT
    check_safe(made)
    assert np.array_equal(made.commands, np.zeros_like(made.commands))
    assert "number 1" in made.executor.fault
    assert made.executor.conversation.said.errors < 12  # 2 + 4 + ... 64 steps, then once a second
    assert made.robot.stops == 1
    assert set(states(made)) == {"HOLD"}


@pytest.mark.parametrize("shape", [(HORIZON, 3), (HORIZON - 1, 2), (HORIZON,), (0, 2)])
def test_fault_8_a_chunk_of_another_shape(shape: tuple[int, ...]) -> None:
    made = cell(answer=lambda r, seen: np.zeros(shape, np.float32) if r.number == 3 else wave(r, seen))
    assert made.executor.run(seconds=1.0) is Ending.TIME
    check_safe(made)
    assert made.executor.conversation.said.errors == 1
    assert made.executor.counts.starved == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_fault_6_a_chunk_that_is_not_finite(value: float) -> None:
    def answer(request: Request, seen: Array) -> Array:
        chunk = wave(request, seen)
        if request.number % 3 == 0:
            chunk[4, 1] = value
        return chunk

    made = cell(answer=answer)
    assert made.executor.run(seconds=1.0) is Ending.TIME
    check_safe(made)
    assert made.executor.conversation.said.outcomes[Delivery.REFUSED] > 5
    assert made.executor.counts.starved == 0


def test_fault_6_a_policy_that_turns_not_finite() -> None:
    """Asked less and less often, like one that raises; the robot comes to rest, and the fault says why."""

    def answer(request: Request, seen: Array) -> Array:
        chunk = wave(request, seen)
        return chunk if request.number <= 10 else chunk * np.nan

    made = cell(answer=answer, tolerance=Tolerance(hold=5.0, stall=None))
    assert made.executor.run(seconds=60.0) is Ending.FAULT
    check_safe(made)
    assert states(made) == ["HOLD", "RUN", "DEGRADED", "STOPPING", "HOLD"]
    assert "a chunk that is not finite" in made.executor.fault
    said = made.executor.conversation.said
    assert 5 < said.outcomes[Delivery.REFUSED] < 16  # 1 + 2 + 4 + ... 64 steps, then once a second
    assert said.errors == 0


def test_fault_7_a_chunk_far_outside_of_the_limits() -> None:
    made = cell(answer=lambda r, seen: 100 * (-1) ** r.number * np.ones((HORIZON, 2), np.float32))
    assert made.executor.run(seconds=1.0) is Ending.TIME
    check_safe(made)
    assert made.executor.counts.saturated > 50
    assert np.abs(made.commands).max() > 0.3


@pytest.mark.parametrize(
    "delay",
    [
        lambda n: 0.005 * min(n, 20),
        lambda n: 0.5 if n % 7 == 0 else 0.02,
        lambda n: 0.01 * float(np.random.default_rng(n).pareto(1.5)),
    ],
    ids=["ramp", "spikes", "heavy tail"],
)
def test_fault_4_latency_of_all_kinds(delay: Any) -> None:
    """Each switch is at the position that the robot has reached: actions executed since the request."""
    made = cell(delay)
    assert made.executor.run(seconds=3.0) is Ending.TIME
    check_safe(made)
    executed, at_request = 0, {}
    for _, tick, values in made.log.ticks:
        if values["request"] is not None:
            at_request[values["request"]] = executed
        if tick.event is Event.SWITCHED:
            assert tick.index == executed - at_request[tick.chunk]
        executed += tick.action is not None
    assert executed > 50


def test_fault_5_nothing_moves_before_the_policy_is_warm_and_its_first_answer_is_no_delay() -> None:
    made = cell(lambda number: 3.0 if number == 1 else 0.025)
    made.link.state = LinkState.STARTING
    made.executor.run(seconds=6.0, done=made.after(100, made.link.back))
    check_safe(made)
    assert not any(values["asked"] for _, _, values in made.log.ticks[:100])
    moving = next(n for n, command in enumerate(made.commands) if command.any())
    assert moving >= 100 + 300
    assert made.executor.plan.delay.estimate() == 3
    assert made.executor.counts.starved == 0


def test_fault_9_answers_twice_out_of_order_and_from_before_a_reset() -> None:
    made = cell()
    pause = {60: made.executor.pause, 100: made.executor.resume}

    def events() -> bool:
        if made.link.due and made.executor.counts.ticks % 5 == 0:
            made.link.due.append(made.link.due[-1])  # twice
        if made.log.chunks and made.executor.counts.ticks % 7 == 0:
            made.link.due.insert(0, (0.0, answers[len(answers) // 2]))  # an old one
        answers.extend(answer for _, answer in made.link.due)
        pause.get(made.executor.slot, lambda: None)()
        return False

    answers: list[Any] = []
    made.executor.run(seconds=2.0, done=events)
    check_safe(made)
    said = made.executor.conversation.said
    assert said.dropped > 10
    assert sum(said.outcomes.values()) == len(made.log.chunks) <= said.requests
    assert made.executor.counts.starved <= 4


@pytest.mark.parametrize("gap", [1, 2, 3, 5, 10, 300])
def test_fault_10_one_stop_per_gap_in_the_actions(gap: int) -> None:
    """Request 4 takes so long that ``gap`` ticks have no action."""
    made = cell(lambda number: 0.025 if number != 4 else (HORIZON - S - 0.5 + gap) * DT)
    made.executor.run(seconds=3.0 + gap * DT)
    check_safe(made)
    assert made.executor.counts.starved == gap
    stops = states(made)[:-2].count("STOPPING")
    assert stops == 1
    held = [n for n, (_, _, values) in enumerate(made.log.ticks) if values["ladder"] == list(State).index(State.HOLD)]
    assert all(np.array_equal(made.commands[n], made.commands[n - 1]) for n in held if n > 0)


def test_fault_11_the_time_of_day_plays_no_part() -> None:
    """The executor knows no other time than its clock's; wherever that starts, the run is the same."""
    runs = []
    for start in (0.0, 1e9):
        made = cell()
        made.clock.time = start
        made.executor.run(seconds=1.0)
        runs.append(made.commands)
    assert np.array_equal(*runs)


@pytest.mark.parametrize("stall", [0.001, 0.005, 0.02, 0.2])
def test_fault_12_a_stalled_loop_skips_slots_and_never_catches_up(stall: float) -> None:
    made = cell()
    made.robot.faults = {("observe", 50): stall, ("send", 80): stall}
    made.executor.run(seconds=2.0)
    check_safe(made)
    assert made.executor.counts.skipped == pytest.approx(2 * stall / DT, abs=2)
    late = [values["lateness"] for _, _, values in made.log.ticks]
    assert max(late) <= DT / 2 + 1e-9
    slots = [slot for slot, _, _ in made.log.ticks]
    scheduled = 1000 + DT * np.array(slots)
    assert made.times[-1] == pytest.approx(scheduled[-1])


def test_fault_12_oversleeping_does_not_make_the_schedule_drift() -> None:
    made = cell()
    rng = np.random.default_rng(0)
    made.clock.oversleep = lambda: float(rng.uniform(0, 0.004))
    made.executor.run(seconds=5.0)
    check_safe(made)
    assert made.executor.counts.skipped == 0
    scheduled = 1000 + DT * np.array([slot for slot, _, _ in made.log.ticks])
    assert (np.abs(made.times - scheduled) <= 0.004 + 1e-9).all()


def test_the_next_episode_starts_from_rest_and_drops_what_was_under_way() -> None:
    made = cell(lambda number: 0.025)
    assert made.executor.run(done=lambda: made.executor.counts.ticks >= 41) is Ending.DONE
    assert made.robot.stops == 0
    pending = made.link.requests[-1]
    assert made.executor.conversation.said.requests > sum(made.executor.conversation.said.outcomes.values())
    made.robot.at = np.array([1.0, 1.0])
    made.executor.begin(Ladder(LIMITS, DT, [1.0, 1.0]))
    made.executor.run(done=lambda: made.executor.counts.ticks >= 82)
    assert made.executor.conversation.said.outcomes[Delivery.STALE] == 1
    assert (pending, Delivery.STALE) in [(request, outcome) for request, outcome, _ in made.log.chunks]
    first = next(r for r in made.link.requests if r.epoch == pending.epoch + 1)
    assert (first.step, first.continuation.known) == (0, 0)
    assert made.commands[41] == pytest.approx([1.0, 1.0])


def test_a_policy_that_is_ready_and_says_nothing_ends_in_a_fault() -> None:
    made = cell(lambda number: float("inf"), tolerance=Tolerance(hold=1.0, stall=None))
    assert made.executor.run(seconds=60.0) is Ending.FAULT
    assert Cause.STARVED.value in made.executor.fault or Cause.START.value in made.executor.fault


def flat(ticks: int) -> None:
    made = cell(lambda number: 0.02 * (number % 3))
    made.robot.sent = deque(maxlen=8)  # type: ignore[assignment]
    made.link.requests = _Last()
    plan = Plan(HORIZON, 2, 4, WindowQuantile(3))
    executor = Executor(
        made.robot, plan, Ladder(LIMITS, DT, [0.0, 0.0]), made.link, clock=made.clock, position=made.robot.position,
        sink=Sinks(), tolerance=Tolerance(stall=None),
    )  # fmt: skip
    executor.run(done=lambda: executor.counts.ticks >= 500)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        executor.run(done=lambda: executor.counts.ticks >= 500 + ticks)
        assert tracemalloc.get_traced_memory()[0] - before < 64 * 1024
    finally:
        tracemalloc.stop()


class _Last(list):  # type: ignore[type-arg]
    """Counts, keeps nothing."""

    count_ = 0

    def append(self, item: Any) -> None:
        self.count_ += 1

    def __len__(self) -> int:
        return self.count_


def test_fault_25_memory_is_flat() -> None:
    flat(1_000)


@pytest.mark.faults
def test_fault_25_memory_is_flat_over_many_ticks() -> None:
    flat(100_000)
