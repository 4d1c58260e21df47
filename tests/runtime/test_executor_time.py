"""The executor when time passes otherwise than planned: a machine that stands still, a driver that is slow."""

import logging

import numpy as np
import pytest

from fakes.clock_robot_link import DT, S, cell, check_safe, states
from segue.runtime.executor import Executor
from segue.runtime.run import Ending, Tolerance
from segue.safety.ladder import Ladder


def jump(made, at: float, seconds: float) -> None:  # type: ignore[no-untyped-def]
    """The clock goes on while nothing else does, once."""
    done: list[int] = []

    def oversleep() -> float:
        if made.clock.time > at and not done:
            done.append(len(made.robot.sent))
            return seconds
        return 0.0

    made.clock.oversleep = oversleep


@pytest.mark.parametrize("seconds", [1.5, 8.0, 600.0, 1e6])
def test_after_a_standstill_the_robot_goes_on_from_rest_with_a_new_plan(seconds: float) -> None:
    made = cell()
    jump(made, 1000.5, seconds)
    assert made.executor.run(seconds=seconds + 2.0) is Ending.TIME
    check_safe(made)
    assert made.executor.counts.standstills == 1
    assert states(made) == ["HOLD", "RUN", "STOPPING", "HOLD", "RUN", "STOPPING", "HOLD"]
    after = next(n for n, (slot, _, _) in enumerate(made.log.ticks) if slot > 60)
    moved = [tick.chunk for _, tick, _ in made.log.ticks[after:] if tick.chunk is not None]
    old = [tick.chunk for _, tick, _ in made.log.ticks[:after] if tick.chunk is not None]
    assert min(moved) > max(old)
    assert made.link.requests[-1].epoch == made.link.requests[0].epoch + 1


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.9])
def test_a_short_delay_of_the_machine_changes_nothing_but_the_count_of_slots(seconds: float) -> None:
    made = cell()
    jump(made, 1000.5, seconds)
    made.executor.run(seconds=3.0)
    check_safe(made)
    assert made.executor.counts.standstills == 0
    assert states(made) == ["HOLD", "RUN", "STOPPING", "HOLD"]


def test_a_robot_that_was_moved_meanwhile_goes_on_from_where_it_is() -> None:
    made = cell()
    jump(made, 1000.5, 60.0)
    position, moved = made.robot.position, []

    def where() -> np.ndarray:
        moved.append(len(made.robot.sent))
        made.robot.at = position() + np.array([0.5, -0.5])
        return made.robot.at

    made.executor._position = where
    made.executor.run(seconds=62.0)
    assert len(moved) == 1
    before, after = made.commands[moved[0] - 1], made.commands[moved[0]]
    assert after - before == pytest.approx([0.5, -0.5], abs=0.01)


def test_a_call_that_takes_seconds_and_comes_back_is_a_standstill_too() -> None:
    made = cell()
    made.robot.faults = {("send", 40): 2.0, ("observe", 120): 5.0}
    made.executor.run(seconds=9.0)
    check_safe(made)
    assert made.executor.counts.standstills == 2


def test_the_bound_can_be_said_and_slow_rates_are_no_standstill() -> None:
    made = cell(tolerance=Tolerance(stall=None, standstill=0.1))
    jump(made, 1000.5, 0.5)
    made.executor.run(seconds=2.0)
    assert made.executor.counts.standstills == 1
    slow = cell()
    executor = Executor(
        slow.robot, slow.executor.plan, Ladder(slow.executor.ladder.limiter.limits, 0.5, [0.0, 0.0]), slow.link,
        clock=slow.clock, position=slow.robot.position, tolerance=Tolerance(stall=None),
    )  # fmt: skip
    slow.robot.faults = {("observe", 9): 0.8}
    executor.run(seconds=20.0)
    assert executor.counts.standstills == 0


def test_the_pause_of_a_machine_is_not_the_fault_of_a_policy() -> None:
    """Who has held for lack of actions before has not held for ten minutes."""
    made = cell(lambda number: 0.025 if number < 6 else float("inf"))
    jump(made, 1001.0, 600.0)
    assert made.executor.run(seconds=602.0) is Ending.TIME
    assert made.executor.fault == ""


