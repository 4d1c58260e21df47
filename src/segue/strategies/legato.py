r"""Legato: a flow policy that has learned to continue, under a schedule (arXiv 2602.12978), for any number of steps.

The flow starts from a mixture of noise and the previous chunk, and is pulled to the previous chunk on the way:

    e = (1 - w) noise + w reference
    x <- x + h v + gain w (reference - Ahat),   no pull at the last step

At gain 1 this is the published sampler, without the number of steps in the weights of the network
(`docs/derivations.md`); at gain 0 it is the plain flow from the mixed source. In training, the reference is the
demonstrated chunk, as published, or of several chunks that the policy itself made a few steps before, which is what it
will meet, the nearest to the demonstration (`segue.training.data.nearest`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.strategies.flow import Field, Step, estimate
from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path
from segue.strategies.weights import Shape, per_position, random_schedule, schedule


@dataclass(frozen=True)
class Legato(Strategy):
    """Schedule-conditioned continuation; delay, ramp, shape and gain are free at run time.

    Attributes:
        gain: Pull towards the previous chunk per solver step: 1 as published, 0 none.
        ramp: Steps over which the weight falls after the committed part; None takes the whole overlap.
        shape: Of the ramp.
        fade: How much of the remaining difference to the previous chunk is taken out of the finished chunk,
            ``A <- A + fade w (reference - A)``: 0 as published; 1 is a cross-fade with the weights of the schedule.

    Gain and fade copy the past: more gain keeps to the plan and reacts less, more fade takes out what is left at the
    seam and lags. A chunk that is made for the step at which it takes over, from carried noise, needs neither: a policy
    that was trained with the nearest of its own chunks as references keeps its plan at gain 0, and a lower noise scale
    makes it smoother (`segue.policies.noise`). `LegatoObjective` with ``own_share=0`` and ``Legato(gain=1)`` are as
    published.
    """

    gain: float = 0.0
    ramp: int | None = None
    shape: Shape = "linear"
    fade: float = 0.0

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        weights = prefix.weights(self.ramp, self.shape)
        w = weights[..., None]

        def off(actions: Tensor) -> Tensor:
            return prefix.kinds.difference(prefix.reference, actions)

        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            velocity = field(x, step.t)
            if step.last:
                return velocity
            # divided by h, so that one Euler step of length h takes out the whole share w of the difference
            return velocity + self.gain * w * off(estimate(x, step.t, velocity)) / step.h

        return Hooks(weights, guide=guide, finish=lambda new: prefix.kinds.add(new, self.fade * w * off(new)))


@dataclass(frozen=True)
class LegatoObjective(Objective):
    """Flow matching from the mixed source, under random schedules.

    Attributes:
        max_delay: Longest committed part [steps].
        max_ramp: Longest ramp [steps].
        hard_share: Share of schedules without a ramp, so that the hard prefix is well trained too.
        plain_share: Share of schedules that are zero everywhere: first chunks, and sampling without continuation. With
            a small share, learning to continue costs the plain policy what it could do (`docs/tuning.md`).
        own_share: Share of references that are the policy's own previous chunk (self-conditioning); 0 as published.
        candidates: Own chunks of which the nearest to the demonstration is the reference; 1 takes any.
        shape: Of the ramp.
    """

    max_delay: int = 12
    max_ramp: int = 24
    hard_share: float = 0.3
    plain_share: float = 0.5
    own_share: float = 1.0
    candidates: int = 4
    shape: Shape = "linear"

    @property
    @override
    def own_chunks(self) -> int:
        return self.candidates if self.own_share > 0 else 0

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        n, horizon = len(t), batch.horizon

        def chosen(share: float) -> Tensor:
            return (torch.rand(n, generator=generator) < share).to(t.device)

        own = chosen(self.own_share) & (batch.own_known > 0)
        reference = torch.where(own[:, None, None], batch.own, batch.actions)
        known = torch.where(own, batch.own_known, horizon)
        d, r = random_schedule(n, horizon, max_delay=self.max_delay, max_ramp=self.max_ramp, generator=generator)
        d = torch.minimum(d.to(t.device), known)
        r = torch.minimum(torch.where(chosen(self.hard_share), 0, r.to(t.device)), known - d)
        w = per_position(schedule(horizon, d, r, self.shape, dtype=t.dtype), batch.stride)
        w = torch.where(chosen(self.plain_share)[:, None], 0, w)
        return on_path(batch, reference, w, noise, t)
