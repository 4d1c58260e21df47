"""Resamples demonstrations to a lower rate, and chunks of the lower rate to actions of the higher one.

high rate   step      0   1   2   3 | 4   5   6   7 | 8 ...          factor = 4
low rate    period          0       |       1       | ...
observation           o0              o4                             seen at the start of a period
target                            a3              a7                 in force at the end of it
displacement          a0+a1+a2+a3     a4+a5+a6+a7                    what it adds up to
velocity            the mean of the steps
binary              the value that differs from the period before, if it occurs: a short close is not lost

back        knots -1              3               7                  -1: the action in force before the chunk
                      held:   a3 a3 a3 a3     a7 a7 a7 a7
                      linear and cubic pass through the knots; every step lies between two of them
            angles and rotations go the shorter way round; binary dimensions are held
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import LINEAR, Dimensions
from segue.data.episodes import Episodes
from segue.data.origin import joined
from segue.data.pictures import together
from segue.errors import DataError, MissingExtraError

Real = NDArray[np.floating]
Float = NDArray[np.float32]
Interpolation = Callable[[NDArray[np.float64], int], NDArray[np.float64]]
"""From knots (..., 1 + periods, action), the first one before the chunk, and the factor, to the path
(..., periods * factor, action) over the steps of the chunk."""


def at_low_rate(actions: Real, factor: int, kinds: Dimensions = LINEAR) -> Float:
    """Reduce actions to whole periods; steps after the last whole period are left out.

    Args:
        actions: Shape (..., steps, action), high rate.
        factor: Steps per period.
        kinds: What each dimension is. Of a displacement per step a period covers what its steps add up to, in the same
            unit; of a velocity it is the mean. Of a binary dimension it is the value that differs from the one of the
            period before, if it occurs at all. The others command a target, of which the one in force at the end of
            the period is taken.

    Returns:
        Shape (..., steps // factor, action).
    """
    periods = actions.shape[-2] // factor
    steps = actions[..., : periods * factor, :].reshape(*actions.shape[:-2], periods, factor, actions.shape[-1])
    low = np.array(steps[..., -1, :], np.float32)
    columns = list(kinds.moves)
    low[..., columns] = steps[..., columns].sum(-2)
    low[..., list(kinds.named("velocity"))] /= factor
    for index in kinds.named("binary"):
        low[..., index] = _switched(np.asarray(steps[..., index], np.float32))
    return low


def _switched(steps: Float) -> Float:
    """The value of each period of a binary dimension. (..., periods, factor) -> (..., periods)."""
    values = np.array(steps[..., -1])
    before = steps[..., :1, 0][..., 0] if steps.shape[-2] else values
    for period in range(steps.shape[-2]):
        now = steps[..., period, :]
        other = now != before[..., None]
        last = now.shape[-1] - 1 - np.argmax(other[..., ::-1], axis=-1)
        found = np.take_along_axis(now, last[..., None], axis=-1)[..., 0]
        before = values[..., period] = np.where(other.any(-1), found, before)
    return values


def subsample(episodes: Episodes, factor: int, *, phase: int = 0, kinds: Dimensions | None = None) -> Episodes:
    """Demonstrations as they would have been recorded at a rate that is ``factor`` times lower.

    Observations are those at the start of each period. At most ``factor - 1`` frames at the end of an episode make no
    whole period and are left out: completing them would teach a stop that nobody demonstrated. Episodes without a
    whole period are left out.

    Args:
        episodes: Demonstrations.
        factor: Steps per period, at least 1.
        phase: Frame of each episode at which its first period starts, in [0, factor).
        kinds: See `at_low_rate`; those of the demonstrations if not given.

    Raises:
        DataError: Factor or phase out of range, or no episode has a whole period.
    """
    if factor < 1 or not 0 <= phase < factor:
        raise DataError(
            got=f"factor {factor} and phase {phase}",
            expected="a factor of at least 1 and a phase below it",
            change="give whole numbers, such as factor 4 from 100 to 25 Hz",
        )
    rows, actions, lengths = [], [], []
    for start, end in zip(episodes.starts + phase, episodes.ends, strict=True):
        periods = max(int(end - start), 0) // factor
        if periods:
            frames = np.arange(start, start + periods * factor)
            rows.append(frames[::factor])
            actions.append(
                at_low_rate(episodes.action[frames], factor, episodes.action_kinds if kinds is None else kinds)
            )
            lengths.append(periods)
    if not lengths:
        raise DataError(
            got=f"no episode of at least {phase + factor} frames",
            expected="one whole period at the low rate",
            change="lower the factor",
        )
    return replace(episodes.cut(np.concatenate(rows), lengths, np.concatenate(actions)), dt=episodes.dt * factor)


def every_phase(episodes: Episodes, factor: int, *, kinds: Dimensions | None = None) -> Episodes:
    """All ``factor`` subsamplings of the demonstrations, one after the other.

    A policy of the low rate then learns from as many observations as one of the high rate, and from observations at
    any step, which is where it is asked.
    """
    longest = int(np.diff(episodes.ends, prepend=0).max())
    phases = [phase for phase in range(factor) if phase == 0 or longest >= phase + factor]
    parts = [subsample(episodes, factor, phase=phase, kinds=kinds) for phase in phases]
    return replace(
        parts[0],
        observation=np.concatenate([part.observation for part in parts]),
        action=np.concatenate([part.action for part in parts]),
        ends=np.concatenate([part.ends + sum(p.frames for p in parts[:i]) for i, part in enumerate(parts)]),
        pictures={name: together([part.pictures[name] for part in parts]) for name in episodes.pictures},
        instructions=joined([part.instructions for part in parts]),
    )


def held(knots: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Each period's target for the whole period."""
    return np.repeat(knots[..., 1:, :], factor, axis=-2)


def linear(knots: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Straight from knot to knot: exact on ramps."""
    share = (np.arange(factor) + 1)[:, None] / factor
    before, after = knots[..., :-1, None, :], knots[..., 1:, None, :]
    path = before + share * (after - before)
    return path.reshape(*knots.shape[:-2], -1, knots.shape[-1])


def cubic(knots: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Cubic spline through the knots with not-a-knot ends: exact on cubics from four knots on.

    Fewer knots determine a parabola or a straight line.
    """
    try:
        from scipy.interpolate import CubicSpline
    except ImportError as error:
        raise MissingExtraError("scipy", "sim", "cubic interpolation of a chunk") from error
    periods = knots.shape[-2] - 1
    spline = CubicSpline(np.arange(periods + 1), knots, axis=-2)
    return spline((np.arange(periods * factor) + 1) / factor)


def at_high_rate(
    chunk: Real, factor: int, interpolation: Interpolation, *, previous: Real | None = None, kinds: Dimensions = LINEAR
) -> Float:
    """Expand a chunk of the low rate to actions of the high rate.

    Targets are interpolated from the action in force before the chunk on, so that the first period is no exception
    and nothing is repeated at the end. Displacements are interpolated as the path that they add up to, which keeps
    their sum over every period; a held displacement is a held velocity, the same as a straight path.

    Args:
        chunk: Shape (..., periods, action), low rate.
        factor: Steps per period.
        interpolation: `held`, `linear` or `cubic`.
        previous: Shape (..., action): the action in force in the step before the chunk. None where there was none:
            the first period then holds the chunk's own first target (linear), or eases out of it (cubic).
        kinds: What each dimension is, see `at_low_rate`.

    Returns:
        Shape (..., periods * factor, action).
    """
    chunk = np.asarray(chunk, np.float64)
    first = chunk[..., 0, :] if previous is None else np.asarray(previous, np.float64)
    knots = kinds.continuous(np.concatenate([first[..., None, :], chunk], axis=-2))
    actions = interpolation(knots, factor)
    if kinds.steps:
        actions = kinds.stepped(actions, held(knots, factor))
    actions = kinds.proper(actions)
    columns = list(kinds.moves)
    if columns:
        path = np.cumsum(chunk[..., columns], axis=-2)
        start = np.zeros_like(path[..., :1, :])
        through = linear if interpolation is held else interpolation
        walked = through(np.concatenate([start, path], axis=-2), factor)
        actions[..., columns] = np.diff(walked, axis=-2, prepend=start)
        actions[..., list(kinds.named("velocity"))] *= factor
    return actions.astype(np.float32)
