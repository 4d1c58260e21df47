"""Oracles of the continuation tests: prefixes, and the exact posterior of Gaussian data."""

import torch
from torch import Tensor

from segue.strategies.hooks import Hooks, Prefix


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Repeatable standard normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prefix(reference: Tensor, known: int, delay: int) -> Prefix:
    """One prefix for the whole batch."""
    batch, horizon, _ = reference.shape
    votes = (torch.arange(horizon) < known).long().expand(batch, horizon)
    return Prefix(reference, torch.full((batch,), known), torch.full((batch,), delay), votes)


class Gaussian:
    """Chunks with independent elements ``A ~ N(mean, spread^2)``; the exact velocity for a given schedule.

    With weights w and reference r the source is ``e = (1 - w) noise + w r``. Trained with the data itself as reference,
    the noisy actions are ``x = tau A + (1 - tau) noise`` with ``tau = t + w (1 - t)``, so that
    ``E[A | x] = mean + tau s^2 (x - tau mean) / (tau^2 s^2 + (1 - tau)^2)``, and
    ``E[A - e | x] = (E[A | x] - x) / (1 - t)``.
    """

    def __init__(self, mean: Tensor, spread: float) -> None:
        self.mean, self.spread = mean, spread

    def actions(self, x: Tensor, t: float, w: Tensor) -> Tensor:
        """``E[A | x]``."""
        tau = (t + w * (1 - t))[..., None]
        variance = self.spread**2
        return self.mean + tau * variance * (x - tau * self.mean) / (tau**2 * variance + (1 - tau) ** 2)

    def velocity(self, x: Tensor, t: float, hooks: Hooks) -> Tensor:
        """``E[A - e | x]``."""
        return (self.actions(x, t, hooks.weights) - x) / (1 - t)

    def literal(self, x: Tensor, t: float, hooks: Hooks, steps: int) -> Tensor:
        """``(1 - w N (1 - t)) E[A - noise | x]``, the field that literal Legato learns."""
        w = hooks.weights[..., None]
        tau = t + w * (1 - t)
        to_noise = (self.actions(x, t, hooks.weights) - x) / (1 - tau).clamp(min=1e-300)
        return (1 - w * steps * (1 - t)) * to_noise
