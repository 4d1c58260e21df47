"""The limiter makes of a wanted action a command that keeps to every limit, in every control step.

Velocity, acceleration and jerk are differences of the commands that were sent, whatever the time between them: a robot
holds its command during a slot that was skipped, so a late command is not allowed a longer step than a punctual one.

There are three cases, for each joint alone:

 1. the wanted action keeps to the limits and leaves room to brake: it is the command, to the bit;
 2. it does not: the joint approaches it as fast as the limits allow, as if the wanted motion went on at its present
    speed, and without overshooting it;
 3. that leaves no room to brake inside of the range: the joint approaches the end of the range instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, remainder, sqrt

import numpy as np
from numpy.typing import NDArray

from segue.errors import SpecError
from segue.safety.joint import Joint, Limit
from segue.safety.limits import JointLimits

Numbers = Sequence[float] | NDArray[np.floating]

_ROOM = 1 / 8  # share of a range that the look at all joints at once keeps away from each of its ends
_ROUNDING = 1 - 1e-9


@dataclass(frozen=True)
class Saturation:
    """A joint whose command is not the wanted action, and the first limit that the wanted action violates."""

    joint: str
    limit: Limit


class _States:
    """Commands of all joints with their differences, one row each, shape (4, action)."""

    def __init__(self, joints: int) -> None:
        self.all = np.zeros((4, joints))
        self.motion = self.all[1:3]
        self.commands, self.velocities, self.accelerations, self.jerks = self.all


class Limiter:
    """Keeps the commands of one robot inside of its limits.

    Args:
        limits: What each joint may do.
        dt: Control period [s].
        start: Commands at which the robot is, at rest. Shape (action,), see `restart`.

    Attributes:
        saturated: Which joints the last step has cut.

    Raises:
        SpecError: See `restart`; or the limits cannot be resolved at this control rate.
    """

    def __init__(self, limits: JointLimits, dt: float, start: Numbers) -> None:
        if not (isfinite(dt) and dt > 0):
            raise SpecError(f"dt = {dt}", "a positive control period in seconds", "give 1 / rate")
        self.limits, self.dt = limits, dt
        self._joints = tuple(Joint(limits, index, dt) for index in range(len(limits.names)))
        self._rows = tuple(map(_row, self._joints))
        # A step makes no arrays but the one that it returns: with 14 joints that costs as much as the arithmetic.
        self._least, self._greatest = np.array([_box(joint) for joint in self._joints]).transpose(1, 2, 0).copy()
        self._inside = np.zeros((2, 4, len(self._joints)), bool)
        self._above, self._below = self._inside
        self._now, self._new = _States(len(self._joints)), _States(len(self._joints))
        moves = [joint.moves for joint in self._joints]
        self._fixed = ~np.array(moves) if any(moves) else None
        self._kinds = limits.kinds
        self._binary = [index for index, joint in enumerate(self._joints) if joint.binary]
        self._meant_otherwise = bool(limits.kinds.angles or limits.kinds.quaternions or self._binary)
        self._within = tuple(index for index, _ in limits.kinds.angles if isfinite(limits.low[index]))
        self._origin = np.zeros(len(self._joints))  # zero stays where the position is not known
        self.restart(start)

    def restart(self, start: Numbers, velocity: Numbers | None = None) -> None:
        """Go on from a measured state instead of from the last command.

        A position beyond its limit by no more than a step at the largest speed, and a hundredth of the range, is taken
        as at the limit: sensors are not exact. A velocity from which a joint could not stop inside of its range is
        taken as the largest from which it can. The acceleration is taken as zero.

        Args:
            start: Measured positions; of a displacement or velocity, that of the last step. Shape (action,).
            velocity: Measured [unit/s], at rest if not given; not used for those. Shape (action,).

        Raises:
            SpecError: Wrong length, not finite, or further outside of a limit than that. Nothing is changed.
        """
        start = self._numbers("start", start)
        speeds = [0.0] * len(start) if velocity is None else self._numbers("velocity", velocity)
        values = [joint.enter(p) for joint, p in zip(self._joints, start, strict=True)]
        for index in self._binary:
            values[index] = min((self.limits.low[index], self.limits.high[index]), key=lambda v: abs(v - start[index]))
        moving = [
            p if joint.moves else joint.stoppable(p, v * self.dt)
            for joint, p, v in zip(self._joints, values, speeds, strict=True)
        ]
        self._now.all[:] = values, moving, [0.0] * len(values), [0.0] * len(values)
        self._behind = set(range(len(values)))
        self._wanted: list[float] | None = None
        self.saturated: tuple[Saturation, ...] = ()

    def _numbers(self, what: str, values: Numbers) -> list[float]:
        names = self.limits.names
        if len(values) != len(names):
            raise SpecError(f"{what} with {len(values)} values", f"{len(names)}: {', '.join(names)}", "give all joints")
        for name, value in zip(names, values, strict=True):
            if not isfinite(value):
                raise SpecError(f"{what} of joint {name!r} is {value}", "finite values", "check that sensor")
        return [float(value) for value in values]

    @property
    def values(self) -> NDArray[np.float64]:
        """Last command. Shape (action,)."""
        return self._sent(self._now.commands.copy())

    @property
    def at_rest(self) -> bool:
        """Tell whether the last command has neither velocity nor acceleration."""
        return not np.count_nonzero(self._now.motion)

    def step(self, wanted: Numbers) -> NDArray[np.float64]:
        """Return the command for a wanted action, both of shape (action,) and in robot units.

        Raises:
            SpecError: Wrong length or not finite. Nothing is changed.
        """
        if len(wanted) != len(self._joints):
            self._numbers("action", wanted)
        now, new = self._now, self._new
        new.commands[:] = wanted
        if self._meant_otherwise:
            self._as_meant(new.commands, now.commands)
        np.subtract(new.commands, self._positions(), new.velocities)
        if self._binary:
            new.velocities[self._binary] = 0.0
        np.subtract(new.velocities, now.velocities, new.accelerations)
        np.subtract(new.accelerations, now.accelerations, new.jerks)
        # Bounds of all joints at once, which most actions keep; the others are looked at one by one
        np.less_equal(self._least, new.all, self._above)
        np.less_equal(new.all, self._greatest, self._below)
        if self._behind or np.count_nonzero(self._inside) < self._inside.size:
            self._follow()
        else:
            self._wanted, self.saturated = None, ()
        self._now, self._new = new, now
        values = new.commands.copy()
        return self._sent(values) if self._within else values

    def _as_meant(self, wanted: NDArray[np.float64], last: NDArray[np.float64]) -> None:
        """Write over wanted commands what means the same and is the nearest to the last ones."""
        for index, period in self._kinds.angles:
            turn = float(wanted[index] - last[index])
            if isfinite(turn) and abs(turn) > period / 2:
                wanted[index] = last[index] + remainder(turn, period)
        for group in self._kinds.quaternions:
            if np.dot(wanted[group], last[group]) < 0:
                np.negative(wanted[group], wanted[group])
        for index in self._binary:
            low, high = self.limits.low[index], self.limits.high[index]
            above = wanted[index] - (low + high) / 2
            if isfinite(above):
                wanted[index] = high if above > 0 else low if above < 0 else last[index]

    def _sent(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn angles into the range that they are to be given in, in place."""
        for index in self._within:
            low, period = self.limits.low[index], self._joints[index].period
            values[index] = min(low + (values[index] - low) % period, self.limits.high[index])
        return values

    def _positions(self) -> NDArray[np.float64]:
        """Return the last commanded positions, 0 where those are not known. Not to be kept."""
        if self._fixed is None:
            return self._now.commands
        np.copyto(self._origin, self._now.commands, where=self._fixed)
        return self._origin

    def _follow(self) -> None:
        """Limit joint by joint where the look at all at once does not say that the wanted action is the command."""
        now, new = self._now, self._new
        wanted, before = new.commands.tolist(), self._wanted or now.commands.tolist()
        doubtful = self._behind.union(np.flatnonzero(~self._inside.all((0, 1))).tolist())
        positions, (velocities, accelerations) = self._positions().tolist(), now.motion.tolist()
        behind, saturated = set[int](), list[Saturation]()
        for index in sorted(doubtful):
            joint, w = self._joints[index], wanted[index]
            p, v, a = positions[index], velocities[index], accelerations[index]
            if not isfinite(w):
                self._numbers("action", wanted)
            if index in self._binary:
                continue
            if index not in self._behind and _is_free(self._rows[index], w, p, v, a):
                continue
            w, v, a, late, limit = joint.follow(w, w - before[index], p, v, a, index in self._behind)
            new.commands[index], new.velocities[index], new.accelerations[index] = w, v, a
            if late:
                behind.add(index)
            if limit:
                saturated.append(Saturation(joint.name, limit))
        self._wanted, self._behind, self.saturated = wanted, behind, tuple(saturated)

    def stop(self) -> NDArray[np.float64]:
        """Return the command that brakes all joints; at rest, the last command."""
        if not self.at_rest:
            last = (self._positions(), *self._now.motion)
            states = zip(self._joints, *(each.tolist() for each in last), strict=True)
            self._now.all[:3] = np.transpose([joint.stop(p, v, a) for joint, p, v, a in states])
        self._behind, self._wanted, self.saturated = set(range(len(self._joints))), None, ()
        return self.values


