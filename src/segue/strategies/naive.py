"""No continuation: every chunk is sampled as if it were the first.

Whether the first d actions of a late chunk are skipped or not is the plan's handover, not a property of the sampler.
"""

from dataclasses import dataclass

import torch

from segue.strategies.hooks import Hooks, Prefix, no_weights
from segue.strategies.objective import Demonstrated, TrainingPair, draw, on_path


@dataclass(frozen=True)
class Naive:
    """Plain flow sampling; the previous chunk is ignored."""

    def hooks(self, prefix: Prefix) -> Hooks:
        """Zero weights, no guidance."""
        return Hooks(no_weights(prefix))


@dataclass(frozen=True)
class FlowMatching:
    """Plain flow matching (arXiv 2210.02747): w = 0, from noise straight to the demonstrated chunk."""

    @property
    def own_chunks(self) -> int:
        """No references at all."""
        return 0

    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        """Target ``A - noise`` at a uniform flow time."""
        noise, t = draw(batch, generator)
        return on_path(batch, batch.actions, torch.zeros_like(batch.actions[..., 0]), noise, t)
