"""From what stands behind ``--robot`` to a robot.

    my_arm:MyArm              the class or function MyArm of my_arm.py (here, or installed), called with the options
    PREFIX:REST               what `PREFIXES` has for the prefix is called with the rest and the options

An option is a NAME=VALUE of ``--robot-option``; values are passed on as text.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import state_of
from segue.core.plugins import imported_module
from segue.core.robot import Resting, Robot, Simulator
from segue.errors import RobotError, SegueError, SpecError

OWN = "for a robot of your own: segue run --robot module:Class RUN (docs/doors/own-robot.md)"
Options = Mapping[str, str]


def _lerobot(kind: str, options: Options) -> Robot:
    from segue.integrations.lerobot import chosen

    return chosen.robot(kind, options)


PREFIXES: dict[str, Callable[[str, Options], Robot]] = {"lerobot": _lerobot}
"""Makers of other libraries' robots, by the word before the colon; each imports its library when it is called."""


def robot_from(name: str, options: Options) -> Robot:
    """Make the robot that a name and its options say.

    Raises:
        SpecError: There is no such class or function, or what it makes is no `segue.core.robot.Robot`.
        RobotError: Making it failed.
    """
    prefix, _, rest = name.partition(":")
    if prefix in PREFIXES:
        return PREFIXES[prefix](rest, options)
    robot = made(name, options)
    lacking = [each for each in ("spec", "observe", "send", "hold", "stop") if not hasattr(robot, each)]
    if lacking:
        raise SpecError(
            f"{name}, a {type(robot).__name__} without {', '.join(lacking)}",
            "a class, or a function without arguments, that makes a robot",
            "add what is missing, see docs/tutorials/write_a_driver.md",
        )
    return robot


def made(name: str, options: Options | None = None) -> Any:
    """What a class or function ``module:name``, of the folder one is in or installed, makes of its options.

    Raises:
        SpecError: There is none.
        RobotError: It failed.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise SpecError(f"{name!r}", "module:Class, such as my_arm:MyArm for the class in my_arm.py", "name both")
    try:
        found = imported_module(module, name)
    except SegueError:
        raise
    except Exception as error:
        raise _failed(name, "imported", error) from error
    if (make := getattr(found, attribute, None)) is None:
        raise SpecError(f"{name}: no {attribute!r} in {module}", "a class or a function", "correct the name")
    try:
        return make(**(options or {}))
    except SegueError:
        raise
    except Exception as error:
        raise _failed(name, "made", error) from error


def position_of(robot: Robot) -> Callable[[], NDArray]:
    """Where a robot is in units of its actions.

    Commands that are at rest at zero are at zero; the others are what it says (`Resting`), its pose if that has as many
    dimensions, or what it observes under the same names.

    Raises:
        SpecError: None of them.
    """
    spec = robot.spec
    size = len(spec.action_names)
    if isinstance(robot, Resting):
        return robot.rest
    if len(spec.kinds.moves) == size:
        return lambda: np.zeros(size)
    if isinstance(robot, Simulator) and len(spec.pose_names) == size:
        return robot.pose
    asked = [index for index in range(size) if index not in spec.kinds.moves]
    if not {spec.action_names[index] for index in asked} <= set(spec.observation_names):
        raise SpecError(
            f"{spec.name}, which does not say where it is in units of its actions",
            "a method `rest`",
            "add it, see segue.core.robot.Resting",
        )
    places = [spec.observation_names.index(spec.action_names[index]) for index in asked]
    spec.kinds.part(asked).check_fits(
        spec.observation_kinds.part(places), [spec.action_names[index] for index in asked],
        does=f"{spec.name}, which takes", as_said="as it observes it: a method `rest` says where it is",
    )  # fmt: skip

    def observed() -> NDArray[np.float64]:
        position = np.zeros(size)
        position[asked] = state_of(robot.observe())[places]
        return position

    return observed


def options_of(words: Sequence[str]) -> dict[str, str]:
    """Options of words such as ``port=/dev/ttyACM0``.

    Raises:
        SpecError: A word is no NAME=VALUE, or a name is said twice.
    """
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name) or name in options:
            raise SpecError(f"--robot-option {word}", "NAME=VALUE, each name once", "such as port=/dev/ttyACM0")
        options[name] = value
    return options


def _failed(name: str, what: str, error: Exception) -> RobotError:
    """The error of somebody's code, with the line that it comes from."""
    last = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<")][-1]
    return RobotError(
        f"{name} could not be {what} ({type(error).__name__}: {error}; {Path(last.filename).name}, line {last.lineno})",
        "a robot that is switched on, connected, and made without arguments",
        f"check cable, port and power, then: python -c 'import {name.partition(':')[0]} as m; "
        f"m.{name.partition(':')[2]}()'",
    )
