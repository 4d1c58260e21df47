"""The seam between a strategy's training and the loop: a batch of demonstrations becomes training pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from segue.strategies.flow import interpolant, source

FlowTime: TypeAlias = Callable[[int, torch.Generator, torch.dtype], Tensor]
"""A law of flow times for training: how many, and drawn from what. Shape (count,)."""


def uniform(count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Flow times from 0 to 1, all alike."""
    return torch.rand(count, generator=generator, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Demonstrated:
    """A batch of demonstrated chunks in policy units.

    Attributes:
        actions: Shape (batch, positions, dimension).
        valid: Shape (batch, positions): False beyond the end of the episode, where nothing was demonstrated.
        own: Shape (batch, positions, dimension): the policy's own chunk from a few steps earlier, at this chunk's
            positions, of several the nearest to ``actions``. Equal to ``actions`` where there is none.
        own_known: Shape (batch,), integer: control steps that ``own`` says something about; 0 without one.
        stride: Control steps per position; more than one for latent policies.
        flow_time: Law that the policy's network was trained with.
    """

    actions: Tensor
    valid: Tensor
    own: Tensor
    own_known: Tensor
    stride: int = 1
    flow_time: FlowTime = uniform

    @property
    def horizon(self) -> int:
        """H [control steps]."""
        return self.valid.shape[1] * self.stride


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """A batch of inputs of the network, and the outputs that it should learn.

    Attributes:
        x: Noisy actions, shape (batch, positions, dimension).
        t: Flow time, shape (batch,).
        w: Weights, shape (batch, positions).
        target: What the network should say, shape (batch, positions, dimension): the velocity for a flow policy, the
            noise for a diffusion policy, the chunk itself for a regression policy.
        mask: Shape (batch, positions): positions that count.
        charbonnier: c, for ``sqrt(error + c^2)`` beside each squared error; 0 for the squared error alone. Of flow
            policies, as ``keep`` is.
        keep: Weight of what the network changes at committed positions, against what it says with w = 0.
    """

    x: Tensor
    t: Tensor
    w: Tensor
    target: Tensor
    mask: Tensor
    charbonnier: float = 0.0
    keep: float = 0.0


class Objective(Protocol):
    """Draws the training pairs that a policy of a strategy learns from."""

    @property
    def own_chunks(self) -> int:
        """Own chunks of the policy that it wants at every observation (self-conditioning); 0 unless it says more."""
        return 0

    @property
    def own_elapsed(self) -> tuple[int, int] | None:
        """Fewest and most steps that an own chunk is old; None for what the training's settings say."""
        return None

    @property
    def adapter_rank(self) -> int:
        """Rank of the adapters that alone learn, beside weights that stay; 0 where all weights learn."""
        return 0

    @property
    def max_offset(self) -> int:
        """Most control steps that chunks begin after what is seen, which is then told the state commanded by then."""
        return 0

    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        """Draw noise, flow time and schedule for a batch."""
        ...


def draw(batch: Demonstrated, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw noise (batch, positions, dimension) and flow time (batch,)."""
    noise = torch.randn(batch.actions.shape, generator=generator, dtype=batch.actions.dtype)
    t = batch.flow_time(len(batch.actions), generator, batch.actions.dtype)
    return noise.to(batch.actions.device), t.to(batch.actions.device)


def on_path(batch: Demonstrated, reference: Tensor, w: Tensor, noise: Tensor, t: Tensor) -> TrainingPair:
    """Make the pair of the one path: ``x = (1 - t) e + t A``, target ``A - e``, loss where w < 1."""
    start = source(noise, w, reference)
    kept = w >= 1
    x = torch.where(kept[..., None], reference, interpolant(batch.actions, start, t))
    return TrainingPair(x, t, w, batch.actions - start, batch.valid & ~kept)
