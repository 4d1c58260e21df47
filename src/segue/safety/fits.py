"""Whether a policy, a robot and its limits speak of the same numbers: names in their order, period, cameras.

Whatever way a robot is driven, two lists of joints that differ in their order are the same numbers in other places: no
other check would notice.
"""

from collections.abc import Sequence
from typing import Any

from segue.core.chunk import PolicySpec
from segue.core.observation import Cameras
from segue.errors import SpecError
from segue.safety.limits import JointLimits

_SAME_PERIOD = 1e-6  # [s]


def check_names(kind: str, theirs: Sequence[str], ours: Sequence[str], of: str, whose: str, change: str) -> None:
    """Raise `SpecError` unless both name the same dimensions in the same order.

    Args:
        kind: Of dimension, in one word.
        theirs: Names that are compared.
        ours: What they should be.
        of: Who has the first.
        whose: Who has the second.
        change: What to do.
    """
    if tuple(theirs) == tuple(ours):
        return
    at = next((i for i, pair in enumerate(zip(theirs, ours, strict=False)) if pair[0] != pair[1]), None)
    got = f"{len(theirs)} {kind}s" if at is None else f"{theirs[at]!r} as {kind} {at}"
    expected = f"{len(ours)}" if at is None else f"{ours[at]!r}"
    raise SpecError(f"{of} with {got}", f"{expected}, as {whose} has it", change)


def check_period(dt: float, ours: float, whose: str, change: str) -> None:
    """Raise `SpecError` unless a policy is for this control period [s]."""
    if not abs(dt - ours) <= _SAME_PERIOD:  # so written, what is no number does not fit
        raise SpecError(f"a policy for {1 / dt:g} Hz", f"{1 / ours:g} Hz, as {whose}", change)


def check_cameras(theirs: Cameras, ours: Cameras, whose: str, change: str) -> None:
    """Raise `SpecError` unless a policy sees what these cameras give."""
    if theirs != ours:
        said, has = (", ".join(map(str, each.items())) or "none" for each in (theirs, ours))
        raise SpecError(f"a policy of the cameras {said}", f"{has}, as {whose}", change)


def check_kinds(policy: PolicySpec, spec: Any) -> None:
    """Raise `SpecError` unless a policy sees and commands dimensions as this robot has them, units included."""
    policy.action_kinds.check_fits(spec.kinds, spec.action_names)
    policy.observation_kinds.check_fits(
        spec.observation_kinds, spec.observation_names, does="a policy that sees", as_said="as the robot measures it"
    )


def check_limits(limits: JointLimits, actions: int, robot: Any) -> None:
    """Raise `SpecError` if limits are not those of a plan or a robot.

    Args:
        limits: Of the joints.
        actions: Action dimensions of the plan.
        robot: Says what it is, or does not (``spec``, as `segue.core.robot.Robot`).
    """
    names = limits.names
    if actions != len(names):
        raise SpecError(f"a plan of {actions} actions", f"{len(names)}, as the limits", "plan for every joint")
    if (spec := getattr(robot, "spec", None)) is not None:
        change = "give the limits in the order of the robot's action names"
        check_names("joint", names, spec.action_names, "limits", spec.name, change)
        spec.kinds.check_fits(limits.declared, names, does=f"{spec.name}, which takes", as_said="as its limits")


def check_policy(policy: PolicySpec, limits: JointLimits, dt: float, horizon: int, robot: Any) -> None:
    """Raise `SpecError` unless a policy was made for what it is to drive.

    Args:
        policy: What it says of itself.
        limits: Of the joints.
        dt: Control period that it is to have been made for [s].
        horizon: H of the plan.
        robot: Is asked for its observations and cameras, where it says them (``spec``).
    """
    if policy.horizon != horizon:
        raise SpecError(f"a policy with chunks of {policy.horizon}", f"{horizon}, as the plan", "plan for its horizon")
    change = "run the policy of this robot, or name joints and limits in its order"
    check_names("action", policy.action_names, limits.names, "a policy", "the ladder's limits", change)
    policy.action_kinds.check_fits(limits.declared, limits.names, as_said="as the ladder's limits")
    check_period(
        policy.dt,
        dt,
        "the control loop",
        "run at the policy's rate; on purpose: Executor(policy_dt=the policy's period)",
    )
    if (spec := getattr(robot, "spec", None)) is not None:
        check_names("observation", policy.observation_names, spec.observation_names, "a policy", spec.name, change)
        check_kinds(policy, spec)
        check_cameras(policy.cameras, spec.cameras, spec.name, change)
