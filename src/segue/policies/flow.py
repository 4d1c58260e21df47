"""Flow policies: an observation is encoded once, then the velocity of the noisy chunk is asked for step by step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segue.core.chunk import Array
from segue.core.flow import integrate
from segue.data.episodes import Episodes
from segue.policies.networks import build_network
from segue.policies.normalizer import Normalizer
from segue.policies.policy import mean_error
from segue.policies.prediction import prediction
from segue.policies.units import check_observation, demonstrated_chunks, described, shifted
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import TrainingPair


@dataclass(frozen=True)
class FlowPolicyConfig:
    """Everything about a flow policy but its weights; plain JSON.

    Attributes:
        horizon: H, actions per chunk.
        dt: Control period [s].
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        relative_to: Per action dimension, the index of the observation that it is taken relative to, or None for an
            absolute action.
        network: Name of the network.
        network_settings: Its settings, where they differ from the defaults.
        predicts: ``action`` or ``velocity``.
        denoising_steps: N, solver steps per inference.
    """

    horizon: int
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    relative_to: tuple[int | None, ...]
    network: str = "mlp"
    network_settings: Mapping[str, Any] = field(default_factory=dict)
    predicts: str = "action"
    denoising_steps: int = 5

    @property
    def family(self) -> str:
        """``flow``."""
        return "flow"


class FlowPolicy(nn.Module):
    """A flow policy on state observations.

    Robot units stay outside: observations are normalised in `encode`, actions in `to_policy` and `to_robot`, which also
    anchor relative actions to the observation at hand.
    """

    stride = 1

    def __init__(self, config: FlowPolicyConfig, observation: Normalizer, action: Normalizer) -> None:
        super().__init__()
        self.config = config
        self.observation, self.action = observation, action
        self.network = build_network(
            config.network,
            config.network_settings,
            horizon=config.horizon,
            action=len(config.action_names),
            context=len(config.observation_names),
        )
        self._prediction = prediction(config.predicts)

    @classmethod
    def fitted(cls, config: FlowPolicyConfig, observations: Array, chunks: Array) -> "FlowPolicy":
        """Fresh weights (from torch's global generator), normalisation fitted to the demonstrations.

        Args:
            config: Of the policy.
            observations: Shape (frames, observation).
            chunks: Shape (frames, horizon, action), anchored as ``config.relative_to`` says.
        """
        return cls(config, Normalizer.fit(observations), Normalizer.fit(chunks))

    @classmethod
    def for_episodes(cls, config: FlowPolicyConfig, episodes: Episodes) -> "FlowPolicy":
        """`fitted` to all windows of the demonstrations."""
        chunks = demonstrated_chunks(episodes, config.horizon, config.relative_to)
        return cls.fitted(config, episodes.observation, chunks)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action.mean.device

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """Horizon and actions."""
        return self.config.horizon, len(self.config.action_names)

    def encode(self, observation: Tensor) -> Tensor:
        """Context of an inference. (batch, observation), robot units -> (batch, context)."""
        check_observation(observation, self.config.observation_names)
        return self.observation(observation)

    def to_policy(self, actions: Tensor, observation: Tensor) -> Tensor:
        """Robot units to policy units: relative to the observation, normalised. (batch, horizon, action)."""
        check_observation(observation, self.config.observation_names)
        return self.action(shifted(actions, observation, self.config.relative_to, -1))

    def to_robot(self, chunk: Tensor, observation: Tensor) -> Tensor:
        """Policy units to robot units, the inverse of `to_policy`. (batch, horizon, action)."""
        check_observation(observation, self.config.observation_names)
        return shifted(self.action.inverse(chunk), observation, self.config.relative_to, 1)

    def velocity(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        """Estimate of ``E[A - e | x]``. x (batch, horizon, action), t (batch,), w (batch, horizon)."""
        return self._prediction.velocity(self.network(x, t, w, context), x, t[:, None, None])

    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        """Mean over samples of the mean error over the positions that count. Scalar."""
        output = self.network(pair.x, pair.t, pair.w, context)
        return mean_error(self._prediction.error(output, pair.x, pair.t[:, None, None], pair.target), pair.mask)

    def continue_chunk(
        self, strategy: Strategy, observation: Tensor, prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        """One chunk per observation, policy units (batch, horizon, action). The strategy's three hooks at work."""
        hooks = strategy.hooks(prefix)
        context = self.encode(observation)

        def field(x: Tensor, t: float) -> Tensor:
            return self.velocity(x, x.new_full((len(x),), t), hooks.weights, context)

        chunk = integrate(field, noise, hooks.weights, prefix.reference, steps=steps, guide=hooks.guide)
        return hooks.finish(chunk)


def config_for(
    episodes: Episodes, *, horizon: int, relative: bool, network: str = "mlp", **settings: Any
) -> FlowPolicyConfig:
    """Configuration that fits demonstrations.

    Args:
        episodes: Demonstrations; they name the observation that each action can be relative to.
        horizon: H.
        relative: Learn actions relative to the observed state, where the demonstrations name one.
        network: Name of the network.
        **settings: Further fields of `FlowPolicyConfig`.
    """
    return FlowPolicyConfig(horizon=horizon, network=network, **described(episodes, relative=relative), **settings)
