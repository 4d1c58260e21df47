"""Chunks beside the actions of demonstrations that were held out: how far off, and how rough.

    held-out episode    o0 a0  o1 a1  o2 a2  ...
    chunk at step t     A[0] A[1] ... A[H-1]        predicted from o[t]
    compared with       a[t] a[t+1] ... a[t+H-1]

Predictions never reach a robot, so that every policy is asked at the same observations. All measures are taken on
actions of one rate, in physical units, per group of dimensions that have the same unit. They are those of
arXiv 2605.24931, section 5, with differences: angles are unwrapped instead of cutting off the largest per cent,
rotations have an error of their own, and a difference per step is also given per second.
"""

from dataclasses import dataclass

import numpy as np
import torch

from segue.core.chunk import Array as Actions
from segue.core.chunk import Continuation
from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import stacked
from segue.core.smoothness import Array, Real
from segue.data.episodes import Episodes
from segue.data.resample import Interpolation, at_high_rate, at_low_rate
from segue.errors import DataError
from segue.lab.tasks.task import Group
from segue.policies.chunk_policy import BatchChunkPolicy


def deviation(predicted: Real, actual: Real, group: Group) -> float:
    """Mean absolute error over chunks, steps and dimensions [unit of the group].

    An angle is off by the shorter way round; a quaternion is compared with the nearer of the two that mean the same.

    Args:
        predicted: Shape (chunks, steps, action), robot units.
        actual: Same shape.
        group: What is compared.
    """
    one, other = group.of(predicted), group.of(actual)
    return float(np.mean(np.abs(group.kinds.difference(one, other))))


def geodesic(predicted: Real, actual: Real, group: Group) -> float:
    """Mean angle of the rotation between prediction and truth [rad]; NaN for a group that is no rotation."""
    if group.kind == "rotation-6d":
        distance = np.linalg.norm(
            rotation_matrix(group.of(predicted)) - rotation_matrix(group.of(actual)), axis=(-2, -1)
        )
        # |R - Q| = 2 sqrt(2) sin(angle / 2)
        return float(np.mean(2 * np.arcsin(np.clip(distance / np.sqrt(8), 0, 1))))
    if group.kind == "quaternion":
        one, other = (q / np.linalg.norm(q, axis=-1, keepdims=True) for q in (group.of(predicted), group.of(actual)))
        distance = np.minimum(np.linalg.norm(one - other, axis=-1), np.linalg.norm(one + other, axis=-1))
        # |p - q| = 2 sin(angle / 4)
        return float(np.mean(4 * np.arcsin(np.clip(distance / 2, 0, 1))))
    return float("nan")


def rotation_matrix(columns: Real) -> Array:
    """Rotation from its first two columns (arXiv 1812.07035), orthonormal or not. (..., 6) -> (..., 3, 3)."""
    first, second = columns[..., :3], columns[..., 3:]
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    second = second - np.sum(x * second, axis=-1, keepdims=True) * x
    y = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def roughness(chunks: Real, group: Group, order: int, dt: float = 1.0) -> float:
    """Mean norm of a finite difference within chunks (arXiv 2605.24931, equations 1 and 2).

    Args:
        chunks: Shape (chunks, steps, action), robot units.
        group: What is measured. Angles are unwrapped, quaternions made continuous.
        order: 2 for acceleration, 3 for jerk.
        dt: Control period [s], for a value per s^order; 1 for one per step^order, which is what the paper prints.

    Returns:
        NaN when chunks have no more steps than the order.
    """
    path = group.of(chunks)
    if path.shape[-2] <= order:
        return float("nan")
    path = group.kinds.continuous(path)
    return float(np.mean(np.linalg.norm(np.diff(path, n=order, axis=-2), axis=-1))) / dt**order


def measures(predicted: Real, actual: Real, group: Group, dt: float) -> dict[str, float]:
    """Every measure of predictions in one group; see `deviation`, `geodesic` and `roughness`."""
    return {
        "deviation": deviation(predicted, actual, group),
        "geodesic": geodesic(predicted, actual, group),
        "acceleration_step": roughness(predicted, group, 2),
        "jerk_step": roughness(predicted, group, 3),
        "acceleration": roughness(predicted, group, 2, dt),
        "jerk": roughness(predicted, group, 3, dt),
    }


@dataclass(frozen=True, eq=False)
class Walk:
    """Chunks along held-out episodes.

    Attributes:
        predicted: Shape (chunks, horizon, action), robot units.
        actual: Same shape: what was demonstrated.
        seams: Shape (seams, 4, action): the last two actions of a chunk before the next takes over d steps late, and
            the first two of that one.
    """

    predicted: Array
    actual: Array
    seams: Array


@dataclass(frozen=True, eq=False)
class Demonstrated:
    """Chunks as they were demonstrated, in the order of `walk`.

    Attributes:
        chunks: Shape (chunks, horizon, action), robot units.
        previous: Shape (chunks, action): the action in the step before, at the start of an episode the first one.
    """

    chunks: Array
    previous: Array


