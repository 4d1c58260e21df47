"""Demonstrations for the robot of these tests, and how a program of LeRobot is run."""

from collections.abc import Callable
from dataclasses import replace

from fakes.point_mass import demonstrations
from segue.data.episodes import Episodes

Run = Callable[..., str]
"""A program of LeRobot and its arguments -> what it said."""


def reaching() -> Episodes:
    """Straight ways to a goal, named as the robot names them."""
    joints = ("x.pos", "y.pos")
    made = demonstrations(lengths=(40,) * 20)
    return replace(made, action_names=joints, observation_names=(*joints, "goal x.pos", "goal y.pos"))
