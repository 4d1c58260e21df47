"""Limits of joints out of a file: a table of one's own (TOML), or the description of the robot (URDF, MJCF).

    unit = "rad"                        of every joint below that says no other
    [joints.shoulder]
    position = [-1.5, 1.5]              each may be left out
    velocity = 1.0
    acceleration = 10.0
    jerk = 200.0

A description has ranges of position in rad, degrees or metres, a URDF also velocities. Joints are matched by name, and
its numbers are taken only for a robot that says the unit of its own: radians in the place of degrees would be no error
that anybody sees. What it has no word of stays as the robot and the command line say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isnan, pi
from pathlib import Path
from typing import Final, get_args
from xml.etree import ElementTree

import msgspec

from segue.core.dimensions import Kind
from segue.core.robot import RobotSpec
from segue.errors import SpecError
from segue.safety.limits import UNLIMITED, JointLimits, Unit

_LARGEST: Final = 1 << 23  # bytes
_ANGULAR, _LONG = {"rad": pi, "deg": 180.0}, {"m": 1.0, "mm": 1000.0}
_MOTION = ("velocity", "acceleration", "jerk")


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of a joint, in its unit; what it does not say is infinite.

    Attributes:
        position: Lowest and highest.
        velocity: Largest, per second.
        acceleration: Largest, per second squared.
        jerk: Largest, per second cubed.
        unit: Of position; empty: the robot's own.
    """

    position: tuple[float, float] = (-inf, inf)
    velocity: float = UNLIMITED
    acceleration: float = UNLIMITED
    jerk: float = UNLIMITED
    unit: str = ""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    joints: dict[str, Declared]
    unit: str = ""


@dataclass(frozen=True)
class LimitsFile:
    """Limits of some joints.

    Attributes:
        name: Of the file, for messages.
        joints: By name.
        describes: Whether it is a description of a robot, which may have joints that are not commanded.

    Raises:
        SpecError: A range that is empty or no number.
    """

    name: str
    joints: Mapping[str, Declared]
    describes: bool = False

    def __post_init__(self) -> None:
        for joint, said in self.joints.items():
            low, high = said.position
            if not low < high or any(isnan(getattr(said, each)) for each in _MOTION):
                raise SpecError(
                    f"{self.name}: joint {joint!r} with position [{low}, {high}]",
                    "lower < upper, and numbers",
                    "correct the file",
                )

    def of(self, spec: RobotSpec) -> dict[str, Declared]:
        """What is said of each of a robot's commands, in units of its commands.

        Raises:
            SpecError: Another unit than the robot's, a unit where the robot says none, or joints that it does not have.
        """
        found, used = {}, set()
        for name, kind in zip(spec.action_names, spec.kinds.each(len(spec.action_names)), strict=True):
            joint = name if name in self.joints else name.rpartition(".")[0]  # LeRobot says elbow.pos
            if joint in self.joints:
                found[name] = self._converted(spec, name, kind, self.joints[joint])
                used.add(joint)
        if not found or (not self.describes and used != self.joints.keys()):
            theirs = ", ".join(sorted(set(self.joints) - used)[:8]) or "none"
            raise SpecError(
                f"{self.name} with limits of the joints {theirs}",
                f"joints of {spec.name}: {', '.join(spec.action_names)}",
                "give them the names of the robot's actions",
            )
        return found

    def _converted(self, spec: RobotSpec, name: str, kind: Kind, said: Declared) -> Declared:
        theirs = said.unit or ("" if self.describes else kind.measure)
        if kind.measure == "" and self.describes:
            raise SpecError(
                f"limits of {name!r} in {theirs} from {self.name}, and {spec.name} does not say the unit of its own",
                "the unit of each action, such as action_kinds=Dimensions.of('linear:rad', 'linear:deg')",
                "add it to the robot's spec, or write the limits into a TOML file (docs/doors/own-robot.md)",
            )
        unit = kind.measure or theirs
        scales = _ANGULAR if unit in _ANGULAR else _LONG
        if theirs != unit and not (theirs in scales and unit in scales):
            raise SpecError(
                f"{self.name}: limits of {name!r} in {theirs}", f"{unit}, as {spec.name} says", "convert the limits"
            )
        by = 1.0 if theirs == unit else scales[unit] / scales[theirs]
        low, high = said.position
        ranges = kind.name in ("linear", "gripper")
        if not (ranges or self.describes or said.position == (-inf, inf)):
            raise SpecError(
                f"{self.name}: a position of {name!r}, which is a {kind.name}",
                "none: its range is the robot's own",
                "leave it out",
            )
        position = (low * by, high * by) if ranges else (-inf, inf)
        return Declared(position, said.velocity * by, said.acceleration * by, said.jerk * by, unit)


def limits_for(
    spec: RobotSpec, file: LimitsFile | None, velocity: float, acceleration: float, jerk: float
) -> JointLimits:
    """Limits of a robot: of its own range, what a file says, and what is given for all, the narrowest of each.

    Args:
        spec: Of the robot.
        file: Of limits, if there is one.
        velocity: Of every joint [unit/s].
        acceleration: Of every joint [unit/s^2].
        jerk: Of every joint [unit/s^3].

    Raises:
        SpecError: See `LimitsFile.of` and `JointLimits`.
    """
    said = {} if file is None else file.of(spec)
    each = [said.get(name, Declared()) for name in spec.action_names]
    known: tuple[Unit, ...] = get_args(Unit)
    return JointLimits(
        names=spec.action_names,
        units=tuple(known[known.index(one.unit)] if one.unit in known else "1" for one in each),
        low=tuple(max(float(low), one.position[0]) for low, one in zip(spec.action_low, each, strict=True)),
        high=tuple(min(float(high), one.position[1]) for high, one in zip(spec.action_high, each, strict=True)),
        velocity=tuple(min(velocity, one.velocity) for one in each),
        acceleration=tuple(min(acceleration, one.acceleration) for one in each),
        jerk=tuple(min(jerk, one.jerk) for one in each),
        kinds=spec.kinds,
    )