@pytest.mark.parametrize("takes", [0.0, 0.3, 0.45, 0.55, 0.7, 0.95])
def test_a_driver_that_fits_into_the_period_gets_a_command_in_each(takes: float) -> None:
    """Whether it is reading or writing that takes the time."""
    for call in ("observe", "send"):
        made = cell(delay=lambda number: 0.0)
        made.robot.faults = {(call, n): takes * DT for n in range(1, 2000)}
        made.executor.run(seconds=5.0)
        check_safe(made)
        assert made.executor.counts.skipped == 0
        assert made.executor.counts.ticks == pytest.approx(5.0 / DT, abs=8)


def test_commands_stay_half_a_period_apart_where_reading_takes_now_more_now_less() -> None:
    made = cell(delay=lambda number: 0.0)
    rng = np.random.default_rng(0)
    made.robot.faults = {("observe", n): float(rng.uniform(0, 0.99 * DT)) for n in range(1, 2000)}
    made.executor.run(seconds=5.0)
    check_safe(made)
    assert np.diff(made.times).min() == pytest.approx(DT / 2, abs=1e-9)
    assert made.executor.counts.skipped == 0


@pytest.mark.parametrize("takes", [1.05, 1.5, 3.0])
@pytest.mark.parametrize("call", ["observe", "send"])
def test_a_driver_that_takes_longer_than_the_period_is_spoken_of_once(
    call: str, takes: float, caplog: pytest.LogCaptureFixture
) -> None:
    made = cell()
    made.robot.faults = {(call, n): takes * DT for n in range(1, 2000)}
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            made.executor.run(seconds=1.0)
            made.executor.begin(Ladder(made.executor.ladder.limiter.limits, DT, made.robot.at.tolist()))
    assert len(caplog.records) == 1
    assert f"{call} took longer than the control period of 0.01 s" in caplog.text
    counts = made.executor.counts
    slow = {"observe": counts.slow_observations, "send": counts.slow_sends}
    assert slow.pop(call) == counts.ticks
    assert list(slow.values()) == [0]


@pytest.mark.parametrize(
    "faults", [{}, {("observe", 50): 5 * DT}, {("send", 50): 5 * DT}, {("observe", n): 0.9 * DT for n in range(999)}]
)
def test_a_driver_that_keeps_up_is_not_spoken_of(faults: dict, caplog: pytest.LogCaptureFixture) -> None:
    made = cell()
    made.robot.faults = faults
    made.executor.run(seconds=3.0)
    assert not caplog.records


def test_the_plan_stands_while_the_robot_does_something_else() -> None:
    """The policy is gone while the robot is at rest, and comes back: what was planned is gone on with where it was."""
    made = cell(lambda number: 0.025)
    made.executor.run(done=lambda: made.executor.counts.ticks >= 3)
    made.link.lose("gone")
    made.link.due[0] = (0.0, made.link.due[0][1])
    executor = made.executor
    chunk = np.full((16, 2), 0.2, np.float32)
    executor.plan.deliver(made.link.requests[0], chunk)
    executor.conversation._asked = None
    made.link.due.clear()
    executor.run(done=lambda: executor.counts.ticks >= 23)
    assert {tick.event.value for _, tick, _ in made.log.ticks[3:]} == {"stood"}
    assert executor.counts.starved == 0
    made.link.back()
    executor.run(done=lambda: executor.counts.ticks >= 26)
    assert [tick.index for _, tick, _ in made.log.ticks[23:]] == [0, 1, 2]
    assert executor.plan.execution_horizon == S


def test_what_has_stood_for_long_is_forgotten() -> None:
    made = cell()
    made.executor.run(done=lambda: made.executor.counts.ticks >= 3)
    made.link.due.clear()
    made.executor.plan.deliver(made.link.requests[0], np.full((16, 2), 0.2, np.float32))
    made.executor.conversation._asked = None
    made.link.lose("gone")
    made.executor.run(done=lambda: made.executor.counts.ticks >= 300)
    made.link.back()
    assert made.executor.counts.standstills == 1
    assert made.executor.plan.chunk is None
    made.executor.run(seconds=1.0)
    assert 1 not in {tick.chunk for _, tick, _ in made.log.ticks}
