"""Regression policies: the whole chunk in one call, without noise (parallel decoding, OpenVLA-OFT, arXiv 2502.19645).

    observation -> network(x = 0, t = 0, w = 0) -> head -> chunk

The networks of the flow policies serve here too, with nothing for their flow state to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segue.core.chunk import Array
from segue.errors import UnknownNameError
from segue.policies.heads import build_head
from segue.policies.networks import build_network
from segue.policies.normalizer import Normalizer
from segue.policies.policy import mean_error, refuse_guidance
from segue.policies.units import check_observation, shifted
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import Demonstrated, TrainingPair

OUTPUT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class RegressionPolicyConfig:
    """Everything about a regression policy but its weights; plain JSON.

    Attributes:
        horizon: H, actions per chunk.
        dt: Control period [s].
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        relative_to: Per action dimension, the index of the observation that it is taken relative to, or None for an
            absolute action.
        network: Name of the network.
        network_settings: Its settings, where they differ from the defaults.
        head: ``continuous`` (absolute error) or ``bins`` (cross-entropy).
        head_settings: Its settings, where they differ from the defaults.
        output_dtype: ``float32``, or ``bfloat16`` to round chunks in policy units to its 8 bits of mantissa, as large
            models in half precision do. An absolute position far from the mean then moves in visible steps: a rounding
            error of up to 2^-8 of its value, which alone makes jerk. Here so that it can be measured.
    """

    horizon: int
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    relative_to: tuple[int | None, ...]
    network: str = "mlp"
    network_settings: Mapping[str, Any] = field(default_factory=dict)
    head: str = "continuous"
    head_settings: Mapping[str, Any] = field(default_factory=dict)
    output_dtype: str = "float32"

    @property
    def family(self) -> str:
        """``regression``."""
        return "regression"

    @property
    def denoising_steps(self) -> int:
        """One call of the network."""
        return 1


class RegressionPolicy(nn.Module):
    """A policy that regresses the chunk on state observations."""

    stride = 1

    def __init__(self, config: RegressionPolicyConfig, observation: Normalizer, action: Normalizer) -> None:
        super().__init__()
        if config.output_dtype not in OUTPUT_DTYPES:
            raise UnknownNameError("output dtype", config.output_dtype, OUTPUT_DTYPES)
        self.config = config
        self.observation, self.action = observation, action
        dimension = len(config.action_names)
        self.head = build_head(config.head, config.head_settings, dimension)
        self.network = build_network(
            config.network,
            config.network_settings,
            horizon=config.horizon,
            action=dimension,
            context=len(config.observation_names),
            output=dimension * self.head.width,
        )

    @classmethod
    def fitted(cls, config: RegressionPolicyConfig, observations: Array, chunks: Array) -> "RegressionPolicy":
        """Fresh weights (from torch's global generator), normalisation and head fitted to the demonstrations.

        Args:
            config: Of the policy.
            observations: Shape (frames, observation).
            chunks: Shape (frames, horizon, action), anchored as ``config.relative_to`` says.
        """
        policy = cls(config, Normalizer.fit(observations), Normalizer.fit(chunks))
        policy.head.fit(policy.action(torch.as_tensor(chunks)))
        return policy

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

    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        """Mean over samples of the head's mean error over the positions that count. Scalar."""
        output = self.network(pair.x, pair.t, pair.w, context)
        return mean_error(self.head.error(output, pair.target), pair.mask)

    def continue_chunk(
        self, strategy: Strategy, observation: Tensor, prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        """One chunk per observation, policy units (batch, horizon, action); the finishing hook applies.

        Raises:
            SpecError: The strategy steers a velocity field.
        """
        hooks = strategy.hooks(prefix)
        refuse_guidance(hooks, self.config.family)
        nothing = torch.zeros_like(noise)
        output = self.network(nothing, nothing[:, 0, 0], nothing[..., 0], self.encode(observation))
        rounded = self.head.chunk(output).to(OUTPUT_DTYPES[self.config.output_dtype])
        return hooks.finish(rounded.to(noise.dtype))


@dataclass(frozen=True)
class Regression:
    """The demonstrated chunk itself, from nothing but the observation."""

    @property
    def own_share(self) -> float:
        """No references at all."""
        return 0.0

    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        """``x = 0``, ``t = 0``, ``w = 0``; target the chunk."""
        nothing = torch.zeros_like(batch.actions)
        return TrainingPair(nothing, nothing[:, 0, 0], nothing[..., 0], batch.actions, batch.valid)
