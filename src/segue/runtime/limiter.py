"""From a wanted action to a command that keeps to every limit, in every control step.

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
from math import isfinite

from segue.errors import SpecError
from segue.runtime.joint import Joint, Limit
from segue.runtime.limits import JointLimits


@dataclass(frozen=True)
class Saturation:
    """A joint whose command is not the wanted action, and the first limit that the wanted action violates."""

    joint: str
    limit: Limit


class Limiter:
    """Keeps the commands of one robot inside of its limits.

    Args:
        limits: What each joint may do.
        dt: Control period [s].
        start: What the robot is at, at rest. Shape (action,), see `restart`.

    Attributes:
        values: The last command. Shape (action,).
        saturated: Which joints the last step has cut.

    Raises:
        SpecError: See `restart`; or the limits cannot be resolved at this control rate.
    """

    def __init__(self, limits: JointLimits, dt: float, start: Sequence[float]) -> None:
        if not (isfinite(dt) and dt > 0):
            raise SpecError(f"dt = {dt}", "a positive control period in seconds", "give 1 / rate")
        self.limits, self.dt = limits, dt
        self._joints = tuple(Joint(limits, index, dt) for index in range(len(limits.names)))
        self._rows = tuple(map(_row, self._joints))
        self._displacements = tuple(index for index, joint in enumerate(self._joints) if joint.displacement)
        self.restart(start)

    def restart(self, start: Sequence[float], velocity: Sequence[float] | None = None) -> None:
        """Go on from a measured state instead of from the last command.

        A position beyond its limit by less than a step at the largest speed is taken as at the limit: sensors are not
        exact. A velocity from which a joint could not stop inside of its range is taken as the largest from which it
        can. The acceleration is taken as zero.

        Args:
            start: Measured positions; for displacements, the displacement of the last step. Shape (action,).
            velocity: Measured [unit/s], at rest if not given; not used for displacements. Shape (action,).

        Raises:
            SpecError: Wrong length, not finite, or further outside of a limit than that. Nothing is changed.
        """
        start = self._numbers("start", start)
        speeds = [0.0] * len(start) if velocity is None else self._numbers("velocity", velocity)
        values = [joint.enter(p) for joint, p in zip(self._joints, start, strict=True)]
        states = [
            (0.0, p) if joint.displacement else (p, joint.stoppable(p, v * self.dt))
            for joint, p, v in zip(self._joints, values, speeds, strict=True)
        ]
        self.values = values
        self._p, self._v = [p for p, _ in states], [v for _, v in states]
        self._a = [0.0] * len(values)
        self._wanted, self._behind = values, [True] * len(values)
        self.saturated: tuple[Saturation, ...] = ()

    def _numbers(self, what: str, values: Sequence[float]) -> list[float]:
        names = self.limits.names
        if len(values) != len(names):
            raise SpecError(f"{what} with {len(values)} values", f"{len(names)}: {', '.join(names)}", "give all joints")
        for name, value in zip(names, values, strict=True):
            if not isfinite(value):
                raise SpecError(f"{what} of joint {name!r} is {value}", "finite values", "check that sensor")
        return [float(value) for value in values]

    @property
    def at_rest(self) -> bool:
        """Whether the last command has neither velocity nor acceleration."""
        return not (any(self._v) or any(self._a))

    def step(self, wanted: Sequence[float]) -> list[float]:
        """The command for a wanted action.

        Args:
            wanted: Shape (action,), plain floats: ``array.tolist()`` is the quickest way to make them.

        Returns:
            Shape (action,), robot units.

        Raises:
            SpecError: Wrong length or not finite. Nothing is changed.
        """
        if len(wanted) != len(self._rows):
            self._numbers("action", wanted)
        values: list[float] = []
        speeds: list[float] = []
        accelerations: list[float] = []
        behind = self._behind.copy()
        saturated: list[Saturation] = []
        for index, ((low, high, fastest, most, jerk, c0, c1, c2), w, p, v, a) in enumerate(
            zip(self._rows, wanted, self._p, self._v, self._a, strict=True)
        ):
            speed = w - p
            acceleration = speed - v
            peak = abs(speed) + c0 * acceleration * acceleration
            room = peak * (c1 * peak + c2)
            # Quick and sufficient, see docs/limits.md: then the wanted action is the command.
            if behind[index] or not (
                -jerk <= acceleration - a <= jerk
                and -most <= acceleration <= most
                and peak <= fastest
                and low + room <= w <= high - room
            ):
                if not isfinite(w):
                    self._numbers("action", wanted)
                w, speed, acceleration, behind[index], limit = self._joints[index].follow(
                    w, w - self._wanted[index], p, v, a, behind[index]
                )
                if limit:
                    saturated.append(Saturation(self._joints[index].name, limit))
            values.append(w)
            speeds.append(speed)
            accelerations.append(acceleration)
        self._wanted, self._behind, self.saturated = list(wanted), behind, tuple(saturated)
        self._move(values, speeds, accelerations)
        return values

    def _move(self, values: list[float], speeds: list[float], accelerations: list[float]) -> None:
        self.values, self._v, self._a = values, speeds, accelerations
        self._p = values.copy()  # the caller may change what it was given
        for index in self._displacements:
            self._p[index] = 0.0

    def stop(self) -> list[float]:
        """The command that brakes all joints; at rest, the last command."""
        states = zip(self._joints, self._p, self._v, self._a, strict=True)
        moved = [joint.stop(p, v, a) for joint, p, v, a in states]
        values = [p for p, _, _ in moved]
        self._wanted, self._behind, self.saturated = values, [True] * len(values), ()
        self._move(values, [v for _, v, _ in moved], [a for _, _, a in moved])
        return values


def _row(joint: Joint) -> tuple[float, float, float, float, float, float, float, float]:
    """What the quick check of a joint needs, in the order of its use."""
    return (
        *(joint.low, joint.high, min(-joint.floor, joint.ceiling), joint.acceleration, joint.jerk),
        *(joint.peak_weight, *joint.room_weights),
    )
