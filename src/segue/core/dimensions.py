"""The kind of a dimension, said once, and the arithmetic that follows from it.

    linear        a position or anything else whose differences are plain ones
    angle         wraps: two values a period apart mean the same ("angle:deg" in degrees, "angle" in radians)
    quaternion    a rotation in four dimensions that follow one another, the scalar anywhere; q and -q mean the same
    rotation-6d   a rotation in six: the first two columns of its matrix, one after the other
    gripper       opening or effort, continuous; no part of the motion
    binary        one of two values, which nothing lies between
    velocity      of whatever it moves [unit/s]; at rest it is zero
    displacement  per control step; at rest it is zero
    constant      never moves

Any but an angle may say its unit, "linear:mm": it changes no arithmetic, and what disagrees on it is refused. The
period of an angle says it. Names never decide what a dimension is. What no kind is said of is linear.

All functions take arrays of NumPy and tensors of torch, dimensions last, and work along all leading axes; where every
kind is linear they are the plain expressions, to the bit.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, pi
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from segue.errors import SpecError

KindName = Literal[
    "linear", "angle", "quaternion", "rotation-6d", "gripper", "binary", "velocity", "displacement", "constant"
]
_UNIT = re.compile(r"[A-Za-z%][A-Za-z0-9%/^]{0,15}")
_PERIODS = {2 * pi: "rad", 360.0: "deg"}
_ALIKE = ("linear", "gripper", "constant")  # kinds that a robot takes in the same way
SIZES: dict[KindName, int] = {"quaternion": 4, "rotation-6d": 6}
"""Kinds that take several dimensions, and how many."""
Values = TypeVar("Values", bound=Any)
"""An array of NumPy or a tensor of torch; what comes out is of the type that went in."""


@dataclass(frozen=True)
class Kind:
    """The kind of a dimension.

    Attributes:
        name: See the top of this module.
        period: Period of an angle, in its own unit; 0 for every other kind.
        unit: Unit of its numbers, in a word; empty where it is not said, and for an angle.

    Raises:
        SpecError: There is no such kind, the period is not one, or the unit is no word.
    """

    name: KindName = "linear"
    period: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        if self.name not in get_args(KindName):
            raise SpecError(f"kind {self.name!r}", "one of " + ", ".join(get_args(KindName)), "correct it")
        wraps = self.name == "angle"
        if not isfinite(self.period) or (self.period > 0) != wraps or self.period < 0:
            raise SpecError(
                f"period {self.period:g} of a dimension of kind {self.name}",
                "a positive period of an angle, none of anything else",
                "say angle for 2 pi, or angle:360 for degrees",
            )
        if self.unit and (wraps or not _UNIT.fullmatch(self.unit)):
            raise SpecError(
                f"unit {self.unit!r:.40} of a dimension of kind {self.name}",
                "a word such as mm, deg or m/s; of an angle none, as its period says it",
                "say linear:mm, or angle:360 for degrees",
            )

    def __str__(self) -> str:
        if self.unit:
            return f"{self.name}:{self.unit}"
        return f"angle:{self.period!r}" if self.name == "angle" and self.period != 2 * pi else self.name

    @property
    def measure(self) -> str:
        """Its unit, of an angle as the period says it, of a velocity without the time; empty where there is none."""
        return _PERIODS.get(self.period, "") if self.name == "angle" else self.unit.removesuffix("/s")

    @property
    def rests_at_zero(self) -> bool:
        """Tells whether it is at rest at zero, as velocities and displacements are."""
        return self.name in ("velocity", "displacement")


def kind(text: str) -> Kind:
    """Read a kind: ``angle`` in radians, ``angle:deg`` or ``angle:PERIOD`` in other units, ``linear:mm``; `str` writes.

    Raises:
        SpecError: There is no such kind.
    """
    name, _, more = text.partition(":")
    period, unit = 2 * pi if name == "angle" else 0.0, ""
    by_unit = {unit: period for period, unit in _PERIODS.items()}
    if name == "angle" and more in by_unit:
        period = by_unit[more]
    elif more:
        try:
            period = float(more)
        except ValueError:
            unit = more
    return Kind(name, period, unit)  # type: ignore[arg-type]  # looked at by the kind itself


@dataclass(frozen=True)
class Dimensions:
    """The kinds of the dimensions of a vector, and the arithmetic of such vectors.

    Attributes:
        kinds: One per dimension; empty where all are linear, of any number. Dimensions of one rotation follow one
            another.

    Raises:
        SpecError: A rotation has another number of dimensions than its kind takes.
    """

    kinds: tuple[Kind, ...] = ()

    def __post_init__(self) -> None:
        if all(each == Kind() for each in self.kinds):
            object.__setattr__(self, "kinds", ())  # so that those which mean the same are equal
        _ = self.quaternions, self.rotations

    @classmethod
    def of(cls, *words: str) -> "Dimensions":
        """Read words such as ``"linear", "angle:360", "gripper"``, one per dimension."""
        return cls(tuple(map(kind, words)))

    @property
    def words(self) -> tuple[str, ...]:
        """Words that `of` reads; empty where all are linear."""
        return tuple(map(str, self.kinds))

    def check(self, what: str, names: Sequence[str]) -> None:
        """Raise `SpecError` unless there is a kind for each of these dimensions, or none at all."""
        if self.kinds and len(self.kinds) != len(names):
            raise SpecError(
                f"{len(self.kinds)} {what} kinds",
                f"{len(names)}, one per dimension: {', '.join(names[:6])}" + (" ..." if len(names) > 6 else ""),
                "say linear where nothing else is true",
            )

    def each(self, size: int) -> tuple[Kind, ...]:
        """Return one kind per dimension of a vector of this size."""
        return self.kinds or (Kind(),) * size

    def part(self, indices: Iterable[int]) -> "Dimensions":
        """Pick the kinds of some dimensions, in this order; raises `SpecError` where that cuts a rotation."""
        return Dimensions(tuple(self.kinds[index] for index in indices)) if self.kinds else self

    def scaled(self, scale: Sequence[float]) -> "Dimensions":
        """Return the kinds of the same vector divided by a scale per dimension, which divides periods, too."""
        pairs = zip(self.kinds, scale, strict=True) if self.kinds else ()
        return Dimensions(tuple(Kind(each.name, each.period / by) for each, by in pairs))

    def without_rotations(self) -> "Dimensions":
        """Return the same with linear dimensions for rotations, as in units in which they are none any more."""
        return Dimensions(tuple(Kind() if each.name in SIZES else each for each in self.kinds))

    def named(self, *names: KindName) -> tuple[int, ...]:
        """Return the indices of the dimensions of these kinds."""
        return tuple(index for index, each in enumerate(self.kinds) if each.name in names)

    @cached_property
    def angles(self) -> tuple[tuple[int, float], ...]:
        """Index and period of every angle."""
        return tuple((index, self.kinds[index].period) for index in self.named("angle"))

    @cached_property
    def moves(self) -> tuple[int, ...]:
        """Dimensions that are at rest at zero: velocities and displacements."""
        return self.named("velocity", "displacement")

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Dimensions whose values have nothing between them: binary and constant ones."""
        return self.named("binary", "constant")

    @cached_property
    def quaternions(self) -> tuple[slice, ...]:
        """Slices of the quaternions."""
        return self._groups("quaternion")

    @cached_property
    def rotations(self) -> tuple[slice, ...]:
        """Slices of the rotations in six numbers."""
        return self._groups("rotation-6d")

    def _groups(self, name: KindName) -> tuple[slice, ...]:
        groups, index, size = [], 0, SIZES[name]
        while index < len(self.kinds):
            if self.kinds[index].name != name:
                index += 1
                continue
            if any(each.name != name for each in self.kinds[index : index + size]) or index + size > len(self.kinds):
                raise SpecError(
                    f"a {name} from dimension {index} on of another size than {size}",
                    f"{size} dimensions of kind {name}, one after the other",
                    "say the kind of all dimensions of a rotation",
                )
            groups.append(slice(index, index + size))
            index += size
        return tuple(groups)

    @property
    def plain(self) -> bool:
        """Tells whether the arithmetic of all dimensions is that of plain numbers."""
        return not (self.angles or self.steps or self.quaternions or self.rotations)

    def near(self, a: Values, b: Any) -> Values:
        """Return the nearest to ``b`` that means the same as ``a``: whole periods and signs of quaternions are free."""
        if not (self.angles or self.quaternions):
            return a
        a = _copied(a)
        for index, period in self.angles:
            a[..., index] -= period * ((a[..., index] - b[..., index]) / period).round()
        for group in self.quaternions:
            against = (a[..., group] * b[..., group]).sum(-1) < 0
            a[..., group] *= (1 - 2 * against)[..., None]
        return a

    def about_mean(self, values: np.ndarray) -> np.ndarray:
        """Bring each value near to the mean of all, see `near`. Shape (n, dimension)."""
        return self.near(values, self.mean(values)) if self.angles or self.quaternions else values

    def difference(self, a: Values, b: Any) -> Values:
        """Compute ``a - b``, the shorter way round where there are two ways."""
        return self.near(a, b) - b

    def add(self, x: Values, change: Any) -> Values:
        """Compute ``x + change``, with rotations made proper and binary and constant dimensions kept."""
        return self.proper(self.stepped(x + change, x))

    def stepped(self, x: Values, like: Values) -> Values:
        """Replace the binary and constant dimensions of ``x`` by those of ``like``, of the same shape."""
        if not self.steps:
            return x
        x = _copied(x)
        x[..., list(self.steps)] = like[..., list(self.steps)]
        return x

    def blend(self, old: Values, new: Values, of_old: Any, of_new: Any) -> Values:
        """Compute ``of_old old + of_new new``, two shares that are 1 in all.

        Angles and rotations are mixed the shorter way round, and near the new one. Of two binary or constant values the
        new one is taken wherever it has a share.

        Args:
            old: Shape (..., dimension).
            new: Same shape.
            of_old: Share of the old one, in [0, 1]; broadcast against both.
            of_new: Share of the new one.
        """
        mixed = of_new * new + of_old * self.near(old, new)
        if self.plain:
            return mixed
        for index in self.steps:
            taken = (of_new + 0 * new)[..., index] > 0
            chosen = _copied(old[..., index])
            chosen[taken] = new[..., index][taken]
            mixed[..., index] = chosen
        return self.proper(mixed)

    def proper(self, x: Values) -> Values:
        """Bring quaternions to length 1 and make the columns of rotations orthonormal; zeros stay zeros."""
        if not (self.quaternions or self.rotations):
            return x
        found = _copied(x)
        for group in self.quaternions:
            found[..., group] = _unit(x[..., group])
        for group in self.rotations:
            first, second = x[..., group][..., :3], x[..., group][..., 3:]
            first = _unit(first)
            second = _unit(second - (first * second).sum(-1)[..., None] * first)
            found[..., group.start : group.start + 3], found[..., group.start + 3 : group.stop] = first, second
        return found

    def continuous(self, path: Values, start: Any = None) -> Values:
        """Return a path that means the same and goes from point to point without a turn or a change of sign.

        Args:
            path: Shape (..., points, dimension).
            start: Shape (..., dimension): what the first point is brought near to; the point itself if not given.
        """
        if not (self.angles or self.quaternions):
            return path
        path = _copied(path)
        if start is not None:
            path[..., :1, :] = self.near(path[..., :1, :], start[..., None, :])
        for index, period in self.angles:
            values = path[..., index]
            turns = ((values[..., 1:] - values[..., :-1]) / period).round().cumsum(-1)
            path[..., 1:, index] = values[..., 1:] - period * turns
        for group in self.quaternions:
            values = path[..., group]
            against = (values[..., 1:, :] * values[..., :-1, :]).sum(-1) < 0
            path[..., 1:, group] = values[..., 1:, :] * (1 - 2 * against).cumprod(-1)[..., None]
        return path

    def path(self, commands: Values, dt: float) -> Values:
        """Return where commands lead: positions go on without a jump, displacements and velocities are added up.

        Args:
            commands: Shape (..., steps, dimension).
            dt: Control period [s].
        """
        return self.added_up(self.continuous(commands), dt)

    def motion(self, size: int) -> tuple[int, ...]:
        """Return the dimensions of a vector of this size that make up a path: no grippers, no constants."""
        still = self.named("gripper", "binary", "constant")
        return tuple(index for index in range(size) if index not in still)

    def added_up(self, path: Values, dt: float) -> Values:
        """Add up displacements and velocities to where they lead, in any unit; see `path`."""
        if not self.moves:
            return path
        path = _copied(path)
        for index in self.moves:
            per_step = dt if self.kinds[index].name == "velocity" else 1.0
            path[..., index] = (per_step * path[..., index]).cumsum(-1)
        return path

    def check_fits(
        self, other: "Dimensions", names: Sequence[str], *, does: str = "a policy that commands",
        as_said: str = "as the robot takes it",
    ) -> None:  # fmt: skip
        """Raise `SpecError` where these kinds, such as a policy's, do not fit others, such as a robot's.

        A linear one of these fits anything, and units are compared where both say them. ``does`` and ``as_said`` say
        for the error whose these are and where the others come from.
        """
        for name, ours, theirs in zip(names, self.each(len(names)), other.each(len(names)), strict=True):
            units = {ours.measure, theirs.measure} - {""}
            alike = ours.name in _ALIKE and theirs.name in _ALIKE
            same = ours.name == "linear" or alike or (ours.name, ours.period) == (theirs.name, theirs.period)
            if not same or len(units) > 1:
                raise SpecError(
                    f"{does} {name!r} as {ours}",
                    f"{theirs}, {as_said}",
                    "use what belongs together, convert the numbers, or correct what the dimension is said to be",
                )

    def held(self, last: Values) -> Values:
        """Return what a hold commands after a command: the same, but no velocity or displacement."""
        if not self.moves:
            return last
        last = _copied(last)
        last[..., list(self.moves)] = 0
        return last

    def wrapped(self, x: Values, low: Any) -> Values:
        """Turn every angle into the period that begins at its lowest value. ``low`` has shape (dimension,)."""
        if not self.angles:
            return x
        x = _copied(x)
        for index, period in self.angles:
            x[..., index] = float(low[index]) + (x[..., index] - float(low[index])) % period
        return x

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Average over the first axis, angles on their circle and rotations as rotations. Shape (n, dimension)."""
        values = np.asarray(values, np.float64)
        if self.plain:
            return values.mean(0)
        mean = self.near(values, values[:1]).mean(0)  # of signs that agree, so that rotations do not cancel
        for index, period in self.angles:
            turned = values[:, index] * (2 * pi / period)
            mean[index] = np.arctan2(np.sin(turned).mean(), np.cos(turned).mean()) * period / (2 * pi)
        return self.proper(mean)


def _copied(values: Values) -> Values:
    return values * 1


def _unit(vectors: Values) -> Values:
    square = (vectors * vectors).sum(-1)[..., None]
    return vectors / (square + (square == 0)) ** 0.5  # a root at zero would have no gradient


LINEAR = Dimensions()
"""All dimensions linear."""
