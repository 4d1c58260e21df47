"""The doctor: what it measures on a clock that the tests hold, and what it makes of it."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from fakes.point_mass import SPEC, PointMass
from segue.cli import doctor as command
from segue.core.chunk import Continuation, check_timing
from segue.core.spec import PolicySpec
from segue.errors import RemoteError, RobotError, SpecError
from segue.links import worker
from segue.links.worker import measure_latency, warm_up
from segue.runtime.doctor import (
    Jitter,
    Machine,
    look_at_machine,
    machine_notes,
    measure_jitter,
    recommend,
    timer_words,
)


class LateClock:
    """Wakes up as late as it is told, then punctually."""

    def __init__(self, *late: float) -> None:
        self.time, self.late = 100.0, list(late)
        self.deadlines: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep_until(self, deadline: float) -> None:
        self.deadlines.append(deadline)
        self.time = max(self.time, deadline) + (self.late.pop(0) if self.late else 0.0)


def test_lateness_is_against_absolute_deadlines() -> None:
    found = measure_jitter(LateClock(0.001, 0.0, 0.005), rate=10, seconds=0.5)
    assert found.lateness == pytest.approx([0.001, 0, 0.005, 0, 0], abs=1e-9)
    assert found.missed == 0


def test_slots_that_have_passed_are_skipped_and_counted() -> None:
    """Late by more than half a period is missed, as in the executor."""
    clock = LateClock(0.0, 0.24, 0.0, 0.06, 0.04)
    found = measure_jitter(clock, rate=10, seconds=0.7)
    assert clock.deadlines == pytest.approx([100.1, 100.2, 100.4, 100.5, 100.6, 100.7])
    assert found.missed == 2 + 1
    assert found.lateness == pytest.approx([0, 0.24, 0.04, 0.06, 0.04, 0], abs=1e-9)


class Timed:
    """A chunk policy that takes as long as it is told."""

    spec = PolicySpec(8, 0.02, ("x", "y"), ("u",))

    def __init__(self, *seconds: float) -> None:
        self.time, self.left = 0.0, list(seconds)
        self.asked: list[Continuation] = []
        self.closed = self.resets = 0

    def next_chunk(self, observation: np.ndarray, continuation: Continuation) -> np.ndarray:
        assert observation.shape == (2,)
        self.asked.append(continuation)
        self.time += self.left.pop(0) if self.left else 0.01
        return np.full((8, 1), len(self.asked), np.float32)

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed += 1


def test_latency_is_without_the_first_inference_and_every_chunk_continues_the_last() -> None:
    policy = Timed(9.0, 0.1, 0.2, 0.3)
    assert measure_latency(policy, lambda: policy.time, 3) == pytest.approx([0.1, 0.2, 0.3])
    assert [each.start for each in policy.asked] == [0, 4, 8, 12]
    assert [each.known for each in policy.asked] == [0, 4, 4, 4]
    assert [each.prefix[0, 0] for each in policy.asked[1:]] == [1, 2, 3]
    assert policy.resets == 1


def test_a_policy_is_warm_after_two_inferences(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Timed(9.0, 8.0, 0.3, 0.1, 0.5, 0.2, 0.4)
    monkeypatch.setattr(worker.time, "monotonic", lambda: policy.time)
    assert warm_up(policy) == pytest.approx(0.3)
    assert policy.left == []


@given(
    horizon=st.integers(2, 200),
    rate=st.floats(1, 1000),
    latency=st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=50),
)
def test_what_is_recommended_is_possible_and_covers_the_latency(
    horizon: int, rate: float, latency: list[float]
) -> None:
    found = recommend(horizon, rate, np.array(latency))
    slow = float(np.quantile(latency, 0.99))
    assert found.delay >= 1
    assert found.delay / rate >= slow - 1e-6
    if found.execution_horizon is None:
        assert 2 * found.delay > horizon
    else:
        check_timing(horizon, found.delay, found.execution_horizon)


def test_a_recommendation_in_words() -> None:
    found = recommend(32, 50, np.full(20, 0.07))
    assert (found.delay, found.execution_horizon) == (4, 8)
    assert "up to 70 ms: 4 steps at 50 Hz" in found.words
    assert "a delay of 4 and an execution horizon of 8" in found.words


def test_a_policy_that_is_too_slow_gets_what_would_help() -> None:
    found = recommend(8, 100, np.full(20, 0.1))
    assert (found.delay, found.execution_horizon) == (10, None)
    assert "horizon of at least 20" in found.words
    rate = float(re.findall(r"at most ([\d.]+) Hz", found.words)[0])
    assert recommend(8, rate, np.full(20, 0.1)).execution_horizon is not None


def jitter(late: float, missed: int = 0) -> Jitter:
    return Jitter(100.0, np.full(10, late), missed)


def test_the_way_to_wait() -> None:
    assert "sleeping is punctual" in timer_words(jitter(1e-4), jitter(0))
    assert "use the spin" in timer_words(jitter(2e-3), jitter(1e-6))
    assert "lower the rate" in timer_words(jitter(2e-3), jitter(3e-3))
    assert "1 slots missed" in timer_words(jitter(2e-3), jitter(0, missed=1))


def test_what_is_wrong_with_a_machine() -> None:
    assert machine_notes(Machine(4, 0.5, 1 << 30)) == []
    assert "one core" in machine_notes(Machine(1, 0.0, 1 << 30))[0]
    assert "load of 3.5 on 4" in machine_notes(Machine(4, 3.5, 1 << 30))[0]
    assert machine_notes(Machine(4, math.nan, 1 << 30)) == []
    assert "no /dev/shm" in machine_notes(Machine(4, 0.0, None))[0]
    assert "64 MB free" in machine_notes(Machine(4, 0.0, 1 << 26))[0]


def test_a_look_at_this_machine(tmp_path: Path) -> None:
    found = look_at_machine(tmp_path)
    assert found.cores >= 1
    assert found.shared_memory is not None
    assert look_at_machine(tmp_path / "nowhere").shared_memory is None


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.setattr("segue.runtime.clock.MonotonicClock", lambda **_: LateClock())
    monkeypatch.setenv("COLUMNS", "200")

    def run(**changes: Any) -> str:
        command.doctor(**({"rate": 100.0, "seconds": 0.1, "method": "legato"} | changes))
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return run


def test_without_a_policy(examine: Callable[..., str]) -> None:
    said = examine()
    for text in ("cores", "shared memory", "torch: ", "sleep + spin", "real-time priority", "memory locked"):
        assert text in said
    assert "At 100 Hz sleeping is punctual enough" in said


def test_with_a_policy_in_a_run(examine: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Timed()
    monkeypatch.setattr(command, "_devices", lambda *_: [("legato on cpu", policy)])
    said = examine(run=Path("runs"))
    assert "legato on cpu: median" in said
    assert "horizon 8" in said
    assert policy.closed == 1


def test_with_a_server_that_does_not_answer(
    examine: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from segue.links import client

    def refuse(*_: Any, **__: Any) -> None:
        raise RemoteError("nobody at ws://nowhere", "a server", "start it")

    monkeypatch.setattr(client, "RemotePolicy", refuse)
    with pytest.raises(typer.Exit) as ended:
        examine(server="ws://nowhere")
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    assert "nobody at ws://nowhere" in said.err
    assert "nobody" not in said.out
    assert "Advice" in said.out


class Slow(PointMass):
    """Takes its time to observe, on a clock that the tests hold."""

    stopped = 0

    def stop(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize(("rate", "at"), [(None, 20), (40.0, 40)])
def test_a_policy_is_measured_at_the_rate_of_the_robot_or_at_the_one_that_was_asked_for(
    examine: Callable[..., str], monkeypatch: pytest.MonkeyPatch, rate: float | None, at: int
) -> None:
    robot, policy = Slow(replace(SPEC, dt=0.05)), Timed()
    policy.spec = PolicySpec(8, 0.05, SPEC.observation_names, SPEC.action_names)
    monkeypatch.setattr(Timed, "next_chunk", lambda *_: np.zeros((8, 2), np.float32))
    monkeypatch.setattr(command, "_devices", lambda *_: [("legato on cpu", policy)])
    monkeypatch.setattr("segue.cli.robots.robot_from", lambda *_: robot)
    said = examine(run=Path("runs"), rate=rate, robot="mine:Arm")
    assert f"At {at} Hz sleeping is punctual" in said
    assert f"steps at {at} Hz" in said
    assert f"of {1000 / at:g} ms" in said
    assert ("it moves 2 times as fast" in said) == (at == 40)
    assert robot.stopped == 1


def test_without_a_robot_a_policy_is_measured_at_its_own_rate(
    examine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_devices", lambda *_: [("legato on cpu", Timed())])
    said = examine(run=Path("runs"), rate=None)
    assert "At 50 Hz sleeping" in said
    assert "steps at 50 Hz" in said


def test_a_robot_is_checked_and_what_is_wrong_with_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    robot = Slow(replace(SPEC, observation_names=("x", "y", "goal x", "goal y"), action_names=("x", "y")))
    monkeypatch.setattr("segue.cli.robots.robot_from", lambda *_: robot)
    (limits := tmp_path / "arm.toml").write_text("[joints.x]\nvelocity = 1.0\n")
    command.check_robot_("mine:Arm", limits=limits)
    said = capsys.readouterr().out
    assert "no limit of jerk for every joint" in said
    assert f"it can be driven: segue run --robot mine:Arm RUN --limits {limits}\n" in said
    assert robot.stopped >= 1
    monkeypatch.setattr(robot, "observe", lambda: np.zeros(4))
    with pytest.raises(SpecError, match="float32"):
        command.check_robot_("mine:Arm")
    assert capsys.readouterr().out == ""


def test_a_robot_that_observes_too_slowly_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.cli.robots.robot_from", lambda *_: Slow())
    monkeypatch.setattr(command, "_observing", lambda *_: ("a point: observing takes a second", True))
    with pytest.raises(RobotError, match="takes a second"):
        command.check_robot_("mine:Arm")
