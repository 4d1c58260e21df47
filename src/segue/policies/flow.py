"""Flow policies: an observation is encoded once, then the velocity of the noisy chunk is asked for step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import SpecError
from segue.policies.networks import build_network
from segue.policies.normalizer import Normalizer
from segue.policies.prediction import prediction
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


class FlowPolicy(nn.Module):
    """A flow policy on state observations.

    Robot units stay outside: observations are normalised in `encode`, actions in `to_policy` and `to_robot`, which also
    anchor relative actions to the observation at hand.
    """

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
        self._relative = [i for i, index in enumerate(config.relative_to) if index is not None]
        self._anchor = [index for index in config.relative_to if index is not None]

    @classmethod
    def for_episodes(cls, config: FlowPolicyConfig, episodes: Episodes) -> "FlowPolicy":
        """Fresh weights (from torch's global generator), normalisation fitted to the demonstrations."""
        anchors = [0 if index is None else index for index in config.relative_to]
        relative = np.array([index is not None for index in config.relative_to])
        chunks = Windows(episodes, config.horizon).actions
        chunks = chunks - (episodes.observation[:, anchors] * relative)[:, None]
        return cls(config, Normalizer.fit(episodes.observation), Normalizer.fit(chunks))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action.mean.device

    def encode(self, observation: Tensor) -> Tensor:
        """Context of an inference. (batch, observation), robot units -> (batch, context)."""
        self._check(observation)
        return self.observation(observation)

    def _check(self, observation: Tensor) -> None:
        expected = len(self.config.observation_names)
        if observation.ndim != 2 or observation.shape[1] != expected:
            raise SpecError(
                got=f"observations of shape {tuple(observation.shape)}",
                expected=f"(batch, {expected}): {', '.join(self.config.observation_names[:6])}"
                + (" ..." if expected > 6 else ""),
                change="give the policy the observation that it was trained on, in the same order",
            )

    def velocity(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        """Estimate of ``E[A - e | x]``. x (batch, horizon, action), t (batch,), w (batch, horizon)."""
        return self._prediction.velocity(self.network(x, t, w, context), x, t[:, None, None])

    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        """Mean over samples of the mean error over the positions that count. Scalar."""
        output = self.network(pair.x, pair.t, pair.w, context)
        error = self._prediction.error(output, pair.x, pair.t[:, None, None], pair.velocity).mean(2)
        mask = pair.mask.to(error.dtype)
        return ((error * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()

    def to_policy(self, actions: Tensor, observation: Tensor) -> Tensor:
        """Robot units to policy units: relative to the observation, normalised. (batch, horizon, action)."""
        return self.action(self._shifted(actions, observation, -1))

    def to_robot(self, actions: Tensor, observation: Tensor) -> Tensor:
        """Policy units to robot units, the inverse of `to_policy`. (batch, horizon, action)."""
        return self._shifted(self.action.inverse(actions), observation, 1)

    def _shifted(self, actions: Tensor, observation: Tensor, sign: int) -> Tensor:
        self._check(observation)
        if not self._relative:
            return actions
        actions = actions.clone()
        actions[..., self._relative] += sign * observation[:, None, self._anchor]
        return actions


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
    anchors: Sequence[int | None] = episodes.state_of_action if relative else [None] * len(episodes.action_names)
    return FlowPolicyConfig(
        horizon=horizon,
        dt=episodes.dt,
        observation_names=tuple(episodes.observation_names),
        action_names=tuple(episodes.action_names),
        relative_to=tuple(anchors),
        network=network,
        **settings,
    )
