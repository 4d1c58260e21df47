"""The executor with a driver that fails, under signals, and in a pause; the numbers are rows of the fault matrix."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fakes.clock_robot_link import DT, LIMITS, cell, check_safe, states
from segue.errors import SpecError
from segue.runtime import executor as module
from segue.runtime.executor import Ending, Executor
from segue.runtime.watchdog import Watchdog
from segue.safety.ladder import Ladder


@pytest.mark.parametrize("fault", [OSError("bus"), "nan"])
@pytest.mark.parametrize(("count", "ending"), [(9, Ending.TIME), (10, Ending.FAULT)])
def test_fault_13_observations_that_fail(fault: Any, count: int, ending: Ending) -> None:
    made = cell()
    made.robot.faults = {("observe", 50 + n): fault for n in range(count)}
    assert made.executor.run(seconds=2.0) is ending
    check_safe(made)
    assert made.executor.counts.bad_observations == count
    assert made.robot.stops == 1
    if ending is Ending.FAULT:
        assert states(made) == ["HOLD", "RUN", "STOPPING", "FAULT"]
        assert ("bus" in made.executor.fault) == isinstance(fault, OSError)
        assert np.abs(np.diff(made.commands[-2:], axis=0)).max() <= LIMITS.jerk[0] * DT**3


def test_fault_13_an_observation_that_is_too_old() -> None:
    made = cell()

    def freeze() -> None:
        made.robot.age = 0.5

    assert made.executor.run(seconds=2.0, done=made.after(50, freeze)) is Ending.FAULT
    check_safe(made)
    assert "0.5 s old" in made.executor.fault


@pytest.mark.parametrize(("count", "ending"), [(1, Ending.TIME), (9, Ending.TIME), (10, Ending.FAULT)])
def test_fault_13_commands_that_the_driver_does_not_take(count: int, ending: Ending) -> None:
    """The robot gets every command in its order, each late at most, none left out: no step is longer than allowed."""
    made = cell()
    made.robot.faults = {("send", 50 + n): OSError("bus") for n in range(count)}
    assert made.executor.run(seconds=2.0) is ending
    check_safe(made)
    assert made.executor.counts.failed_sends == count
    assert made.robot.stops == 1
    if ending is Ending.FAULT:
        assert "bus" in made.executor.fault
        assert made.log.ticks[-1][2]["sent"] is None


def test_fault_13_a_robot_whose_stop_fails_too() -> None:
    made = cell()

    def fail() -> None:
        made.robot.stops += 1
        raise OSError("stop button")

    made.robot.stop = fail  # type: ignore[method-assign]
    made.robot.faults = {("send", n): OSError("bus") for n in range(50, 100)}
    assert made.executor.run(seconds=2.0) is Ending.FAULT
    assert made.robot.stops == 1
    assert "bus" in made.executor.fault


@pytest.mark.parametrize("tick", [1, 2, 4, 5, 17, 50, 51])
def test_fault_21_a_signal_at_any_tick(tick: int) -> None:
    made = cell()
    assert made.executor.run(seconds=60.0, done=made.after(tick, made.executor.stop)) is Ending.STOPPED
    check_safe(made)
    assert made.robot.stops == 1
    assert states(made)[-1] == "HOLD"
    path = np.concatenate([np.zeros((2, 2)), made.commands])
    assert np.array_equal(path[-1], path[-2])


@pytest.mark.parametrize("call", ["observe", "send"])
def test_fault_21_a_second_signal_stops_at_once(call: str) -> None:
    made = cell()
    made.robot.faults = {(call, 30): KeyboardInterrupt()}
    assert made.executor.run(seconds=60.0) is Ending.ABORTED
    assert made.robot.stops == 1
    check_safe(made)


@pytest.mark.parametrize("presses", [0, 1, 2, 3, 100])
def test_fault_21_signals_while_the_robot_is_being_stopped_do_not_keep_it_from_that(presses: int) -> None:
    """Its stop is called again, which it allows; one that hangs can be left."""
    made, calls = cell(), 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls <= presses:
            raise KeyboardInterrupt

    made.robot.stop = stop  # type: ignore[method-assign]
    assert made.executor.run(seconds=0.2) is Ending.TIME
    assert calls == min(presses + 1, 3)
    assert made.executor.fault == ("" if presses < 3 else "stop: interrupted")
    with pytest.raises(SpecError, match="after one that is over"):
        made.executor.run(seconds=0.2)


@pytest.mark.parametrize(("dt", "limit"), [(0.01, 1.0), (0.4, 1.0), (2.0, 4.0)])
def test_fault_13_a_slow_control_rate_is_not_taken_for_a_call_that_hangs(
    dt: float, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog is fed once per control period, and waits for longer than that."""
    limits: list[float] = []

    class Noted(Watchdog):
        def __init__(self, act: Callable[[], None], limit: float) -> None:
            limits.append(limit)
            super().__init__(act, limit)

    monkeypatch.setattr(module, "Watchdog", Noted)
    made = cell()
    executor = Executor(
        made.robot, made.executor.plan, Ladder(LIMITS, dt, [0.0, 0.0]), made.link, clock=made.clock,
        position=made.robot.position,
    )  # fmt: skip
    assert executor.run(seconds=10 * dt) is Ending.TIME
    assert limits == [limit]


