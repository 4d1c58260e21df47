"""Samples chunks from a flow, and defines the path that policies are trained on; there is one of each.

A chunk starts from a source and flows straight to the actions. Per position, with weight w and flow time t:

    e = (1 - w) noise + w reference          source
    x = (1 - t) e + t A                      noisy actions
    v = A - e                                velocity

Every flow method is this sampler with its own weights and its own guide (`docs/derivations.md`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from segue.errors import SpecError


class Field(Protocol):
    """Velocity of the noisy actions (batch, horizon, action) at a flow time, for a fixed observation and weights."""

    def __call__(self, x: Tensor, t: float, /) -> Tensor:
        """Velocity, shape (batch, horizon, action)."""
        ...


@dataclass(frozen=True)
class Step:
    """One solver step, from flow time ``t`` to ``t + h``; the ``last`` one ends at 1."""

    t: float
    h: float
    last: bool


Guide = Callable[[Field, Tensor, Step], Tensor]
"""Velocity to follow at the noisy actions in a solver step: the field's, and what a strategy adds to it."""


def unguided(field: Field, x: Tensor, step: Step) -> Tensor:
    """The field as it is."""
    return field(x, step.t)


def source(noise: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
    """Mix the start of the flow, ``e = (1 - w) noise + w reference``. Shape (batch, horizon, action)."""
    w = weights[..., None]
    return (1 - w) * noise + w * reference


def interpolant(actions: Tensor, start: Tensor, t: Tensor) -> Tensor:
    """Noisy actions on the straight path, ``x = (1 - t) e + t A``, flow time of shape (batch,)."""
    t = t[:, None, None]
    return (1 - t) * start + t * actions


def estimate(x: Tensor, t: float, velocity: Tensor) -> Tensor:
    """Follow the velocity straight to flow time 1, ``Ahat = x + (1 - t) v``."""
    return x + (1 - t) * velocity


def integrate(field: Field, noise: Tensor, weights: Tensor, reference: Tensor, *, steps: int, guide: Guide) -> Tensor:
    """Sample a chunk with Euler steps from the source to the actions.

    Euler is exact where the path is straight, so that few steps are enough. Positions of weight 1 are the reference
    before and after every step.

    Args:
        field: The policy's velocity.
        noise: Standard normal, shape (batch, horizon, action).
        weights: Shape (batch, horizon), in [0, 1].
        reference: Shape (batch, horizon, action), policy units.
        steps: N, solver steps.
        guide: What the strategy makes of the field.

    Returns:
        Actions in policy units, shape (batch, horizon, action).
    """
    *_, x = solved(field, noise, weights, reference, steps=steps, guide=guide)
    return x


def solved(
    field: Field, noise: Tensor, weights: Tensor, reference: Tensor, *, steps: int, guide: Guide
) -> Iterator[Tensor]:
    """Do what `integrate` does, and yield the noisy actions after each solver step, the actions last."""
    if steps < 1:
        raise SpecError(got=f"{steps} denoising steps", expected="at least 1", change="raise the number of steps")
    kept = weights[..., None] >= 1
    x = source(noise, weights, reference)
    for k in range(steps):
        step = Step(t=k / steps, h=1 / steps, last=k == steps - 1)
        x = torch.where(kept, reference, x + step.h * guide(field, x, step))
        yield x
