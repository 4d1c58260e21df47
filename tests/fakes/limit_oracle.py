"""What a sequence of commands does, judged by nothing but the commands, and wanted actions that make it hard."""

from collections.abc import Iterator
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import Dimensions, Kind
from segue.safety.limits import JointLimits

RELATIVE = 1e-9


def names(joints: int) -> tuple[str, ...]:
    return tuple(f"joint {index}" for index in range(joints))


def moving(limits: JointLimits) -> NDArray[np.bool_]:
    """Which dimensions are at rest at zero. (joints,)"""
    return np.isin(np.arange(len(limits.names)), limits.kinds.moves)


def excess(commands: NDArray, limits: JointLimits, dt: float) -> dict[str, float]:
    """By how much commands [ticks, joints] exceed the limits, relative to them; the first three are what was before.

    Differences of doubles have the rounding of the doubles, which is no violation: one unit in the last place of the
    largest command for every command that a difference is made of, counted with its weight.
    """
    rounding = np.spacing(np.maximum(np.abs(limits.low), np.abs(limits.high)))
    worst = {
        "position": float(
            np.max([limits.low - commands[3:], commands[3:] - limits.high])
            / np.max(np.subtract(limits.high, limits.low))
        )
    }
    moves = moving(limits)
    ticks = len(commands) - 3
    for order, name in enumerate(("velocity", "acceleration", "jerk"), start=1):
        most = np.array(getattr(limits, name)) * dt**order
        # A displacement is a velocity already.
        moved = np.where(
            moves, np.diff(commands, order - 1, axis=0)[-ticks:], np.diff(commands, order, axis=0)[-ticks:]
        )
        finite = np.isfinite(most)
        beyond = np.abs(moved) - 2**order * rounding - most
        worst[name] = float(np.max(beyond[:, finite] / most[finite], initial=-inf))
    return worst


def assert_inside(commands: NDArray, limits: JointLimits, dt: float, before: NDArray) -> None:
    """Commands [ticks, joints] that continue three earlier ones [3, joints] keep to all limits."""
    assert np.isfinite(commands).all()
    worst = excess(np.concatenate([before, commands]), limits, dt)
    assert all(value <= RELATIVE for value in worst.values()), worst


def at_rest(start: NDArray, limits: JointLimits) -> NDArray:
    """Three commands [3, joints] of a robot that rests; displacements are zero."""
    return np.repeat(np.where(moving(limits), 0.0, start)[None], 3, axis=0)


def random_limits(rng: np.random.Generator, joints: int, displacements: float = 0.2) -> tuple[JointLimits, float]:
    """Limits from crawling to unlimited, and a control period [s]."""

    def spread(lowest: float, highest: float) -> NDArray:
        return 10 ** rng.uniform(lowest, highest, joints)

    def some_unlimited(values: NDArray) -> tuple[float, ...]:
        return tuple(np.where(rng.random(joints) < 0.15, inf, values).tolist())

    moves = rng.random(joints) < displacements
    low = np.where(moves, -spread(-3, 0), rng.uniform(-6, 3, joints))
    high = np.where(moves, spread(-3, 0), low + spread(-1.5, 0.8))
    limits = JointLimits(
        names=names(joints),
        units=("rad",) * joints,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        velocity=some_unlimited(spread(-1.3, 1.3)),
        acceleration=some_unlimited(spread(-0.5, 2)),
        jerk=some_unlimited(spread(-0.3, 3.7)),
        kinds=Dimensions(tuple(Kind("displacement") if each else Kind() for each in moves)),
    )
    return limits, float(rng.choice([0.001, 0.005, 0.02, 0.1]))


def wild(rng: np.random.Generator, limits: JointLimits, dt: float, ticks: int) -> Iterator[list[float]]:
    """Wanted actions [joints] that change their nature: jumps, swings, ends of the range, nonsense, standstill."""
    low, high = np.array(limits.low), np.array(limits.high)
    wanted = (low + high) / 2
    for _ in range(ceil(ticks / 20)):
        kind = rng.integers(6)
        swing, rate, phase = 10 ** rng.uniform(-2, 0.5), 10 ** rng.uniform(-1, 1.5), rng.uniform(0, 6, len(low))
        base, huge = wanted, 10 ** rng.uniform(-1, 300)
        for tick in range(20):
            if kind == 0:
                wanted = rng.uniform(low, high)
            elif kind == 1:
                wanted = base + swing * (high - low) * np.sin(phase + 6 * rate * tick * dt)
            elif kind == 2:
                wanted = np.where(rng.random(len(low)) < 0.5, low, high)
            elif kind == 3:
                wanted = rng.choice([-huge, huge], len(low))
            elif kind == 4:
                wanted = wanted + swing * dt
            yield wanted.tolist()
        wanted = np.clip(wanted, low, high)
