"""The physical quantities that the actions of each task command."""

import numpy as np

from segue.core.robot import RobotSpec, Simulator
from segue.lab.rates.open_loop import Group
from segue.lab.tasks.adroit_door import AdroitDoor
from segue.lab.tasks.metaworld import STEP, MetaWorld


def groups(simulator: Simulator) -> tuple[Group, ...]:
    """Groups of action dimensions, the one that says most about the motion first.

    A robot that is not known here has one group, the motion in its own units.
    """
    if isinstance(simulator, AdroitDoor):
        slide, *joints = simulator.half_range
        degrees = tuple(float(value) for value in np.rad2deg(joints))
        fingers = 1 + sum(name.startswith(("AR", "WR")) for name in simulator.spec.action_names[1:])
        return (
            Group("arm slide", (0,), "mm", scale=1000 * float(slide)),
            Group("arm and wrist", tuple(range(1, fingers)), "deg", scale=degrees[: fingers - 1]),
            Group("fingers", tuple(range(fingers, 1 + len(joints))), "deg", scale=degrees[fingers - 1 :]),
        )
    if isinstance(simulator, MetaWorld):
        return (Group("tool", (0, 1, 2), "mm", "displacement", scale=1000 * STEP), Group("gripper", (3,), "effort"))
    names = simulator.spec.action_names
    if names[:3] == ("target x", "target y", "target z") and simulator.spec.command == "position":
        position = Group("tool", (0, 1, 2), "mm", scale=1000)
        tilt = tuple(range(3, len(names)))
        return (position, Group("tilt", tilt, "rad", "angle")) if tilt else (position,)
    return _by_kind(simulator.spec)


def _by_kind(spec: RobotSpec) -> tuple[Group, ...]:
    """The motion in robot units, a group for each kind; angles in radians."""
    kinds = spec.kinds.each(len(spec.action_names))
    found = dict.fromkeys(kinds[index] for index in spec.motion)
    return tuple(
        Group(
            "motion" if len(found) == 1 else f"motion, {kind}",
            tuple(index for index in spec.motion if kinds[index] == kind),
            "rad" if kind.period else "robot units",
            kind.name,
            scale=2 * np.pi / kind.period if kind.period else 1.0,
        )
        for kind in found
    )
