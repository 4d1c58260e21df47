"""Policy, limits and robot are compared whatever way a robot is driven."""

from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pytest

from fakes import point_mass
from fakes.clock_robot_link import DT, HORIZON, LIMITS, NAMES, Cell, FakeClock, FakeLink, S, cell
from segue.core.dimensions import Dimensions
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.links.link import LinkState
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan
from segue.runtime.executor import Executor
from segue.runtime.run import Ending, Tolerance
from segue.safety.ladder import Ladder
from segue.safety.limits import JointLimits

SPEC = PolicySpec(HORIZON, DT, ("a", "b", "c"), NAMES)


def around(made: Cell, limits: JointLimits = LIMITS, dt: float = DT, actions: int = 2, **settings: Any) -> Executor:
    return Executor(
        made.robot, Plan(HORIZON, actions, S, WindowQuantile(3)), Ladder(limits, dt, [0.0] * len(limits.names)),
        made.link, clock=made.clock, position=made.robot.position, tolerance=Tolerance(stall=None), **settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"action_names": NAMES[::-1]}, "'elbow' as action 0"),
        ({"action_names": ("shoulder", "elbow.pos")}, "'elbow.pos' as action 1"),
        ({"action_names": (*NAMES, "wrist")}, "3 actions"),
        ({"dt": 0.02}, "50 Hz"),
        ({"horizon": 32}, "chunks of 32"),
    ],
)
def test_fault_8_a_policy_of_another_robot_is_refused_before_anything_moves(
    changes: dict[str, Any], named: str
) -> None:
    made = cell()
    made.link.spec = SPEC
    around(made)
    made.link.spec = replace(SPEC, **changes)
    with pytest.raises(SpecError, match=named):
        around(made)
    assert made.robot.calls == {"observe": 0, "send": 0}


def test_another_rate_has_to_be_meant() -> None:
    made = cell()
    made.link.spec = replace(SPEC, dt=0.02)
    assert around(made, policy_dt=0.02).run(seconds=0.1) is Ending.TIME
    with pytest.raises(SpecError, match="50 Hz"):
        around(made, policy_dt=0.05)


def test_limits_of_another_order_or_number_are_refused() -> None:
    turned = JointLimits.uniform(NAMES[::-1], (-2, -2), (2, 2), unit="rad", velocity=4, acceleration=80, jerk=8000)
    made = cell()
    made.link.spec = SPEC
    with pytest.raises(SpecError, match="'shoulder' as action 0"):
        around(made, turned)
    with pytest.raises(SpecError, match="a plan of 3 actions"):
        around(made, actions=3)


@pytest.mark.parametrize(
    ("policy", "limits", "named"),
    [
        (("angle", "linear"), ("linear", "linear"), "'{}' as angle"),
        (("velocity", "linear"), ("displacement", "linear"), "'{}' as velocity"),
        (("angle:deg", "linear"), ("angle", "linear"), "'{}' as angle:360"),
        (("linear:deg", "linear"), ("linear", "linear"), "'{}' as linear:deg"),
        (("linear:deg", "linear"), ("angle", "linear"), "'{}' as linear:deg"),
        (("linear", "linear"), ("angle", "velocity"), ""),
        (("linear:rad", "gripper"), ("linear", "linear"), ""),
        (("angle", "velocity:rad/s"), ("angle", "velocity"), ""),
    ],
)
def test_a_policy_of_another_kind_or_unit_is_refused(
    policy: tuple[str, ...], limits: tuple[str, ...], named: str
) -> None:
    """In degrees, a policy is never clamped by limits in radians."""
    made = cell()
    made.link.spec = replace(SPEC, action_kinds=Dimensions.of(*policy))
    kinds = Dimensions.of(*limits)
    angle, moves = (
        [np.pi if each == "angle" else 2.0 for each in limits],
        [-2.0 if each != "angle" else -np.pi for each in limits],
    )
    bounds = JointLimits.uniform(NAMES, moves, angle, unit="rad", velocity=4, acceleration=80, jerk=8000, kinds=kinds)
    if named:
        with pytest.raises(SpecError, match=named.format(NAMES[0])):
            around(made, bounds)
    else:
        around(made, bounds)


