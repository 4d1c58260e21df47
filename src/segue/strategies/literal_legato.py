"""Legato as published (arXiv 2602.12978, algorithm 1): the reference to compare `legato` with.

The network learns a reshaped field whose target has the number of solver steps N in it,

    f = [1 - w N (1 - t)] (A - noise)

and the sampler blends the noisy actions with the reference before every Euler step: ``Y = (1 - w) X + w reference``,
``X <- Y + h f``. Written for Y, the blend is the pull ``w (reference - Y - h f)``, none at the last step. N at run time
must be the N of training. (The public Kinetix code has a plus sign in the target; only the minus reproduces the data,
see `docs/derivations.md`.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import SpecError
from segue.strategies.flow import Field, Step
from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path
from segue.strategies.weights import Shape, per_position, random_schedule, schedule


def literal_target(actions: Tensor, noise: Tensor, w: Tensor, t: Tensor, steps: int) -> Tensor:
    """``[1 - w N (1 - t)] (A - noise)`` (arXiv 2602.12978, eq. 14). Shape (batch, horizon, action)."""
    return (1 - w * steps * (1 - t[:, None]))[..., None] * (actions - noise)


@dataclass(frozen=True)
class LiteralLegato(Strategy):
    """Starts from the mixed source, and blends with the reference after every solver step but the last.

    Attributes:
        steps: N that the policy was trained for.
        ramp: Steps over which the weight falls; None takes the whole overlap.
        shape: Of the ramp.

    Raises:
        SpecError: At the first solver step, if N is not the N of training.
    """

    steps: int
    ramp: int | None = None
    shape: Shape = "linear"

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        weights = prefix.weights(self.ramp, self.shape)
        w = weights[..., None]

        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            if round(1 / step.h) != self.steps:
                raise SpecError(
                    got=f"{round(1 / step.h)} denoising steps",
                    expected=f"{self.steps}, the number that this literal Legato policy was trained for",
                    change="sample with that many steps, or train a `legato` policy, which takes any number",
                )
            f = field(x, step.t)
            return f if step.last else f + w * prefix.kinds.difference(prefix.reference, x + step.h * f) / step.h

        return Hooks(weights, guide=guide)


@dataclass(frozen=True)
class LiteralLegatoObjective(Objective):
    """The reshaped target, with the demonstrated chunk as reference.

    Attributes:
        steps: N, stored with the policy.
        max_delay: Longest committed part [steps].
        max_ramp: Longest ramp [steps].
        shape: Of the ramp.
    """

    steps: int = 5
    max_delay: int = 12
    max_ramp: int = 24
    shape: Shape = "linear"

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        n, horizon = len(t), batch.horizon
        d, r = random_schedule(n, horizon, max_delay=self.max_delay, max_ramp=self.max_ramp, generator=generator)
        w = per_position(schedule(horizon, d.to(t.device), r.to(t.device), self.shape, dtype=t.dtype), batch.stride)
        pair = on_path(batch, batch.actions, w, noise, t)
        return TrainingPair(pair.x, t, w, literal_target(batch.actions, noise, w, t, self.steps), pair.mask)