def _row(joint: Joint) -> tuple[float, float, float, float, float, float, float, float]:
    """Gather the numbers that `_is_free` takes."""
    return (
        *(joint.low, joint.high, min(-joint.floor, joint.ceiling), joint.acceleration, joint.jerk),
        *(joint.peak_weight, *joint.room_weights),
    )


def _is_free(row: tuple[float, ...], w: float, p: float, v: float, a: float) -> bool:
    """Tell whether a wanted action of a joint is its command: the quick and sufficient check of docs/limits.md."""
    low, high, fastest, most, jerk, c0, c1, c2 = row
    speed = w - p
    acceleration = speed - v
    peak = abs(speed) + c0 * acceleration * acceleration
    room = peak * (c1 * peak + c2)
    return (
        -jerk <= acceleration - a <= jerk
        and -most <= acceleration <= most
        and peak <= fastest
        and low + room <= w <= high - room
    )


def _box(joint: Joint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return least and greatest command, velocity, acceleration and jerk between which `_is_free` holds in any case.

    That is, for one u up to the largest speed: ``|v| <= u - c0 a_max^2`` bounds the peak by u, and ``low + Q(u) <= w <=
    high - Q(u)`` leaves the room that such a peak needs at most. A large u allows speed, a small one lets the joint
    come close to the ends of its range: u is the speed whose room is a share of the range, or the largest speed.
    """
    low, high, fastest, most, jerk, c0, c1, c2 = _row(joint)
    if joint.binary:
        return (low, -inf, -inf, -inf), (high, inf, inf, inf)
    if not joint.moves:
        fastest = min(fastest, (sqrt(c2 * c2 + 4 * c1 * _ROOM * (high - low)) - c2) / (2 * c1))
    room = fastest * (c1 * fastest + c2) / _ROUNDING
    speed = fastest * _ROUNDING - c0 * most * most
    return (low + room, -speed, -most, -jerk), (high - room, speed, most, jerk)
