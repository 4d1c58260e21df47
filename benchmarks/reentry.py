"""How soon the limiter has a joint back where it is wanted, beside Ruckig, which is time-optimal.

Random limits, a start anywhere in motion or at rest, a target at rest. Ruckig (L. Berscheid and T. Kroeger, RSS 2021)
plans in continuous time and, in its free version, without limits of position; the limiter goes in control steps, and
keeps to the range. Control steps that it takes beyond Ruckig's duration, rounded up to whole steps; and what one costs.

    python benchmarks/reentry.py [--entries 2000] [--dt 0.01]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from ruckig import InputParameter, OutputParameter, Result, Ruckig, Trajectory

from segue.safety.limiter import Limiter
from segue.safety.limits import JointLimits

JOINTS, RANGE = 14, 2.0
SLOWEST = 20_000  # steps


@dataclass(frozen=True)
class Entry:
    """One joint that comes back."""

    velocity: float
    acceleration: float
    jerk: float
    start: float
    speed: float
    target: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Entry":
        """As arms have them: 0.5 to 4 rad/s, reached in 0.05 to 0.5 s, with a jerk that builds up as fast."""
        velocity = rng.uniform(0.5, 4.0)
        acceleration = velocity / rng.uniform(0.05, 0.5)
        jerk = acceleration / rng.uniform(0.02, 0.2)
        start, target = rng.uniform(-RANGE, RANGE, 2)
        speed = rng.uniform(-velocity, velocity) * (rng.random() < 0.5)
        return cls(velocity, acceleration, jerk, start, speed, target)


def ours(entry: Entry, dt: float) -> tuple[int, float]:
    """Steps until the joint is at its target and at rest, and the speed that it started with: it must be stoppable."""
    limits = JointLimits.uniform(
        ("joint",), [-RANGE], [RANGE], unit="rad",
        velocity=entry.velocity, acceleration=entry.acceleration, jerk=entry.jerk,
    )  # fmt: skip
    limiter = Limiter(limits, dt, [entry.start])
    limiter.restart([entry.start], [entry.speed])
    speed, target = float(limiter._now.velocities[0]) / dt, np.array([entry.target])
    for step in range(1, SLOWEST):
        if limiter.step(target)[0] == entry.target and limiter.at_rest:
            return step, speed
    raise SystemExit(f"not there after {SLOWEST} steps: {entry}")


def optimal(entry: Entry, speed: float) -> tuple[float, bool]:
    """Least duration [s], and whether Ruckig's way leaves the range."""
    given = InputParameter(1)
    given.current_position, given.current_velocity, given.current_acceleration = [entry.start], [speed], [0.0]
    given.target_position, given.target_velocity, given.target_acceleration = [entry.target], [0.0], [0.0]
    given.max_velocity, given.max_acceleration, given.max_jerk = [entry.velocity], [entry.acceleration], [entry.jerk]
    trajectory = Trajectory(1)
    if Ruckig(1).calculate(given, trajectory) != Result.Working:
        raise SystemExit(f"Ruckig refuses {entry}")
    (extrema,) = trajectory.position_extrema
    return trajectory.duration, extrema.min < -RANGE - 1e-9 or extrema.max > RANGE + 1e-9


def cost(prepare: Callable[[], Callable[[], object]], steps: int = 200, runs: int = 20) -> float:
    """CPU time of one step of all joints on their way [us], the least of some runs."""
    best = float("inf")
    for _ in range(runs):
        step = prepare()
        started = time.process_time_ns()
        for _ in range(steps):
            step()
        best = min(best, (time.process_time_ns() - started) / steps / 1000)
    return best


def limiter_step(dt: float) -> Callable[[], object]:
    """All joints on their way to a target two radians off."""
    limits = JointLimits.uniform(
        [f"joint {n}" for n in range(JOINTS)], [-RANGE] * JOINTS, [RANGE] * JOINTS, unit="rad",
        velocity=0.5, acceleration=5.0, jerk=50.0,
    )  # fmt: skip
    limiter, target = Limiter(limits, dt, [-1.0] * JOINTS), np.ones(JOINTS)
    return lambda: limiter.step(target)


def ruckig_step(dt: float) -> Callable[[], object]:
    """The same, with a target that is new in every step, as a policy's actions are."""
    online, given, said = Ruckig(JOINTS, dt), InputParameter(JOINTS), OutputParameter(JOINTS)
    given.current_position, given.target_position = [-1.0] * JOINTS, [1.0] * JOINTS
    given.max_velocity, given.max_acceleration, given.max_jerk = [0.5] * JOINTS, [5.0] * JOINTS, [50.0] * JOINTS
    given.minimum_duration = None

    def step() -> None:
        given.target_position = [value + 1e-6 for value in given.target_position]
        online.update(given, said)
        said.pass_to_input(given)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--dt", type=float, default=0.01, help="control period [s]")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    late, least, outside = [], [], []
    for _ in range(given.entries):
        entry = Entry.random(rng)
        steps, speed = ours(entry, given.dt)
        seconds, leaves = optimal(entry, speed)
        late.append(steps - ceil(seconds / given.dt))
        least.append(seconds / given.dt)
        outside.append(leaves)
    inside = np.array(late)[~np.array(outside)]
    print(f"{given.entries} re-entries at {1 / given.dt:g} Hz, {np.median(least):.0f} steps at least (median)")
    print("steps beyond the least, where Ruckig's way stays inside of the range:")
    quantiles = np.quantile(inside, (0, 0.5, 0.9, 0.99, 1)).astype(int).tolist()
    print("  least, median, 90 %, 99 %, most:", ", ".join(map(str, quantiles)))
    print(f"  relative to the least time: {np.sum(inside) / np.sum(np.array(least)[~np.array(outside)]):+.2%} in all")
    print(f"Ruckig's way leaves the range in {np.mean(outside):.1%} of all")
    print(f"one step, {JOINTS} joints on their way: limiter {cost(lambda: limiter_step(given.dt)):.0f} us, "
          f"Ruckig {cost(lambda: ruckig_step(given.dt)):.0f} us")  # fmt: skip


if __name__ == "__main__":
    main()
