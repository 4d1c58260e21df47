"""A policy of any family in the latent space of an autoencoder of chunks (arXiv 2605.24931, section 4.1).

    actions (H, A) -- autoencoder.encode --> latents (H / f, d_z) -- inside.to_policy --> chunk in policy units
    actions (H, A) <-- autoencoder.decode -- latents (H / f, d_z) <-- inside.to_robot --  chunk in policy units

The policy inside takes the latents for its actions: they have names, statistics and a horizon like any others.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError
from segue.policies.autoencoder.autoencoder import Codec
from segue.policies.encoders.pretrained import Pretrained
from segue.policies.policy import Policy, PredictableUnits, Units
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import TrainingPair


def latent_names(latent: int) -> tuple[str, ...]:
    """Names of the latents as the actions of the policy inside."""
    return tuple(f"latent {i}" for i in range(latent))


class LatentUnits(PredictableUnits):
    """Units of a latent policy: actions go through the autoencoder, latents through the units of the policy inside.

    Args:
        inside: Of the policy inside, for which the latents are the actions.
        autoencoder: Between actions and latents.
    """

    def __init__(self, inside: Units, autoencoder: Codec) -> None:
        self.inside, self.autoencoder = inside, autoencoder
        self.chunk_shape, self.stride = inside.chunk_shape, inside.stride * autoencoder.stride

    @property
    @override
    def device(self) -> torch.device:
        return self.inside.device

    @override
    def encode(self, observation: Any) -> Tensor:
        return self.inside.encode(observation)

    @override
    def state(self, context: Tensor) -> Tensor:
        assert isinstance(self.inside, PredictableUnits)
        return self.inside.state(context)

    @property
    @override
    def context_kinds(self) -> Dimensions:
        assert isinstance(self.inside, PredictableUnits)
        return self.inside.context_kinds

    @override
    def augmented(self, observation: Any, generator: torch.Generator) -> Any:
        return self.inside.augmented(observation, generator)

    @property
    @override
    def frozen(self) -> Pretrained | None:
        return self.inside.frozen

    @override
    def to_policy(self, actions: Tensor, observation: Any) -> Tensor:
        return self.inside.to_policy(self.autoencoder.encode(actions), observation)

    @override
    def to_robot(self, chunk: Tensor, observation: Any) -> Tensor:
        return self.autoencoder.decode(self.inside.to_robot(chunk, observation))


class LatentPolicy(Policy):
    """A policy whose actions are latents, and the frozen autoencoder that they belong to.

    Args:
        policy: Of any family, absolute actions, one dimension per latent.
        autoencoder: Never trained here, also not by ``train()`` or ``requires_grad_()``.

    Raises:
        SpecError: The policy has another number of dimensions than the latents.
    """

    def __init__(self, policy: Policy, autoencoder: Codec) -> None:
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
        self.units = LatentUnits(policy.units, self.autoencoder)

    @override
    def train(self, mode: bool = True) -> Self:
        """Put the policy inside into training or out of it; the autoencoder stays out of it."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    @override
    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the weights of the policy inside be learned, or not; the autoencoder's never are."""
        self.policy.requires_grad_(requires_grad)
        return self

    @override
    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        return self.policy.loss(pair, context)

    @override
    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        return self.policy.continue_chunk(strategy, observation, prefix, noise, steps)