def unlimited(limits: JointLimits) -> list[str]:
    """In a line for each of velocity, acceleration and jerk, which joints have no limit of it."""
    lines = []
    for name in _MOTION:
        free = [joint for joint, value in zip(limits.names, getattr(limits, name), strict=True) if value == UNLIMITED]
        if free:
            which = "every joint" if len(free) == len(limits.names) else ", ".join(free)
            lines.append(f"no limit of {name} for {which}: --{name}, or a file of --limits")
    return lines


def read_limits(path: Path) -> LimitsFile:
    """Read a file of limits; what it is, its first element or its ending says.

    Raises:
        SpecError: It is not there, too large, or none of these; or it defines entities, which a description of a robot
            does not need.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {error}", "a file of limits: TOML, URDF or MJCF, in UTF-8", "correct it") from error
    if len(content) > _LARGEST:
        raise SpecError(f"{path}, larger than {_LARGEST} bytes", "a file of limits", "leave meshes and pictures out")
    if path.suffix.lower() != ".toml":
        return LimitsFile(path.name, dict(_described(path, text)), describes=True)
    try:
        table = msgspec.toml.decode(text, type=_Table)
    except ImportError as error:
        raise SpecError(f"{path}: {error}", "the package tomli, before Python 3.11", "pip install tomli") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise SpecError(
            f"{path}: {error}",
            "[joints.NAME] with position = [low, high], velocity, acceleration, jerk, unit",
            "correct it, see docs/doors/own-robot.md",
        ) from error
    joints = table.joints.items()
    return LimitsFile(
        path.name, {name: msgspec.structs.replace(one, unit=one.unit or table.unit) for name, one in joints}
    )


def _described(path: Path, text: str) -> Iterator[tuple[str, Declared]]:
    """Joints of a URDF or an MJCF."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # what is meant to grow when it is read
        raise SpecError(f"{path} with a document type or entities", "plain URDF or MJCF", "take them out")
    try:
        root = ElementTree.fromstring(text)
        if root.tag not in ("robot", "mujoco"):
            raise ValueError(f"<{root.tag}> is neither <robot> (URDF) nor <mujoco> (MJCF)")
        yield from (_urdf if root.tag == "robot" else _mjcf)(root)
    except (ElementTree.ParseError, ValueError) as error:
        raise SpecError(
            f"{path}: {error}", "a URDF or MJCF with plain numbers", "expand it first where it is made by xacro"
        ) from error


def _urdf(root: ElementTree.Element) -> Iterator[tuple[str, Declared]]:
    for joint in root.iter("joint"):
        kind, limit = joint.get("type"), joint.find("limit")
        if kind not in ("revolute", "prismatic", "continuous"):
            continue
        said = {} if limit is None else {name: float(limit.get(name, 0)) for name in ("lower", "upper", "velocity")}
        position = (said.get("lower", 0.0), said.get("upper", 0.0))
        if kind == "continuous" or position == (0, 0):  # zeros are what exporters write where nobody has said anything
            position = (-inf, inf)
        unit = "m" if kind == "prismatic" else "rad"
        yield joint.get("name", ""), Declared(position, said.get("velocity", 0.0) or UNLIMITED, unit=unit)


def _mjcf(root: ElementTree.Element) -> Iterator[tuple[str, Declared]]:
    """Joints with the attributes of their classes; an outer class holds where the inner one says nothing."""
    settings = {name: value for each in root.iter("compiler") for name, value in each.attrib.items()}
    angular = "rad" if settings.get("angle") == "radian" else "deg"
    of_class: dict[str, dict[str, str]] = {}
    tops = [(each, "main", dict[str, str]()) for each in root.findall("default")]
    while tops:
        default, outer, inherited = tops.pop()
        own = inherited | {key: value for each in default.findall("joint") for key, value in each.attrib.items()}
        name = default.get("class", outer)
        of_class[name] = of_class.get(name, {}) | own
        tops += [(each, "", own) for each in default.findall("default")]
    places = [(each, "main") for each in root.findall("worldbody")]
    while places:
        place, usual = places.pop()
        usual = place.get("childclass", usual)
        places += [(each, usual) for each in place if each.tag in ("body", "frame")]
        for joint in place.findall("joint"):
            said = of_class.get(joint.get("class", usual), {}) | joint.attrib
            kind, limited = said.get("type", "hinge"), said.get("limited", "auto")
            if kind not in ("hinge", "slide") or "name" not in said:
                continue
            wanted = limited == "true" or (limited == "auto" and settings.get("autolimits") != "false")
            low, high = map(float, said.get("range", "0 0").split())
            position = (low, high) if wanted and (low, high) != (0, 0) else (-inf, inf)
            yield said["name"], Declared(position, unit=angular if kind == "hinge" else "m")