def test_limits_are_of_the_kinds_and_units_of_the_robot() -> None:
    made = cell()
    made.link.spec = SPEC
    robot: Any = made.robot
    spec = replace(point_mass.SPEC, action_names=NAMES, action_kinds=Dimensions.of("linear:deg", "velocity"))
    robot.spec = replace(spec, observation_names=SPEC.observation_names, name="a cart")
    with pytest.raises(SpecError, match="a cart, which takes 'shoulder' as linear:deg"):
        around(made, LIMITS)
    degrees = replace(LIMITS, units=("deg", "1"))
    with pytest.raises(SpecError, match="a cart, which takes 'elbow' as velocity"):
        around(made, degrees)
    around(made, replace(degrees, kinds=robot.spec.kinds))
    made.link.spec = replace(SPEC, observation_kinds=Dimensions.of("linear:mm", "linear", "linear"))
    robot.spec = replace(robot.spec, observation_kinds=Dimensions.of("linear:m", "linear", "linear"))
    with pytest.raises(SpecError, match="sees 'a' as linear:mm"):
        around(made, replace(degrees, kinds=robot.spec.kinds))


@pytest.mark.parametrize(("unit", "kind"), [("deg", "angle"), ("rad", "angle:deg"), ("rad", "linear:deg")])
def test_limits_are_in_the_unit_of_what_they_limit(unit: Any, kind: str) -> None:
    with pytest.raises(SpecError, match=f"in '{unit}', and its kind is"):
        JointLimits(("a",), (unit,), (-np.pi,), (np.pi,), (1.0,), (10.0,), (100.0,), Dimensions.of(kind))


def test_a_policy_that_is_still_being_started_is_looked_at_when_it_is_there() -> None:
    """The loop is under way by then: no exception, but no motion either, and a reason."""
    made = cell()
    made.link.state = LinkState.STARTING

    def ready() -> None:
        made.link.spec = replace(SPEC, action_names=NAMES[::-1])
        made.link.back()

    assert made.executor.run(seconds=5.0, done=made.after(20, ready)) is Ending.FAULT
    assert "'elbow' as action 0" in made.executor.fault
    assert not made.commands.any()
    assert made.link.requests == []


def test_the_number_of_observations_is_the_policys() -> None:
    made = cell()
    made.link.spec = replace(SPEC, observation_names=("a", "b"))
    executor = around(made)
    assert executor.run(seconds=5.0) is Ending.FAULT
    assert made.link.requests == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"observation_names": ("x", "y", "goal y", "goal x")}, "'goal y' as observation 2"),
        ({"cameras": {"front": (3, 5)}}, "front"),
        ({"action_names": ("target y", "target x")}, "'target y' as joint 0"),
    ],
)
def test_a_robot_that_says_what_it_is_is_compared_too(changes: dict[str, Any], named: str) -> None:
    """Limits are named as the policy's actions, so that only the robot can tell."""
    ours = point_mass.SPEC
    policy = PolicySpec(HORIZON, ours.dt, ours.observation_names, ours.action_names)
    clock, robot = FakeClock(), point_mass.PointMass()

    def made(policy: PolicySpec) -> Executor:
        limits = JointLimits.uniform(
            policy.action_names, (-1, -1), (1, 1), unit="m", velocity=9.0, acceleration=99.0, jerk=999.0
        )
        return Executor(
            robot, Plan(HORIZON, 2, S, WindowQuantile(1)), Ladder(limits, ours.dt, [0.0, 0.0]),
            FakeLink(clock, spec=policy), clock=clock, position=lambda: np.zeros(2),
        )  # fmt: skip

    made(policy)
    with pytest.raises(SpecError, match=named):
        made(replace(policy, **changes))


@pytest.mark.parametrize("changes", [{"dt": nan}, {"dt": 0.0}, {"dt": float("inf")}, {"dt": -0.1}, {"horizon": 0}])
def test_a_policy_says_of_itself_only_what_can_be(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        replace(SPEC, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"failures": 0}, {"failures": 2.5}, {"state_age": nan}, {"hold": nan}, {"hold": -1.0}, {"stall": nan},
        {"stall": 0.0}, {"standstill": nan},
    ],
)  # fmt: skip
def test_a_tolerance_that_would_switch_a_check_off_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Tolerance(**changes)


@pytest.mark.parametrize("seconds", [nan, -1.0])
def test_a_run_without_an_end_that_was_not_meant_is_refused(seconds: float) -> None:
    made = cell()
    with pytest.raises(SpecError, match="seconds"):
        made.executor.run(seconds=seconds)
    assert made.robot.sent == []
