"""Averaging finished chunks where they overlap. These use nothing of the sampler, and wrap any chunk policy."""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights
from segue.strategies.weights import per_position


def _overlap(prefix: Prefix) -> Tensor:
    """Control steps that the previous chunk speaks about. Shape (batch, horizon)."""
    return torch.arange(prefix.horizon, device=prefix.known.device) < prefix.known[:, None]


def _mixed(prefix: Prefix, share: Tensor) -> Hooks:
    """Plain sampling; ``share`` of the new chunk, per control step (batch, horizon), the rest of the previous one."""
    of_new = per_position(share, prefix.stride)[..., None]
    return _blended(prefix, 1 - of_new, of_new)


def _blended(prefix: Prefix, of_old: Tensor, of_new: Tensor) -> Hooks:
    """Plain sampling, and a mixture of both chunks as the kinds of their dimensions have it."""
    return Hooks(no_weights(prefix), finish=lambda new: prefix.kinds.blend(prefix.reference, new, of_old, of_new))


@dataclass(frozen=True)
class TemporalEnsembling(Strategy):
    """Exponentially weighted mean of all predictions of a step, the oldest heaviest (ACT, arXiv 2304.13705).

    Prediction number i of a step (0 the oldest) has weight ``exp(-m i)``. In running form, after n votes:
    ``mean <- (W_n mean + exp(-m n) new) / W_{n+1}``, ``W_n = sum of exp(-m i) for i < n``.

    Attributes:
        decay: m. The paper's is 0.01.
    """

    decay: float = 0.01

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        n = torch.where(_overlap(prefix), prefix.votes, 0).to(prefix.reference.dtype)
        if self.decay == 0:
            earlier = n
        else:
            earlier = torch.expm1(-self.decay * n) / torch.expm1(torch.tensor(-self.decay, dtype=n.dtype))
        latest = torch.exp(-self.decay * n)
        return _mixed(prefix, latest / (earlier + latest))


@dataclass(frozen=True)
class WeightedBlend(Strategy):
    """Fixed mixture over the whole overlap, as LeRobot's asynchronous client does by default (0.3 old, 0.7 new).

    Attributes:
        new: Share of the new chunk.
    """

    new: float = 0.7

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        return _mixed(prefix, torch.where(_overlap(prefix), self.new, 1.0).to(prefix.reference.dtype))


@dataclass(frozen=True)
class CrossFade(Strategy):
    """Linear cross-fade from the old chunk to the new one after the committed part.

    Attributes:
        ramp: Steps of the fade; None fades over the whole overlap.
    """

    ramp: int | None = None

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        old = prefix.weights(self.ramp, "linear")[..., None]
        return _blended(prefix, old, 1 - old)


AVERAGES = (TemporalEnsembling, WeightedBlend, CrossFade)
"""All of them: strategies that use nothing of the sampler."""
