r"""FASTER: each position has a clock of its own, and what is executed first is finished first (arXiv 2603.19199).

    position     0 .. d-1        d                         H-1
    progress j   0               0 ....................... 1
    finished     committed       in the first solver step  in the last one

With the common flow time G, position i is at ``tau_i = min(1, G / (1 - u_i))``, ``u_i = u (1 - j_i^alpha)``. Networks
take such times as they take schedules, ``tau = t + w (1 - t)`` with ``t = G``; the weights change from step to step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import SpecError
from segue.strategies.flow import Field, Step
from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path
from segue.strategies.weights import per_position, random_delay, schedule


@dataclass(frozen=True)
class Clocked:
    """A base of both, never used alone: how far each position is, at a common flow time.

    Attributes:
        alpha: How quickly positions fall behind the first; small is at once.
        lead: u, how much the first free position is ahead. At ``(N - 1) / N`` it is finished in the first of N solver
            steps: the paper's 0.9 for 10, here 0.8 for the 5 of our policies. 0 is one time for all.
    """

    alpha: float = 0.6
    lead: float = 0.8

    def __post_init__(self) -> None:
        if not (0 < self.alpha <= 1 and 0 <= self.lead < 1):
            raise SpecError(
                f"alpha {self.alpha}, lead {self.lead}", "alpha in (0, 1], lead in [0, 1)", "use alpha=0.6:lead=0.8"
            )

    def times(self, t: Tensor, kept: Tensor) -> Tensor:
        """Flow time of each position, 1 where it is kept. t (batch,), kept (batch, positions), boolean, kept first."""
        d = kept.sum(1, keepdim=True)
        last = kept.shape[1] - 1
        behind = (torch.arange(last + 1, device=kept.device) - d).clamp(min=0).to(t.dtype)
        j = behind / (last - d).clamp(min=1)
        tau = t[:, None] / (1 - self.lead * (1 - j**self.alpha))
        return torch.where(kept | (tau > 1 - 1e-6), 1, tau)  # what rounding leaves of a last step is no step


def told(tau: Tensor, t: Tensor) -> Tensor:
    """Weights that put positions to their times, ``w = (tau - t) / (1 - t)``. tau (batch, positions), t (batch,)."""
    t = t[:, None]
    return torch.where(tau >= 1, 1, (tau - t) / (1 - t).clamp(min=torch.finfo(t.dtype).tiny))


@dataclass(frozen=True)
class FASTER(Clocked, Strategy):
    """Committed positions are the previous chunk's; the others are sampled by the clock."""

    def _at(self, t: float, prefix: Prefix) -> tuple[Tensor, Tensor]:
        """Times of the positions, and the common one as a tensor."""
        common = prefix.reference.new_full((len(prefix.reference),), t)
        return self.times(common, prefix.weights(0, "step") >= 1), common

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            now, _ = self._at(step.t, prefix)
            then, _ = self._at(1.0 if step.last else step.t + step.h, prefix)
            # the field leads to the estimate: 1 - now of the way is left, and then - now is gone in this step
            share = torch.where(now < 1, (then - now) / torch.where(now < 1, 1 - now, 1), 0)
            return share[..., None] * (1 - step.t) * field(x, step.t) / step.h

        return Hooks(
            told(*self._at(0.0, prefix)), guide=guide, clock=lambda t: told(*self._at(t, prefix)),
            finished=lambda steps: self.finished(prefix, steps),
        )  # fmt: skip

    def finished(self, prefix: Prefix, steps: int) -> Tensor:
        """Leading positions that no longer change after each of N solver steps. Integers (steps, batch)."""
        after = [self._at(1.0 if k == steps else k / steps, prefix)[0] >= 1 for k in range(1, steps + 1)]
        return torch.stack([done.long().cumprod(1).sum(1) for done in after])


@dataclass(frozen=True)
class FASTERObjective(Clocked, Objective):
    """Flow matching behind a clean prefix of random length, at the times of the clock or at one for all.

    Attributes:
        max_delay: Longest prefix [steps], lengths uniform. The paper's is 9.
        clocked: Share of the batch at the times of the clock. The paper's is 0.5.
    """

    max_delay: int = 12
    clocked: float = 0.5

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        d = random_delay(len(t), max_delay=self.max_delay, decay=0.0, generator=generator).to(t.device)
        hard = per_position(schedule(batch.horizon, d, torch.zeros_like(d), "step", dtype=t.dtype), batch.stride) >= 1
        by_clock = (torch.rand(len(t), generator=generator) < self.clocked).to(t.device)[:, None]
        w = torch.where(by_clock, told(self.times(t, hard), t), hard.to(t.dtype))
        return on_path(batch, batch.actions, w, noise, t)
