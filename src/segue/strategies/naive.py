"""No continuation: every chunk is sampled as if it were the first.

Whether the first d actions of a late chunk are skipped or not is the plan's handover, not a property of the sampler.
"""

from dataclasses import dataclass

import torch
from typing_extensions import override

from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path


@dataclass(frozen=True)
class Naive(Strategy):
    """Plain flow sampling; the previous chunk is ignored."""

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        return Hooks(no_weights(prefix))


@dataclass(frozen=True)
class FlowMatching(Objective):
    """Plain flow matching (arXiv 2210.02747): w = 0, target ``A - noise`` at a uniform flow time."""

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        return on_path(batch, batch.actions, torch.zeros_like(batch.actions[..., 0]), noise, t)