def demonstrated(episodes: Episodes, horizon: int, every: int) -> Demonstrated:
    """All whole demonstrated chunks that start ``every`` steps apart.

    Raises:
        DataError: No episode is as long as a chunk.
    """
    parts = list(episodes)
    longest = max(part.frames for part in parts)
    starts = [
        (part, step)
        for step in range(0, longest - horizon + 1, every)
        for part in parts
        if step + horizon <= part.frames
    ]
    if not starts:
        raise DataError(
            got=f"no held-out episode of {horizon} steps",
            expected="at least one as long as a chunk",
            change="hold out other episodes, or use a shorter horizon",
        )
    return Demonstrated(
        np.array([part.action[step : step + horizon] for part, step in starts], np.float64),
        np.array([part.action[max(step - 1, 0)] for part, step in starts], np.float64),
    )


def walk(
    policy: BatchChunkPolicy, episodes: Episodes, horizon: int, execution_horizon: int, delay: int, seed: int = 0
) -> Walk:
    """Ask for a chunk every s steps of each episode, as long as whole chunks lie within it.

    Each chunk is told the one before as its prefix, and the demonstrated action as the last executed one.

    Args:
        policy: What is measured.
        episodes: Demonstrations that it was not trained on.
        horizon: H.
        execution_horizon: s.
        delay: d.
        seed: Of the policy's noise; each episode has its own.

    Raises:
        DataError: No episode is as long as a chunk.
    """
    actual = demonstrated(episodes, horizon, execution_horizon).chunks
    parts = list(episodes)
    generators = [torch.Generator().manual_seed(seed * len(parts) + i) for i in range(len(parts))]
    last: dict[int, Actions] = {}
    predicted, seams = [], []
    for step in range(0, max(part.frames for part in parts) - horizon + 1, execution_horizon):
        here = [i for i, part in enumerate(parts) if step + horizon <= part.frames]
        asked = []
        for i in here:
            prefix = last[i][execution_horizon:] if i in last else parts[i].action[:0]
            executed = parts[i].action[step - 1] if step else None
            votes = np.ones(len(prefix), np.int64)
            known = min(delay, len(prefix))
            asked.append(Continuation(step, prefix, known, execution_horizon, votes, previous=executed))
        observations = stacked([parts[i].observed(step) for i in here])
        chunks = policy.next_chunks(observations, asked, [generators[i] for i in here])
        takeover = execution_horizon + delay
        for i, chunk in zip(here, chunks, strict=True):
            predicted.append(chunk)
            if i in last and 2 <= takeover <= horizon and delay + 2 <= horizon:
                seams.append(np.concatenate([last[i][takeover - 2 : takeover], chunk[delay : delay + 2]]))
            last[i] = chunk
    joints = np.array(seams, np.float64).reshape(-1, 4, actual.shape[2])
    return Walk(np.array(predicted, np.float64), actual, joints)


def noisy(truth: Demonstrated, scale: Real, seed: int) -> Array:
    """The truth with white noise on every number: what a policy of the high rate with that error would predict.

    Args:
        truth: Demonstrated chunks.
        scale: Standard deviation of the noise, shape (action,), robot units.
        seed: Of the noise.

    Returns:
        Shape (chunks, horizon, action).
    """
    return truth.chunks + np.random.default_rng(seed).normal(size=truth.chunks.shape) * scale


def noisy_knots(
    truth: Demonstrated, scale: Real, factor: int, interpolation: Interpolation, seed: int, kinds: Dimensions = LINEAR
) -> Real:
    """The truth at the low rate with white noise on every knot, back at the high rate.

    The control for comparisons across rates: the noise per predicted number is that of `noisy`, so that whatever
    these chunks are smoother by is the doing of the interpolation and the metric, and nothing that a policy learned.
    Third differences of white noise have the mean square ``20 sigma^2`` per dimension; interpolated linearly by a
    factor of 3 or more they have ``12 sigma^2 / factor^3``, for the same error at every knot. The displacement of a
    period has the noise of its steps added up, so that the path is off by as much at every knot as at the high rate.
    A scale of zero leaves what the low rate alone costs.

    Args:
        truth: Demonstrated chunks, their horizon a multiple of the factor.
        scale: Standard deviation of the noise, shape (action,), robot units.
        factor: High over low rate.
        interpolation: How the knots are connected.
        seed: Of the noise.
        kinds: What each action dimension is.

    Returns:
        Shape (chunks, horizon, action).
    """
    knots = Demonstrated(at_low_rate(truth.chunks, factor, kinds).astype(np.float64), truth.previous)
    scale = np.array(scale, np.float64)
    scale[list(kinds.named("displacement"))] *= np.sqrt(factor)
    return at_high_rate(noisy(knots, scale, seed), factor, interpolation, previous=truth.previous, kinds=kinds)