def test_what_is_no_fault_of_the_robot_stops_it_and_comes_out() -> None:
    made = cell(delay=lambda number: 1 / 0)  # a mistake in the control process itself
    with pytest.raises(ZeroDivisionError):
        made.executor.run(seconds=1.0)
    assert made.robot.stops == 1


@pytest.mark.parametrize("moved", [np.zeros(2), np.array([0.7, -0.4])])
def test_fault_28_a_pause_lets_go_and_the_run_goes_on_from_where_the_robot_is(moved: np.ndarray) -> None:
    made = cell()
    executor, marks = made.executor, {}

    def events() -> bool:
        if executor.slot == 50:
            executor.pause()
        if executor.slot == 100:
            marks["paused"], marks["asked"] = len(made.robot.sent), made.link.requests[-1]
            made.robot.at = marks["at"] = made.robot.at + moved
        if executor.slot == 200:
            executor.resume()
        return False

    assert executor.run(seconds=4.0, done=events) is Ending.TIME
    before, after = made.commands[: marks["paused"]], made.commands[marks["paused"] :]
    assert np.array_equal(before[-1], before[-2])  # at rest
    assert executor.counts.paused > 50
    assert not any(50 + 20 < (time - 1000) / DT < 199 for time in made.times)  # nothing is sent meanwhile
    assert np.allclose(after[0], marks["at"], atol=LIMITS.jerk[0] * DT**3)
    path = np.concatenate([np.tile(marks["at"], (3, 1)), after])
    for order, bound in enumerate((4.0, 80.0, 8000.0), start=1):
        assert (np.abs(np.diff(path, order, axis=0)) <= bound * DT**order * (1 + 1e-9)).all()
    fresh = made.link.requests[made.link.requests.index(marks["asked"]) + 1]
    assert fresh.epoch == marks["asked"].epoch + 1
    assert fresh.continuation.known == 0
    assert fresh.continuation.previous is None


class Unreadable:
    """A robot that has been moved while it was let go: it does not say where it is, then outside of its limits."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> np.ndarray:
        self.asked += 1
        if self.asked == 1:
            raise OSError("bus")
        return np.array([2.5 if self.asked == 2 else 1.5, 0.0])


def test_fault_28_a_run_that_cannot_go_on_from_where_the_robot_is_stays_paused() -> None:
    made = cell()
    executor, reasons = made.executor, []
    executor._position = Unreadable()

    def events() -> bool:
        if executor.slot == 50:
            executor.pause()
        if executor.slot in (100, 120, 140):
            executor.resume()
        if executor.slot in (110, 130, 150):
            reasons.append(executor.kept_paused)
        if executor.slot == 110:
            assert executor.counts.paused > 40
        return False

    assert executor.run(seconds=3.0, done=events) is Ending.TIME
    assert reasons[0] == "OSError: bus"
    assert "'shoulder' starts at 2.5" in reasons[1]
    assert reasons[2] == ""
    assert not any(80 < (time - 1000) / DT < 139 for time in made.times)
    assert made.commands[np.searchsorted(made.times, 1000 + 139 * DT)] == pytest.approx([1.5, 0.0], abs=0.01)
    assert states(made)[-3:] == ["RUN", "STOPPING", "HOLD"]


def test_fault_13_a_pose_that_cannot_be_measured_is_missing_in_the_trace_and_nothing_else() -> None:
    made, asked = cell(), []

    def pose() -> np.ndarray:
        asked.append(made.executor.slot)
        if len(asked) % 3 == 0:
            raise OSError("bus")
        return np.array([float(made.executor.slot)])

    made.executor._pose = pose
    assert made.executor.run(seconds=1.0) is Ending.TIME
    check_safe(made)
    poses = [values["pose"] for _, _, values in made.log.ticks]
    assert [None if each is None else each[0] for each in poses] == [
        None if n % 3 == 2 else slot for n, slot in enumerate(asked)
    ]


def test_a_stop_ends_a_pause() -> None:
    made = cell()
    executor = made.executor

    def events() -> bool:
        if executor.slot == 50:
            executor.pause()
        if executor.slot == 150:
            executor.stop()
        return False

    assert executor.run(done=events) is Ending.STOPPED
    assert executor.counts.paused > 50
    assert made.robot.stops == 1
