"""One joint of a robot in control steps: the limit that a command would violate, the best one that violates none.

Velocity v, acceleration a and jerk are differences of commands per step. Every state that is left behind is one from
which braking keeps to the limits (`segue.safety.braking`), so that braking is always a possible next command.
"""

from enum import Enum
from math import inf, ulp

from segue.errors import SpecError
from segue.safety.braking import brake, distance, highest, hold, lowest, release
from segue.safety.limits import JointLimits

_ROOT_STEPS = 30
_ROOT_WIDTH = 1e-9  # of the largest jerk
_BEYOND = 0.01  # of the range
_TURNS = 1000  # that an angle is expected to count to


class Limit(Enum):
    """Reasons for a command that is not the wanted action."""

    POSITION = "position"
    """Outside of the range, or no room would be left to brake inside of it."""
    VELOCITY = "velocity"
    """Too fast, or no time would be left to release the acceleration."""
    ACCELERATION = "acceleration"
    JERK = "jerk"
    APPROACH = "approach"
    """Could be reached now, but would be overshot then: a limit that was met before is still being made up for."""


class Joint:
    """Limits of one joint per control step.

    Unlimited quantities need no case of their own: no command can move by more than the range, so that the speed per
    step is at most the range, its change at most twice the largest speed, and the change of that twice the largest
    change.

    Args:
        limits: Limits of all joints.
        index: Which one this is.
        dt: Control period [s].

    Raises:
        SpecError: The jerk per step is so small that double precision cannot resolve it.
    """

    def __init__(self, limits: JointLimits, index: int, dt: float) -> None:
        kind = limits.kinds.each(len(limits.names))[index]
        self.name, self.moves, self.period = limits.names[index], kind.rests_at_zero, kind.period
        self.binary = kind.name == "binary"  # jumps from one value to the other, whatever is said of its speed
        order = 0 if kind.name == "velocity" else 1  # of the time in a command's first difference
        most = (inf,) * 3 if self.binary else (limits.velocity[index], limits.acceleration[index], limits.jerk[index])
        low, high, speed = limits.low[index], limits.high[index], most[0] * dt**order
        if self.moves:
            self.low, self.high = -inf, inf
            self.floor, self.ceiling = max(low, -speed), min(high, speed)
        elif self.period:
            self.low, self.high = -inf, inf
            self.ceiling = min(speed, self.period / 2)  # nothing is further off than that, the shorter way round
            self.floor = -self.ceiling
            low, high = -_TURNS * self.period, _TURNS * self.period
        else:
            self.low, self.high = low, high
            self.ceiling = min(speed, high - low)
            self.floor = -self.ceiling
        self.range = (self.floor, self.ceiling) if self.moves else (self.low, self.high)
        self.acceleration = min(most[1] * dt ** (order + 1), self.ceiling - self.floor)
        self.jerk = min(most[2] * dt ** (order + 2), 2 * self.acceleration)
        self.most = self.acceleration / self.jerk  # the acceleration limit in units of the jerk: m of `braking`
        self.peak_weight = 0.5 / self.jerk
        self.room_weights = (0.5 / self.acceleration, 1.5 * self.most + 3)
        self.rounding = ulp(max(abs(low), abs(high)))
        if self.jerk < 1024 * self.rounding:
            raise SpecError(
                f"jerk limit {limits.jerk[index]:g} of joint {self.name!r} at dt = {dt:g} s",
                "a change of the command per step that double precision can resolve",
                "raise the limit, or lower the control rate",
            )

    def obstacle(self, p: float, v: float, a: float, jerk: float) -> Limit | None:
        """Return the limit that a command would violate which leads to the state (p, v, a) by this jerk."""
        if not self.low <= p <= self.high:
            return Limit.POSITION
        if not self.floor <= v <= self.ceiling:
            return Limit.VELOCITY
        if not -self.acceleration <= a <= self.acceleration:
            return Limit.ACCELERATION
        if not -self.jerk <= jerk <= self.jerk:
            return Limit.JERK
        unit = self.jerk
        # The acceleration has to be released, which changes the velocity further: still inside of its limits
        if not self.floor + unit * release(-a / unit) <= v <= self.ceiling - unit * release(a / unit):
            return Limit.VELOCITY
        return None if self.has_room(p, v, a) else Limit.POSITION

    def has_room(self, p: float, v: float, a: float) -> bool:
        """Tell whether braking from this state stays inside of the range."""
        peak = abs(v) + self.peak_weight * a * a
        room = peak * (self.room_weights[0] * peak + self.room_weights[1])
        if self.moves or self.low + room <= p <= self.high - room:
            return True  # a quick upper bound, see docs/limits.md
        unit, most, margin = self.jerk, self.most, self._margin(v, a)
        above, below = highest(v / unit, a / unit, most), lowest(v / unit, a / unit, most)
        up = above == 0 or p + unit * above <= self.high - margin
        return up and (below == 0 or p + unit * below >= self.low + margin)

    def _margin(self, v: float, a: float) -> float:
        """Bound the rounding that adds up along the braking path: one unit in the last place per step."""
        steps = 2 * self.room_weights[0] * (abs(v) + self.peak_weight * a * a) + self.room_weights[1]
        return self.rounding * steps

    def follow(
        self, wanted: float, drift: float, p: float, v: float, a: float, behind: bool
    ) -> tuple[float, float, float, bool, Limit | None]:
        """Approach a wanted command, finite, from the last position, velocity and acceleration.

        Args:
            wanted: Wanted command of this step.
            drift: Change of the wanted command since the last step, taken to go on.
            p: Position that was commanded last; 0 where a command is a displacement or a velocity.
            v: Velocity of the last step.
            a: Acceleration of the last step.
            behind: The last command was not the wanted one.

        Returns:
            Position, velocity and acceleration of this step, whether the command is still behind the wanted one, and
            which limit the wanted one violates.
        """
        low, high = self.range
        reachable = min(max(wanted, low), high)
        limit = None if reachable == wanted else Limit.VELOCITY if self.moves else Limit.POSITION
        velocity = reachable - p
        acceleration = velocity - v
        obstacle = self.obstacle(reachable, velocity, acceleration, acceleration - a)
        if limit or abs(drift) > min(-self.floor, self.ceiling):
            drift = 0.0  # nobody can go along with that: what is wanted counts as standing still
        if obstacle is None and not (behind and self._overshoots(velocity, acceleration, drift)):
            return reachable, velocity, acceleration, False, limit
        acceleration = self.jerk * self._towards(reachable, drift, p, v, a)
        return *self._moved(p, v, acceleration), True, limit or obstacle or Limit.APPROACH

    def _moved(self, p: float, v: float, acceleration: float) -> tuple[float, float, float]:
        """Return the state after a step, its velocity not from rounded positions, where errors would add up."""
        velocity = v + acceleration
        if abs(velocity) < 1e-12 * self.jerk:
            velocity = 0.0
        low, high = self.range
        return min(max(p + velocity, low), high), velocity, acceleration

    def _overshoots(self, velocity: float, acceleration: float, drift: float) -> bool:
        """Tell whether the joint, where it is wanted but at this velocity, could not go along from the next step on."""
        change = drift if self.moves else drift - velocity
        possible = abs(change) <= self.acceleration and abs(change - acceleration) <= self.jerk
        return not (possible and (self.moves or abs(change) <= self.jerk))

    def _towards(self, wanted: float, drift: float, p: float, v: float, a: float) -> float:
        """Return the acceleration, in units of the jerk, that approaches what is wanted and leaves room to brake."""
        unit = self.jerk
        v, a = v / unit, a / unit
        # Between these, every limit but the position's holds now, and while the acceleration is released later
        least = max(a - 1, -self.most, -hold(v - self.floor / unit))
        greatest = min(a + 1, self.most, hold(self.ceiling / unit - v))
        if self.moves:
            missing = wanted / unit - v
            return min(max(hold(missing) - hold(-missing), least), greatest)
        x = self._approach((p - wanted) / unit, drift / unit, v, a, least, greatest)
        if self._fits(p, v, x):
            return x
        # That leaves no room to brake: approach the end of the range instead on whose side braking would end
        end = p + unit * distance(v, a, self.most)
        margin = 2 * self._margin(unit * v, unit * a)
        edge = self.high - margin if 2 * end > self.low + self.high else self.low + margin
        x = self._approach((p - edge) / unit, 0.0, v, a, least, greatest)
        return x if self._fits(p, v, x) else brake(v, a, self.most)

    def _fits(self, p: float, v: float, x: float) -> bool:
        unit = self.jerk
        p += unit * (v + x)
        return self.low <= p <= self.high and self.has_room(p, unit * (v + x), unit * x)

    def _approach(self, gap: float, drift: float, v: float, a: float, least: float, greatest: float) -> float:
        """Return the acceleration after which braking, relative to what moves with ``drift``, ends where that is.

        A root of a growing function by the Illinois method (M. Dowell and P. Jarratt, BIT 11, 1971), from ``least`` to
        ``greatest``. The result is on braking's side of the root, where the end is not overshot. ``gap`` is the last
        position relative to what is wanted now; all are in units of the jerk.
        """

        def end(x: float) -> float:  # where braking after x comes to rest, relative to what is wanted
            return gap + v + x + distance(v + x - drift, x, self.most)

        up = gap < 0
        far = greatest if up else least
        far_end = end(far)
        if far_end == 0 or (far_end < 0) == up:  # even this does not overshoot
            return far
        near = min(max(brake(v - drift, a, self.most), least), greatest)
        near_end = end(near)
        if near_end == 0:
            return near
        if (near_end < 0) != up:  # even braking does: the root is beyond it
            far = least if up else greatest
            far_end = end(far)
            if far_end == 0 or (far_end < 0) != up:
                return far
        for _ in range(_ROOT_STEPS):
            x = far - far_end * (far - near) / (far_end - near_end)
            x_end = end(x)
            # The value at the end that stays is halved: otherwise it could stay for ever, and steps become ever smaller
            if x_end * near_end >= 0:
                near, near_end, far_end = x, x_end, far_end / 2
            else:
                far, far_end, near_end = x, x_end, near_end / 2
            if x_end == 0 or abs(far - near) < _ROOT_WIDTH:
                break
        return near

    def stop(self, p: float, v: float, a: float) -> tuple[float, float, float]:
        """Return position, velocity and acceleration of a step that brakes."""
        return self._moved(p, v, self.jerk * brake(v / self.jerk, a / self.jerk, self.most))

    def enter(self, position: float) -> float:
        """Take a measured start, moved to the limit if it is beyond it by no more than sensors and end stops allow.

        That is a step at the largest speed, and a hundredth of the range at most: the first command jumps by as much.
        Raises `SpecError` where it is further outside.
        """
        low, high = self.range
        beyond = min(self.ceiling, _BEYOND * (high - low))
        if not low - beyond <= position <= high + beyond:
            raise SpecError(
                f"joint {self.name!r} starts at {position:g}",
                f"inside of [{low:g}, {high:g}], or beyond by no more than {beyond:.3g}",
                "move the robot inside of its limits by hand, or correct them",
            )
        return min(max(position, low), high)

    def stoppable(self, p: float, velocity: float) -> float:
        """Return the velocity, or the largest in its direction from which the joint can stop inside of its range."""
        velocity = min(max(velocity, self.floor), self.ceiling)
        if self.has_room(p, velocity, 0.0):
            return velocity
        possible, impossible = 0.0, velocity
        for _ in range(60):  # bisection, until no float lies between them
            middle = (possible + impossible) / 2
            possible, impossible = (middle, impossible) if self.has_room(p, middle, 0.0) else (possible, middle)
        return possible
