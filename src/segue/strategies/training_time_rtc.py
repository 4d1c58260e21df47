"""Training-time RTC: the policy learns to go on from a clean prefix (arXiv 2512.05964).

Training hides noise from the first d positions, d random, and takes no loss there; at run time the committed actions
are put in their place. The weights are 0 or 1, with nothing in between.
"""

from dataclasses import dataclass

import torch
from typing_extensions import override

from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path
from segue.strategies.weights import per_position, random_delay, schedule


@dataclass(frozen=True)
class TrainingTimeRTC(Strategy):
    """Hard prefix: committed positions are the previous chunk's, the others are sampled given them."""

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        return Hooks(prefix.weights(0, "step"))


@dataclass(frozen=True)
class TrainingTimeRTCObjective(Objective):
    """Flow matching behind a clean prefix of random length: target ``A - noise`` on the positions after it.

    Attributes:
        max_delay: Longest prefix [steps].
        decay: The prefix has length d with probability proportional to exp(-decay d); 0 is uniform, the paper's
            choice on the robot (its simulation uses 1).
    """

    max_delay: int = 12
    decay: float = 0.0

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        n, horizon = len(t), batch.horizon
        d = random_delay(n, max_delay=self.max_delay, decay=self.decay, generator=generator).to(t.device)
        w = per_position(schedule(horizon, d, torch.zeros_like(d), "step", dtype=t.dtype), batch.stride)
        return on_path(batch, batch.actions, w, noise, t)
