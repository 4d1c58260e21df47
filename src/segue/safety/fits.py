"""Checks that a policy, a robot and its limits mean the same numbers, whatever way the robot is driven."""

from typing import Any

from segue.core.spec import PolicySpec, check_names
from segue.errors import SpecError
from segue.safety.limits import JointLimits


def check_limits(limits: JointLimits, actions: int, robot: Any) -> None:
    """Raise `SpecError` unless limits fit a plan of so many actions, and a robot that has a ``spec``."""
    names = limits.names
    if actions != len(names):
        raise SpecError(f"a plan of {actions} actions", f"{len(names)}, as the limits", "plan for every joint")
    if (spec := getattr(robot, "spec", None)) is not None:
        change = "give the limits in the order of the robot's action names"
        check_names("joint", names, spec.action_names, "limits", spec.name, change)
        spec.kinds.check_fits(limits.declared, names, does=f"{spec.name}, which takes", as_said="as its limits")


def check_policy(policy: PolicySpec, limits: JointLimits, dt: float, horizon: int, robot: Any) -> None:
    """Raise `SpecError` unless a policy was made for these limits, dt [s], horizon, and a robot that has a ``spec``."""
    if policy.horizon != horizon:
        raise SpecError(f"a policy with chunks of {policy.horizon}", f"{horizon}, as the plan", "plan for its horizon")
    change = "run the policy of this robot, or name joints and limits in its order"
    check_names("action", policy.action_names, limits.names, "a policy", "the ladder's limits", change)
    policy.action_kinds.check_fits(limits.declared, limits.names, as_said="as the ladder's limits")
    meant = "run at the policy's rate; on purpose: Executor(policy_dt=the policy's period)"
    policy.check_period(dt, "the control loop", meant)
    if (spec := getattr(robot, "spec", None)) is not None:
        policy.check_dimensions(spec, change)
