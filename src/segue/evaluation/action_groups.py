"""The physical quantities that the actions of each task command."""

import numpy as np

from segue.envs.adroit_door import AdroitDoor
from segue.envs.metaworld import STEP, MetaWorld
from segue.envs.robot import Simulator
from segue.evaluation.open_loop import Group


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
        return (Group("tool", (0, 1, 2), "mm", scale=1000 * STEP, summed=True), Group("gripper", (3,), "effort"))
    names = simulator.spec.action_names
    if names[:3] == ("target x", "target y", "target z") and simulator.spec.command == "position":
        position = Group("tool", (0, 1, 2), "mm", scale=1000)
        tilt = tuple(range(3, len(names)))
        return (position, Group("tilt", tilt, "rad", "angle")) if tilt else (position,)
    return (Group("motion", simulator.spec.motion, "robot units", summed=simulator.spec.command == "velocity"),)
