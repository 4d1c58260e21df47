"""VLASH: a plain policy that has learned to go on from the state that is commanded by then (arXiv 2512.01031).

    step        k              k + o
    seen        o_k            what the robot itself is commanded to until here, in place of its measured state
    chunk                      a_{k+o} ........ a_{k+o+H-1}

In training the offset o is random; at run time it is the delay, and the predictor of commanded states
(`segue.policies.predictors.predictor.CommandedState`) tells the state. The sampler is plain (`Naive`).
"""

from dataclasses import dataclass

import torch
from typing_extensions import override

from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path


@dataclass(frozen=True)
class VLASHObjective(Objective):
    """Plain flow matching on chunks that begin later than what is seen.

    Attributes:
        max_delay: Largest offset [steps], offsets uniform. The paper's is 8, of chunks of 50.
    """

    max_delay: int = 12

    @property
    @override
    def max_offset(self) -> int:
        return self.max_delay

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        return on_path(batch, batch.actions, torch.zeros_like(batch.actions[..., 0]), noise, t)
