r"""Coming to rest in discrete time: the law of braking, and how far it goes, in closed form.

Commands are sent once per control step, so velocity, acceleration and jerk are backward differences of them. In units
of the step and of the largest jerk, the state of one joint moves by

    a' = a + j,   |j| <= 1        v' = v + a'        p' = p + v'

Releasing an acceleration a as fast as the jerk allows, a - 1, a - 2, ... 0, adds to the velocity

    release(a) = (a - 1) + (a - 2) + ...          over the positive terms

and the largest deceleration that can still be released in time by a joint at velocity v is ``hold(v)``, the solution
of ``hold + release(hold) = v``. Braking decreases the acceleration by the whole jerk, not below -m (the acceleration
limit), and not below what can still be released:

    a' = max(a - 1, -m, -hold(v))

          a  |\
             | \            v is below zero never, at zero in the end: the last steps use up exactly what is left
           0 |--\--------------/--
             |   \            /
          -m |    \__________/
              K steps   M steps  the rest: a' = a + 1

That is the law for a joint which releasing the acceleration would leave moving upwards; otherwise it is mirrored. The
law is a function of the state, so that the braking path of the next state on a braking path is the rest of that path:
a state whose path keeps to the limits has a successor of the same kind. That is the whole safety argument.
"""

from math import ceil, floor, sqrt


def release(acceleration: float) -> float:
    """Return the velocity gained while an acceleration >= 0 is released by one unit of jerk per step."""
    n = ceil(acceleration) - 1
    return n * acceleration - n * (n + 1) / 2 if n > 0 else 0.0


def hold(velocity: float) -> float:
    """Return the largest deceleration at this velocity that can be released before the velocity is below zero.

    The inverse of ``a + release(a)``; zero for velocities below zero.
    """
    if velocity <= 1:
        return velocity if velocity > 0 else 0.0
    n = ceil((sqrt(1 + 8 * velocity) - 1) / 2)
    return velocity / n + (n - 1) / 2


def upwards(velocity: float, acceleration: float) -> bool:
    """Tell whether releasing the acceleration leaves the joint moving upwards, or at rest."""
    if acceleration > 0:
        return velocity + release(acceleration) >= 0
    return velocity - release(-acceleration) >= 0


def brake(velocity: float, acceleration: float, most: float) -> float:
    """Return the acceleration of the next step on the way to rest; ``most`` is the acceleration limit m."""
    if upwards(velocity, acceleration):
        return max(acceleration - 1, -most, -hold(velocity))
    return min(acceleration + 1, most, hold(-velocity))


def distance(velocity: float, acceleration: float, most: float) -> float:
    """Return where braking ends, relative to where it starts."""
    if upwards(velocity, acceleration):
        return _distance(velocity, acceleration, most)
    return -_distance(-velocity, -acceleration, most)


def _distance(v: float, a: float, most: float) -> float:
    """Add up the velocities v + (a - 1), v + (a - 1) + (a - 2), ... of a joint that brakes downwards.

    Step k + 1 of the K steps with the whole jerk is allowed while the deceleration b = k + 1 - a that it leads to can
    be released, ``b + release(b) <= v - (1 - a) - ... - (k - a)``. With ``c = ceil(-a) + 1`` and the fraction
    ``f = 2 - a - c`` in (0, 1], this is ``(k + 1 - a)^2 <= v + (1 - a)^2 - c f - c (c - 1) / 2``.
    """
    # Steps with the whole jerk, until the limit is met or what is left has to be released
    c = ceil(-a) + 1
    square = v + (1 - a) * (1 - a) - c * (2 - a - c) - c * (c - 1) / 2
    steps = floor(sqrt(square) + a) if square > 0 else 0
    most_steps = floor(most + a)
    steps = max(0, min(max(steps, floor(a)), most_steps))
    moved = steps * v + (steps + 1) * steps * (a / 2 - (steps + 2) / 6)
    v += steps * (a - (steps + 1) / 2)
    if steps >= most_steps:
        spare = v - most - release(most)  # steps at the limit, as long as it can still be released behind them
        if spare >= 0:
            steps = floor(spare / most) + 1
            moved += steps * (v - most * (steps + 1) / 2)
            v -= steps * most
    if v <= 1:
        return moved
    n = ceil((sqrt(1 + 8 * v) - 1) / 2)  # as in `hold`, whose deceleration falls by one per step to the end
    return moved + n * (n - 1) / 2 * (v / n + (n - 1) / 2 - (2 * n - 1) / 3)


def lowest(velocity: float, acceleration: float, most: float) -> float:
    """Return the lowest point of the braking path, relative to where it starts; <= 0."""
    if not upwards(velocity, acceleration):
        return min(-_distance(-velocity, -acceleration, most), 0.0)
    if velocity >= 0:
        return 0.0
    half = acceleration - 0.5
    n = max(ceil(half - sqrt(max(half * half + 2 * velocity, 0.0))) - 1, 0)  # steps in which it still goes down
    return n * velocity + n * (n + 1) * (acceleration / 2 - (n + 2) / 6)


def highest(velocity: float, acceleration: float, most: float) -> float:
    """Return the highest point of the braking path, relative to where it starts; >= 0."""
    return -lowest(-velocity, -acceleration, most)
