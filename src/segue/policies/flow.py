"""Flow policies: an observation is encoded once, then the velocity of the noisy chunk is asked for step by step."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from segue.policies.config import FamilyConfig
from segue.policies.policy import Policy, mean_error
from segue.policies.prediction import prediction
from segue.policies.processor import NormalizedUnits
from segue.strategies.hooks import Prefix, Strategy, Unfolded, unfolded
from segue.strategies.objective import TrainingPair


@dataclass(frozen=True)
class FlowPolicyConfig(FamilyConfig):
    """A flow policy.

    Attributes:
        predicts: ``action`` or ``velocity``.
        denoising_steps: N, solver steps per inference.
    """

    family: ClassVar[str] = "flow"

    predicts: str = "action"
    denoising_steps: int = 5


class FlowPolicy(Policy):
    """A flow policy; its weights are drawn from torch's global generator."""

    def __init__(self, config: FlowPolicyConfig, units: NormalizedUnits) -> None:
        super().__init__()
        self.config, self.units = config, units
        self.spec, self.denoising_steps = config.spec, config.denoising_steps
        self.network = config.built(units.context)
        self._prediction = prediction(config.predicts)

    def fit(self, chunks: Tensor) -> None:
        """Take nothing from the demonstrated chunks, policy units (frames, horizon, action)."""

    def velocity(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        """Estimate of ``E[A - e | x]``. x (batch, horizon, action), t (batch,), w (batch, horizon)."""
        return self._prediction.velocity(self.network(x, t, w, context), x, t[:, None, None])

    @override
    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        output, t = self.network(pair.x, pair.t, pair.w, context), pair.t[:, None, None]
        error = self._prediction.error(output, pair.x, t, pair.target)
        if pair.charbonnier:
            error = error + (error + pair.charbonnier**2).sqrt()
        loss = mean_error(error, pair.mask)
        if not pair.keep:
            return loss
        with torch.no_grad():
            untold = self.velocity(pair.x, pair.t, torch.zeros_like(pair.w), context)
        changed = self._prediction.error(output, pair.x, t, untold)
        # the mean over positions and dimensions, where the first term is the sum over dimensions in its paper
        return loss + pair.keep * (pair.w[..., None] * changed).mean() / changed.shape[2]

    @override
    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        *_, (_, _, chunk) = self.unfold(strategy, observation, prefix, noise, steps)
        return chunk

    @override
    def unfold(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Unfolded:
        hooks = strategy.hooks(prefix)
        context = self.units.encode(observation)

        def field(x: Tensor, t: float) -> Tensor:
            return self.velocity(x, x.new_full((len(x),), t), hooks.told(t), context)

        yield from unfolded(field, hooks, noise, prefix.reference, steps)
