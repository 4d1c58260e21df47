"""Limits of every joint of a robot: position, velocity, acceleration and jerk, in SI units.

    limits = JointLimits.uniform(names, low, high, unit="rad", velocity=2.0, acceleration=10.0, jerk=200.0)

Velocity, acceleration and jerk may be `UNLIMITED`, but somebody has to say so. Units are given so that mistakes are
found which can be found: a joint with a range of 180 "radians" was written down in degrees. A range of 10 degrees
that is passed as 10 radians cannot be told from an honest one.

A joint without end stops is an angle (`segue.core.dimensions`): its commands count on from turn to turn where its range
is `UNLIMITED`, and stay in its range where that is one period, such as -pi to pi.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isclose, isfinite, isnan, pi
from typing import Literal, get_args

from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError

UNLIMITED = inf
Unit = Literal["rad", "deg", "m", "1"]

# Beyond these a value was most likely given in degrees, or in millimetres: (unit meant, range, velocity). A joint of
# several turns is an honest one: its range may be eight of them to either side.
_PLAUSIBLE: dict[str, tuple[str, float, float]] = {"rad": ("degrees", 16 * pi, 100.0), "m": ("millimetres", 50.0, 50.0)}


@dataclass(frozen=True)
class JointLimits:
    """Limits of a robot's commands, one value per action dimension.

    Attributes:
        names: Names of the dimensions, as in the robot's specification and in its order.
        units: Unit of a command: "rad", "deg", "m", or "1" for none, as of a gripper opening or a normalised command.
        low: Lowest command [unit]; of a binary dimension, the lower one of its two values.
        high: Highest command [unit]; of a binary dimension, the higher one of its two values.
        velocity: Largest speed [unit/s].
        acceleration: Largest acceleration [unit/s^2].
        jerk: Largest jerk [unit/s^3].
        kinds: What each dimension is. A command is a target position, at rest when it no longer changes, except of
            displacements per control step and of velocities, which are at rest when they are zero and whose position is
            not known here: ``low`` and ``high`` bound the displacement or velocity itself. An angle has no end stops.
            A binary dimension has no limits but its two values.

    Raises:
        SpecError: Another number of values than names, inverted, NaN, zero, negative, implausible in its unit, or
            against the kind of its dimension.
    """

    names: tuple[str, ...]
    units: tuple[Unit, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]
    kinds: Dimensions = LINEAR

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise SpecError(f"joint names {self.names}", "at least one, none twice", "name every dimension once")
        for field in ("units", "low", "high", "velocity", "acceleration", "jerk"):
            if len(getattr(self, field)) != len(self.names):
                raise SpecError(
                    f"{len(getattr(self, field))} values of {field}",
                    f"{len(self.names)}, one per joint: {', '.join(self.names)}",
                    "give the limits in the order of the robot's action names",
                )
        if not isinstance(self.kinds, Dimensions):
            raise SpecError(
                got=f"kinds {self.kinds!r} of joints",
                expected=f"Dimensions, a word for each of {', '.join(self.names)}",
                change='say Dimensions.of("linear", "velocity", ...), see docs/dimensions.md',
            )
        self.kinds.check("joint", self.names)
        for joint in range(len(self.names)):
            self._check(joint)

    @classmethod
    def uniform(
        cls, names: Sequence[str], low: Sequence[float], high: Sequence[float], *, unit: Unit,
        velocity: float, acceleration: float, jerk: float, kinds: Dimensions = LINEAR,
    ) -> "JointLimits":  # fmt: skip
        """Take ranges per joint, as a robot's specification has them, and everything else the same for all joints.

        ``low`` and ``high`` are sequences or arrays of shape (action,); units are those of the class.
        """
        n, lows, highs = len(names), tuple(map(float, low)), tuple(map(float, high))
        v, a, j = ((float(most),) * n for most in (velocity, acceleration, jerk))
        return cls(tuple(names), (unit,) * n, lows, highs, v, a, j, kinds)

    @property
    def declared(self) -> Dimensions:
        """Kinds of the dimensions with the units of the limits, where there is one; an angle has none."""
        pairs = zip(self.kinds.each(len(self.names)), self.units, strict=True)
        return Dimensions(
            tuple(kind if unit == "1" or kind.name == "angle" else replace(kind, unit=unit) for kind, unit in pairs)
        )

    def _check(self, joint: int) -> None:
        name, unit = self.names[joint], self.units[joint]
        low, high = self.low[joint], self.high[joint]
        if unit not in get_args(Unit):
            raise SpecError(f"joint {name!r} in {unit!r}", "one of " + ", ".join(get_args(Unit)), "convert its limits")
        kind = self.kinds.each(len(self.names))[joint]
        if unit != "1" and kind.measure not in ("", unit):
            raise SpecError(
                f"limits of joint {name!r} in {unit!r}, and its kind is {kind}",
                f"limits in {kind.measure}, the unit of its commands",
                "convert the limits, or correct the kind",
            )
        if kind.name == "angle":
            self._check_turns(joint, kind.period)
        elif not (isfinite(low) and isfinite(high) and low < high):
            raise SpecError(
                f"range [{low}, {high}] {unit} of joint {name!r}",
                "finite, lower < upper",
                "correct the range, or declare an angle, which may be UNLIMITED",
            )
        if kind.rests_at_zero and not low < 0 < high:
            raise SpecError(
                f"range [{low}, {high}] of {kind.name} {name!r}",
                "zero inside: at zero the joint is at rest",
                "allow both directions, or declare a command that is a target position",
            )
        for field in ("velocity", "acceleration", "jerk"):
            value = getattr(self, field)[joint]
            if isnan(value) or value <= 0:
                raise SpecError(
                    f"{field} limit {value} of joint {name!r}",
                    "a positive number, or UNLIMITED",
                    "zero does not mean unlimited; say UNLIMITED where no limit is wanted",
                )
        self._check_plausible(joint)

    def _check_turns(self, joint: int, period: float) -> None:
        low, high = self.low[joint], self.high[joint]
        if (low, high) == (-inf, inf) or (isfinite(low) and isclose(high - low, period, rel_tol=1e-5)):
            return
        raise SpecError(
            f"range [{low}, {high}] {self.units[joint]} of joint {self.names[joint]!r}, an angle of period {period:g}",
            "one period, or from -UNLIMITED to UNLIMITED: an angle has no end stops",
            "correct range and period, or declare a joint with end stops as linear",
        )

    def _check_plausible(self, joint: int) -> None:
        name, unit = self.names[joint], self.units[joint]
        if unit not in _PLAUSIBLE:
            return
        meant, largest, fastest = _PLAUSIBLE[unit]
        widest, velocity = max(-self.low[joint], self.high[joint]), self.velocity[joint]
        if isfinite(widest) and widest > largest:
            raise SpecError(
                f"joint {name!r} reaches {widest:g} {unit}",
                f"at most {largest:.4g} {unit}: this looks like {meant}",
                f"give its range in {unit}",
            )
        if isfinite(velocity) and velocity > fastest:
            raise SpecError(
                f"velocity limit {velocity:g} {unit}/s of joint {name!r}",
                f"at most {fastest:g} {unit}/s, or UNLIMITED: this looks like {meant}",
                f"give it in {unit}/s",
            )
