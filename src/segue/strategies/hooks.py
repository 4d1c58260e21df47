"""The interface between a strategy and the sampler: it is given a prefix, and may decide three things.

Prefix -> strategy -> Hooks(weights, guide, finish)
           |             |        |      the finished chunk
           |             |        the velocity field
           |             where the flow starts, and what the network is told
           one paper

Two decisions more have a default that few change: another noise to start from (`start`), and weights that change on the
way (`clock`), with which positions may be finished before the last solver step (`finished`). A strategy that chooses
among several chunks is `Choosing`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from segue.core.dimensions import LINEAR, Dimensions
from segue.strategies.flow import Field, Guide, solved, unguided
from segue.strategies.weights import Shape, per_position, schedule


@dataclass(frozen=True, eq=False)
class Prefix:
    """Continuations of a batch in policy units (normalised, anchored to the current observation).

    Attributes:
        reference: Shape (batch, positions, dimension): the previous chunk at the new chunk's positions, the last action
            held beyond it.
        known: Shape (batch,), integer: control steps that the previous chunk says something about; 0 without one.
        delay: Shape (batch,), integer: committed control steps d.
        votes: Shape (batch, horizon), integer: chunks that have already spoken about a control step.
        stride: Control steps per position; more than one for latent policies.
        dt: Control period [s].
        kinds: What each dimension is, in the units of the reference. What is made of the reference and of another chunk
            is made with their arithmetic.
        draws: Chunks that are made for each observation. All observations stand in the batch once, then once more,
            and so on.
    """

    reference: Tensor
    known: Tensor
    delay: Tensor
    votes: Tensor
    stride: int = 1
    dt: float = 1.0
    kinds: Dimensions = LINEAR
    draws: int = 1

    @property
    def horizon(self) -> int:
        """H [control steps]."""
        return self.reference.shape[1] * self.stride

    @property
    def committed(self) -> Tensor:
        """Control steps that will have been executed from the previous chunk. Shape (batch,)."""
        return torch.minimum(self.delay, self.known)

    def weights(self, ramp: int | Tensor | None, shape: Shape) -> Tensor:
        """Schedule over committed part and ramp; ``None`` lets the ramp reach to the end of the overlap.

        The ramp is one number of steps, or one for each of the batch.

        Shape (batch, positions): the schedule is one of control steps, and its mean under each position.
        The ramp never reaches beyond the overlap (``d + r <= H - s``): there is nothing to hold on to.
        """
        overlap = self.known - self.committed
        length = overlap if ramp is None else overlap.clamp(max=ramp)
        steps = schedule(self.horizon, self.committed, length, shape, self.reference.dtype)
        return per_position(steps, self.stride)


def nothing_known(chunk: Tensor, stride: int = 1) -> Prefix:
    """Prefixes of first chunks, for chunks of this shape, (batch, positions, dimension)."""
    batch, positions, _ = chunk.shape
    none = torch.zeros(batch, dtype=torch.int64, device=chunk.device)
    votes = torch.zeros((batch, positions * stride), dtype=torch.int64, device=chunk.device)
    return Prefix(torch.zeros_like(chunk), known=none, delay=none, votes=votes, stride=stride)


def keep(actions: Tensor) -> Tensor:
    """Leave the finished chunk as it is."""
    return actions


def as_drawn(field: Field, noise: Tensor, steps: int) -> Tensor:
    """Start from the noise as it is drawn."""
    return noise


@dataclass(frozen=True, eq=False)
class Hooks:
    """The decisions of a strategy about one batch of chunks.

    Attributes:
        weights: Shape (batch, positions), in [0, 1].
        guide: Turns the velocity field into the velocity that is followed.
        finish: Changes the finished chunk, policy units, shape (batch, positions, dimension).
        start: Makes of the noise, given the field and the number of solver steps, what the source is mixed from.
        clock: Weights that the network is told at a flow time, shape (batch, positions); None for the same at any.
        finished: Given the number of solver steps, the leading positions that change no more after each of them,
            integers (steps, batch); None where all are finished by the last. Only where ``finish`` keeps them.
    """

    weights: Tensor
    guide: Guide = unguided
    finish: Callable[[Tensor], Tensor] = keep
    start: Callable[[Field, Tensor, int], Tensor] = as_drawn
    clock: Callable[[float], Tensor] | None = None
    finished: Callable[[int], Tensor] | None = None

    def told(self, t: float) -> Tensor:
        """Weights that the network is told at a flow time. Shape (batch, positions)."""
        return self.weights if self.clock is None else self.clock(t)


Unfolded: TypeAlias = Iterator[tuple[float, Tensor, Tensor]]
"""Chunks in the making, at last as they are finished: share of the solver steps that are done; positions of each chunk
that are finished, integers (batch,); the chunks, shape (batch, positions, dimension)."""


def unfolded(field: Field, hooks: Hooks, noise: Tensor, reference: Tensor, steps: int) -> Unfolded:
    """Sample chunks as a strategy has decided, and yield them whenever more leading positions are finished."""
    counts = None if hooks.finished is None else hooks.finished(steps)
    start, said, x = hooks.start(field, noise, steps), torch.zeros(1, device=noise.device), noise
    solver = solved(field, start, hooks.weights, reference, steps=steps, guide=hooks.guide)
    for k, x in enumerate(solver, start=1):
        if counts is not None and k < steps and bool((counts[k - 1] > said).any()):
            said = counts[k - 1]
            yield k / steps, said, x
    yield 1.0, *all_finished(hooks.finish(x))


def all_finished(chunk: Tensor) -> tuple[Tensor, Tensor]:
    """Put beside chunks that all of their positions are finished."""
    return torch.full((len(chunk),), chunk.shape[1], device=chunk.device), chunk


class Strategy(Protocol):
    """Decides how the previous chunk is continued."""

    def hooks(self, prefix: Prefix) -> Hooks:
        """Decide for a batch of prefixes."""
        ...


@runtime_checkable
class Choosing(Protocol):
    """A strategy for which several chunks are made per observation; its `Hooks.finish` leaves one of ``prefix.draws``.

    Attributes:
        draws: How many.
    """

    draws: int


def no_weights(prefix: Prefix) -> Tensor:
    """Leave all positions free. Shape (batch, positions)."""
    return torch.zeros_like(prefix.reference[..., 0])
