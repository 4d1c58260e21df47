"""The conformance check finds what it is for."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from segue.core.robot import Outcome, RobotSpec, check_robot
from segue.errors import SpecError


class Line:
    """A one-joint simulator without faults; the drivers below each add one."""

    def __init__(self) -> None:
        self.spec = RobotSpec(
            "line",
            0.1,
            ("x", "target"),
            ("target",),
            np.array([-1], np.float32),
            np.array([1], np.float32),
            "position",
            ("x [m]",),
        )
        self.reset(0)

    def reset(self, seed: int) -> None:
        self.x = self.target = float(np.random.default_rng(seed).uniform(-0.5, 0.5))

    def observe(self) -> NDArray[np.float32]:
        return np.array([self.x, self.target], np.float32)

    def send(self, action: NDArray) -> None:
        self.target = float(self.spec.clip(action)[0])
        self.x += 0.5 * (self.target - self.x)

    def hold(self) -> None:
        self.send(np.array([self.target]))

    def stop(self) -> None:
        pass

    def pose(self) -> NDArray[np.float64]:
        return np.array([self.x])

    def outcome(self) -> Outcome:
        return Outcome(False, 0.0, False)

    def frame(self) -> NDArray[np.uint8]:
        return np.zeros((2, 2, 3), np.uint8)


class ForgetsSeed(Line):
    def reset(self, seed: int) -> None:
        self.x = self.target = getattr(self, "x", 0.0) + 0.1


class NeverClips(Line):
    def send(self, action: NDArray) -> None:
        self.target = float(action[0])
        self.x += 0.5 * (self.target - self.x)


class HoldsAtZero(Line):
    def hold(self) -> None:
        self.send(np.zeros(1))


class WrongSize(Line):
    def observe(self) -> NDArray[np.float32]:
        return np.zeros(3, np.float32)


class DoublePrecision(Line):
    def observe(self) -> NDArray:
        return np.zeros(2)


class DeadSensor(Line):
    def observe(self) -> NDArray[np.float32]:
        return np.array([0, np.nan], np.float32)


class TwoPoses(Line):
    def pose(self) -> NDArray[np.float64]:
        return np.zeros(2)


class BeyondFull(Line):
    def outcome(self) -> Outcome:
        return Outcome(False, 1.5, False)


def test_a_correct_robot_passes():
    check_robot(Line())


def test_a_simulator_is_played_in_the_middle_half_way_up_at_its_limit_and_one_range_beyond() -> None:
    """With limits that are not symmetric: a real range would be left by any other middle."""
    played: list[float] = []

    class Recorded(Line):
        def send(self, action: NDArray) -> None:
            played.append(float(action[0]))
            super().send(action)

        def hold(self) -> None:
            super().send(np.array([self.target]))

    robot = Recorded()
    robot.spec = replace(robot.spec, action_low=np.array([1], np.float32), action_high=np.array([3], np.float32))
    check_robot(robot)
    assert set(played) == {2.0, 2.5, 3.0, 5.0}


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        (ForgetsSeed, r"reset\(0\) twice"),
        (NeverClips, "beyond the upper limits"),
        (HoldsAtZero, r"hold\(\) after an action"),
        (WrongSize, r"observation of shape \(3,\)"),
        (DoublePrecision, "float64"),
        (DeadSensor, "'target' is not finite"),
        (TwoPoses, "pose"),
        (BeyondFull, "score 1.5"),
    ],
)
def test_check_robot_names_the_fault(robot: type[Line], message: str):
    with pytest.raises(SpecError, match=message):
        check_robot(robot())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt": 0.0}, "dt = 0.0"),
        ({"action_names": ("a", "a")}, "action names"),
        ({"pose_names": ()}, "pose names"),
        ({"action_low": np.zeros(2, np.float32)}, "limits of shape"),
        ({"action_low": np.array([2], np.float32)}, "of action 'target'"),
        ({"action_high": np.array([np.inf], np.float32)}, "of action 'target'"),
        ({"command": "torque"}, "command 'torque'"),
    ],
)
def test_a_spec_that_contradicts_itself(change: dict, message: str):
    with pytest.raises(SpecError, match=message):
        replace(Line().spec, **change)
