"""A driver of LeRobot as one of our robots: units, pictures and their ages, holding and stopping."""

import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fakes.clock_robot_link import DT, FakeClock, FakeLink
from fakes.lerobot_arm import Arm, Base
from segue.core.observation import Observation
from segue.core.robot import Resting, Robot, check_robot
from segue.errors import RobotError, SpecError
from segue.integrations.lerobot import chosen
from segue.integrations.lerobot.robot import LeRobotRobot
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan
from segue.runtime.executor import Executor
from segue.runtime.run import Ending
from segue.safety.ladder import Cause, Ladder
from segue.safety.limits import JointLimits
from segue.trace.file import TraceWriter, read

FRONT, WRIST = "observation.images.front", "observation.images.wrist"


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def robot(time: Time) -> Iterator[LeRobotRobot]:
    made = LeRobotRobot(Arm(), dt=DT, prompt="put the cup away", clock=time)
    made.connect()
    yield made
    made.disconnect()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a thread of cameras; a test that waits for ever fails by its own time limit."""
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it has not come about")


def theirs(robot: LeRobotRobot) -> Any:
    return robot.theirs


def test_units_and_ranges_are_those_of_the_motors(robot: LeRobotRobot) -> None:
    assert isinstance(robot, Robot)
    assert isinstance(robot, Resting)
    assert robot.units == ("deg", "1", "1")
    spec = robot.spec
    assert spec.observation_names == spec.action_names == ("pan.pos", "lift.pos", "gripper.pos")
    assert (spec.action_low.tolist(), spec.action_high.tolist()) == ([-180, -100, 0], [180, 100, 100])
    assert spec.pose_names == ("pan.pos [deg]", "lift.pos [1]", "gripper.pos [1]")
    assert spec.cameras == {FRONT: (4, 6), WRIST: (4, 6)}
    assert robot.rest().tolist() == robot.pose().tolist() == [10, 20, 30]
    check_robot(robot)


def test_ranges_that_are_given_hold_and_actions_are_clipped_to_them(time: Time) -> None:
    made = LeRobotRobot(Arm(), dt=DT, ranges={"pan.pos": (-5, 30)}, clock=time)
    made.send(np.array([40.0, -120.0, 50.0]))
    assert theirs(made).sent == [{"pan.pos": 30.0, "lift.pos": -100.0, "gripper.pos": 50.0}]
    with pytest.raises(SpecError, match="not finite"):
        made.send(np.array([np.nan, 0.0, 0.0]))
    assert len(theirs(made).sent) == 1


def test_a_joint_without_a_range_or_a_measurement_is_refused() -> None:
    with pytest.raises(SpecError, match=r"how far 'gripper\.pos' goes"):
        LeRobotRobot(Arm(modes=("", "")), dt=DT, ranges={"pan.pos": (0, 1), "lift.pos": (0, 1)})
    blind = Arm()
    features = {"pan.pos": float}
    with pytest.raises(SpecError, match="does not measure it"):
        LeRobotRobot(
            SimpleNamespace(**{name: getattr(blind, name) for name in ("name", "action_features", "bus")},
                            observation_features=features),  # type: ignore[arg-type]
            dt=DT,
        )  # fmt: skip


def test_pictures_come_with_their_age(robot: LeRobotRobot, time: Time) -> None:
    time.now += 0.1
    seen = robot.observe()
    assert isinstance(seen, Observation)
    assert seen.prompt == "put the cup away"
    assert seen.ages == pytest.approx({FRONT: 0.1, WRIST: 0.1})
    robot._cameras["front"].new.set()
    eventually(lambda: robot._watched["front"].newest(1.0)[1] == 0)
    seen = robot.observe()
    assert isinstance(seen, Observation)
    assert seen.ages == pytest.approx({FRONT: 0.0, WRIST: 0.1})
    assert (seen.pictures[FRONT] == 2).all()
    assert (seen.pictures[WRIST] == 1).all()


def test_a_picture_that_is_too_old_is_not_used(robot: LeRobotRobot, time: Time) -> None:
    time.now += 0.3
    with pytest.raises(RobotError, match=r"camera front: a picture 0\.3 s old"):
        robot.observe()


def test_a_camera_that_shows_nothing_is_no_robot(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.integrations.lerobot.robot._FIRST_PICTURE", 0.01)
    arm = Arm()
    arm.cameras["wrist"].broken = True
    made = LeRobotRobot(arm, dt=DT, clock=time)
    with pytest.raises(RobotError, match="camera wrist: no picture"):
        made.connect()
    assert arm.calls == ["connect", "disconnect"]


def test_a_frozen_camera_brings_the_robot_to_rest_in_a_fault(robot: LeRobotRobot, time: Time, tmp_path: Path) -> None:
    """The policy is not asked with an old picture, and after ten of them the ladder is in its fault."""
    clock = FakeClock(time.now)

    def sleep_until(deadline: float) -> None:
        clock.time = time.now = max(clock.time, deadline)

    clock.sleep_until = sleep_until  # type: ignore[method-assign]
    spec, n = robot.spec, 3
    limits = JointLimits.uniform(
        spec.action_names, spec.action_low.tolist(), spec.action_high.tolist(), unit="1", velocity=90.0,
        acceleration=900.0, jerk=9000.0,
    )  # fmt: skip
    link = FakeLink(clock, delay=lambda _: inf)
    plan = Plan(16, n, 4, WindowQuantile(0))
    sink = TraceWriter(tmp_path / "trace", {}, action=n, observation=n, pose=n, horizon=16, cameras=2, ticks=100)
    ladder = Ladder(limits, DT, robot.rest().tolist())
    executor = Executor(robot, plan, ladder, link, clock=clock, position=robot.rest, pose=robot.pose, sink=sink)
    assert executor.run(10.0) is Ending.FAULT
    sink.close()
    assert "camera front" in executor.fault
    assert executor.ladder.cause is Cause.STATE_STALE
    ages = read(tmp_path / "trace").ticks["ages"]
    assert ages.shape[1] == 2
    known = ages[~np.isnan(ages).any(1)]
    assert len(known) == pytest.approx(25, abs=1)  # of 0.25 s at 100 Hz
    np.testing.assert_allclose(np.diff(known[:, 0]), DT, atol=1e-6)
    assert known.max() <= 0.25 + 1e-6


def test_a_base_holds_without_going_on_and_keeps_its_joint(time: Time) -> None:
    made = LeRobotRobot(Base(), dt=DT, ranges={"x.vel": (-1, 1)}, clock=time)
    made.connect()
    made.hold()
    assert theirs(made).sent == []
    made.send(np.array([12.0, 0.5]))
    theirs(made).at["lift.pos"] = 11.0  # it sags
    made.stop()
    assert theirs(made).sent[-1] == {"lift.pos": 12.0, "x.vel": 0.0}
    assert made.spec.kinds.moves == (1,)
    theirs(made).at = {"lift.pos": 11.0, "x.vel": 0.2}
    made.observe()
    assert made.rest().tolist() == [11.0, 0.0]


@pytest.mark.parametrize("text", ["pan.pos", "pan.pos=1", "pan.pos=a:b", "pan.pos=1:2:3"])
def test_ranges_in_other_words_are_refused(text: str) -> None:
    assert chosen.ranges_of("a.pos=-90:90,b.pos=0:1.5") == {"a.pos": (-90, 90), "b.pos": (0, 1.5)}
    with pytest.raises(SpecError, match="NAME=LOW:HIGH"):
        chosen.ranges_of(text)


def test_where_lerobot_is_not_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lerobot", None)
    with pytest.raises(SpecError, match="where LeRobot cannot be imported"):
        chosen.robot("so101_follower", {})
