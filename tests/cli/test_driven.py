"""Whom a run drives: where it stands, what is said of it, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fakes.point_mass import SPEC, PointMass
from segue.cli import robots
from segue.cli.driven import Driven, check_whom, driven
from segue.cli.robots import position_of
from segue.core.dimensions import Dimensions
from segue.core.robot import RobotSpec
from segue.errors import SpecError


class Arm:
    """A robot that is no simulator: two joints and a wheel, which is observed in another order."""

    spec = RobotSpec(
        "an arm / left", 0.02, ("elbow", "battery", "shoulder"), ("shoulder", "wheel", "elbow"),
        np.full(3, -2, np.float32), np.full(3, 2, np.float32), "position", ("shoulder [rad]",),
        action_kinds=Dimensions.of("linear:rad", "velocity", "linear:rad"),
    )  # fmt: skip
    stopped = 0

    def observe(self) -> np.ndarray:
        return np.array([0.5, 12.0, -0.25], np.float32)

    def send(self, action: np.ndarray) -> None: ...

    def hold(self) -> None: ...

    def stop(self) -> None:
        self.stopped += 1


def changed(**changes: Any) -> Arm:
    arm = Arm()
    arm.spec = replace(Arm.spec, **changes)
    return arm


def test_a_robot_stands_where_it_observes_what_it_commands_and_what_moves_it_is_zero() -> None:
    assert position_of(Arm())().tolist() == [-0.25, 0, 0.5]


def test_units_that_are_said_on_both_sides_have_to_agree() -> None:
    """A ladder that began at 30 rad for a joint at 30 degrees would begin with a jump."""
    with pytest.raises(SpecError, match="rest"):
        position_of(changed(observation_kinds=Dimensions.of("linear:deg", "linear", "linear:rad")))
    agreed = changed(observation_kinds=Dimensions.of("linear:rad", "linear", "linear:rad"))
    assert position_of(agreed)().tolist() == [-0.25, 0, 0.5]


def test_a_robot_that_does_not_say_where_it_is_is_asked_to() -> None:
    arm = changed(observation_names=("elbow", "battery", "hip"))
    with pytest.raises(SpecError, match="a method `rest`"):
        position_of(arm)
    vars(arm)["rest"] = lambda: np.ones(3)
    assert position_of(arm)().tolist() == [1, 1, 1]


def test_a_robot_of_ones_own_has_no_task_and_a_simulator_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = Arm()
    monkeypatch.setitem(robots.PREFIXES, "mine", lambda rest, options: arm)
    whom = driven(None, "mine:left", {})
    assert whom.robot is arm
    assert (whom.simulator, whom.pose, whom.folder) == (None, None, "an-arm-left")
    assert whom.execution_horizon(30) == 8
    assert whom.header()["robot"]["scale"] is None
    whom.release()
    assert arm.stopped == 1
    simulated = driven("push-t", None, {})
    assert simulated.simulator is simulated.robot
    assert simulated.folder == "push-t"


def test_a_simulator_of_ones_own_is_driven_as_a_robot() -> None:
    whom = Driven(PointMass(SPEC))
    assert whom.simulator is None
    assert whom.pose is not None


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (("so101", "runs/x", None), "unknown task 'so101'"),
        ((None, None, None), "neither"),
        (("push-t", "runs/x", "my_arm:MyArm"), "a task, push-t, and a robot, my_arm:MyArm"),
    ],
)
def test_what_names_no_robot_says_how_to_drive_ones_own(given: tuple[Any, Any, Any], got: str) -> None:
    with pytest.raises(SpecError, match=got) as refused:
        check_whom(*given)
    assert "segue run --robot module:Class RUN" in refused.value.change
    check_whom("push-t", None, None)
    check_whom("runs/x", None, "my_arm:MyArm")
