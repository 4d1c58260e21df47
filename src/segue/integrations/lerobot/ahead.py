r"""Inference for the step at which its chunk takes over, for LeRobot's engine, see `PredictivePolicy`.

    step             k                 k+d
    observation      {x.pos: 3, ..}    {x.pos: a_{k+d-1}, ..}     as commanded; pictures stay those of k
    leftover         a_k .......... | what is left then           shown to the policy from k+d on, nothing committed
    chunk            a_k .......... | the policy's                in robot units, and in the policy's own

The observation is the robot's own in LeRobot: one number per name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.core.chunk import Array, Continuation
from segue.integrations.lerobot.engine import Infer, Inferred
from segue.policies.predictors.predictor import Predictor


def state_in(observation: Mapping[str, Any], names: Sequence[str]) -> Array:
    """The state of a robot's observation. Shape (numbers,)."""
    return np.array([observation[name] for name in names], np.float32)


@dataclass(frozen=True)
class AheadInference:
    """An `Infer` whose chunks are made for the step at which they take over.

    Attributes:
        infer: Makes chunks of what it is shown.
        predictor: Of the state.
        names: Of the numbers of the state in the robot's observation.
    """

    infer: Infer
    predictor: Predictor
    names: Sequence[str]

    def __call__(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        """A chunk from now on, its first positions the committed actions; see `Infer`."""
        steps = continuation.committed
        if steps == 0 or leftover is None:
            return self.infer(observation, leftover, continuation)
        now = state_in(observation, self.names)[None]
        then = self.predictor.ahead(now, continuation.prefix[None, :steps], np.array([steps], np.int64))[0]
        later = continuation.ahead(steps)
        predicted = {**observation, **dict(zip(self.names, then.tolist(), strict=True))}
        chunk = self.infer(predicted, leftover[steps:] if later.known else None, later)
        horizon = len(chunk.actions)
        return Inferred(
            torch.cat([leftover[:steps], chunk.raw])[:horizon],
            np.concatenate([continuation.prefix[:steps], chunk.actions])[:horizon],
        )
