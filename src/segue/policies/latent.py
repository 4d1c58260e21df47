"""A policy of any family in the latent space of an autoencoder of chunks (arXiv 2605.24931, section 4.1).

    actions (H, A) -- autoencoder.encode --> latents (H / f, d_z) -- inside.to_policy --> chunk in policy units
    actions (H, A) <-- autoencoder.decode -- latents (H / f, d_z) <-- inside.to_robot --  chunk in policy units

The policy inside takes the latents for its actions: they have names, statistics and a horizon like any others.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from typing_extensions import Self

from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, Codec
from segue.policies.policy import Module, Policy, PredictableUnits, SeeingUnits, Units
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import TrainingPair


class NamedCodec(Codec, Module, Protocol):
    """A codec that knows whose actions it is for."""

    @property
    def config(self) -> AutoencoderConfig:
        """Everything but the weights."""
        ...


def latent_names(latent: int) -> tuple[str, ...]:
    """Names of the latents as the actions of the policy inside."""
    return tuple(f"latent {i}" for i in range(latent))


@dataclass(frozen=True)
class LatentUnits:
    """Units of a latent policy: actions go through the autoencoder, latents through the units of the policy inside.

    Attributes:
        inside: Of the policy inside, for which the latents are the actions.
        autoencoder: Between actions and latents.
    """

    inside: Units
    autoencoder: NamedCodec

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.inside.device

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """Positions and latents."""
        return self.inside.chunk_shape

    @property
    def stride(self) -> int:
        """f, control steps per position."""
        return self.inside.stride * self.autoencoder.stride

    def encode(self, observation: Any) -> Tensor:
        """Context of an inference, (batch, context)."""
        return self.inside.encode(observation)

    def state(self, context: Tensor) -> Tensor:
        """As the units inside."""
        assert isinstance(self.inside, PredictableUnits)
        return self.inside.state(context)

    @property
    def context_kinds(self) -> Dimensions:
        """As the units inside."""
        return self.inside.context_kinds if isinstance(self.inside, PredictableUnits) else LINEAR

    def augmented(self, observation: Any, generator: torch.Generator) -> Any:
        """As the units inside."""
        assert isinstance(self.inside, SeeingUnits)
        return self.inside.augmented(observation, generator)

    def to_policy(self, actions: Tensor, observation: Any) -> Tensor:
        """Robot units (batch, horizon, action) to normalised latents (batch, positions, latent)."""
        return self.inside.to_policy(self.autoencoder.encode(actions), observation)

    def to_robot(self, chunk: Tensor, observation: Any) -> Tensor:
        """Normalised latents (batch, positions, latent) to robot units (batch, horizon, action)."""
        return self.autoencoder.decode(self.inside.to_robot(chunk, observation))


class LatentPolicy(nn.Module):
    """A policy whose actions are latents, and the frozen autoencoder that they belong to.

    Args:
        policy: Of any family, absolute actions, one dimension per latent.
        autoencoder: Never trained here, also not by ``train()`` or ``requires_grad_()``.

    Raises:
        SpecError: The policy has another number of dimensions than the latents.
    """

    def __init__(self, policy: Policy, autoencoder: NamedCodec) -> None:
        super().__init__()
        dimensions = policy.units.chunk_shape[1]
        if dimensions != autoencoder.latent:
            raise SpecError(
                got=f"a policy with {dimensions} dimensions for {autoencoder.latent} latents per position",
                expected="one dimension per latent",
                change="build the policy for this autoencoder, see `policy_for`",
            )
        self.policy = policy
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.denoising_steps, inside, names = policy.denoising_steps, policy.spec, autoencoder.config.action_names
        horizon = inside.horizon * autoencoder.stride
        self.spec = replace(inside, horizon=horizon, action_names=names, action_kinds=LINEAR)

    @property
    def units(self) -> "LatentUnits":
        """Through the autoencoder to those of the policy inside."""
        return LatentUnits(self.policy.units, self.autoencoder)

    def train(self, mode: bool = True) -> Self:
        """Put the policy inside into training or out of it; the autoencoder stays out of it."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether the weights of the policy inside are to be learned; the autoencoder's never are."""
        self.policy.requires_grad_(requires_grad)
        return self

    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        """That of the policy inside. Scalar."""
        return self.policy.loss(pair, context)

    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        """One chunk of normalised latents per observation, from the policy inside. (batch, positions, latent)."""
        return self.policy.continue_chunk(strategy, observation, prefix, noise, steps)
