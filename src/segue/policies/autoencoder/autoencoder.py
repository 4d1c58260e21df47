r"""Autoencoders of action chunks: a chunk in robot units, and a shorter latent one (arXiv 2605.24931, section 4.1).

    actions (H, A) -> normalised -> encoder -> bottleneck -> latents (H / f, d_z) -> decoder -> actions (H, A)

Encoding is deterministic: the mean of the posterior. Samples are drawn in training only.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import SpecError, UnknownNameError, settings_of
from segue.policies.autoencoder.networks import CODEC_NETWORKS, CodecSizes
from segue.policies.autoencoder.quantizer import Bottleneck, ResidualQuantizer
from segue.policies.normalizer import Normalizer


class GaussianBottleneck(Bottleneck):
    """A diagonal Gaussian per position, drawn towards the standard normal (arXiv 1312.6114).

    Attributes:
        beta: Weight of the divergence in the loss.
    """

    def __init__(self, features: int, latent: int, beta: float = 1e-6) -> None:
        super().__init__()
        self.beta = beta
        self.moments = nn.Linear(features, 2 * latent)

    @override
    def forward(self, features: Tensor) -> Tensor:
        return self.moments(features).chunk(2, -1)[0]

    @override
    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw latents; the loss adds ``beta KL``, summed over a chunk, mean over the batch."""
        mean, log_variance = self.moments(features).chunk(2, -1)
        log_variance = log_variance.clamp(-30, 20)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
        return mean + (0.5 * log_variance).exp() * noise, self.beta * divergence(mean, log_variance)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """``KL(N(mean, variance) || N(0, 1)) = (mean^2 + variance - 1 - log variance) / 2``, summed per chunk. Scalar."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2)).mean()


BOTTLENECKS: dict[str, type[GaussianBottleneck] | type[ResidualQuantizer]] = {
    "gaussian": GaussianBottleneck,
    "quantized": ResidualQuantizer,
}


@dataclass(frozen=True)
class AutoencoderConfig:
    """Describes an autoencoder but for its weights; plain JSON.

    Attributes:
        horizon: H of the chunks that it is trained on.
        action_names: One per action dimension.
        latent: d_z, numbers per position; as many as an action has are a good start.
        stride: f, control steps per position.
        network: ``convolutional``, or ``global`` as published.
        network_settings: Its settings, where they differ from the defaults.
        bottleneck: ``gaussian`` or ``quantized``.
        bottleneck_settings: Its settings, where they differ from the defaults.
    """

    horizon: int
    action_names: tuple[str, ...]
    latent: int
    stride: int = 4
    network: str = "convolutional"
    network_settings: Mapping[str, Any] = field(default_factory=dict)
    bottleneck: str = "gaussian"
    bottleneck_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> CodecSizes:
        """Sizes of encoder and decoder."""
        return CodecSizes(self.horizon, len(self.action_names), self.stride, self.latent)


class Codec(nn.Module, ABC):
    """Turns chunks of actions into shorter latent ones and back. Both directions are deterministic.

    Attributes:
        config: Everything but the weights.
    """

    config: AutoencoderConfig

    @property
    def stride(self) -> int:
        """f, control steps per position."""
        return self.config.stride

    @property
    def latent(self) -> int:
        """d_z, numbers per position."""
        return self.config.latent

    @abstractmethod
    def encode(self, actions: Tensor) -> Tensor:
        """Robot units, shape (batch, horizon, action), to latents (batch, horizon / stride, latent).

        Raises:
            SpecError: Another number of action dimensions, or a horizon that the stride does not divide.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (batch, positions, latent) to robot units, shape (batch, positions * stride, action).

        Raises:
            SpecError: Another number of latent dimensions, or of positions where the network is made for one.
        """


def refine(codec: Codec, actions: Tensor) -> Tensor:
    """Encode a chunk and decode it again, ``decode(encode(A))`` (arXiv 2605.24931, section 4.2).

    A horizon that the stride does not divide is filled up by holding the last action, and cut again.

    Args:
        codec: Autoencoder.
        actions: Shape (batch, horizon, action), robot units.

    Returns:
        Same shape and units.
    """
    horizon = actions.shape[1]
    missing = -horizon % codec.stride
    if missing:
        actions = torch.cat([actions, actions[:, -1:].expand(-1, missing, -1)], dim=1)
    return codec.decode(codec.encode(actions))[:, :horizon]


class ChunkAutoencoder(Codec):
    """Encoder, bottleneck and decoder of normalised actions, with the normalisation at its door.

    Fresh weights come from torch's global generator.

    Raises:
        SpecError: Sizes or settings do not fit together.
        UnknownNameError: There is no such network or bottleneck.
    """

    def __init__(self, config: AutoencoderConfig, action: Normalizer) -> None:
        super().__init__()
        if config.network not in CODEC_NETWORKS:
            raise UnknownNameError("autoencoder network", config.network, CODEC_NETWORKS)
        settings, encoder, decoder = CODEC_NETWORKS[config.network]
        with settings_of(f"{config.network!r}"):
            network = settings(**config.network_settings)
        self.config, self.action = config, action
        self.encoder = encoder(network, config.sizes)
        self.bottleneck = _bottleneck(config, self.encoder.features)
        self.decoder = decoder(network, config.sizes)

    @classmethod
    def for_episodes(cls, config: AutoencoderConfig, episodes: Episodes) -> "ChunkAutoencoder":
        """Fresh weights, normalisation fitted to the demonstrated actions.

        Raises:
            SpecError: An action is an angle or a quaternion, whose numbers jump where nothing moves.
        """
        if episodes.action_kinds.angles or episodes.action_kinds.quaternions:
            raise SpecError(
                got=f"an autoencoder of actions of the kinds {', '.join(episodes.action_kinds.words)}",
                expected="actions whose numbers change as little as what they mean",
                change="train a policy in action space, or record rotations as rotation-6d",
            )
        return cls(config, Normalizer.fit(episodes.action))

    @override
    def encode(self, actions: Tensor) -> Tensor:
        return self.bottleneck(self._features(actions))

    @override
    def decode(self, latents: Tensor) -> Tensor:
        if latents.ndim != 3 or latents.shape[2] != self.latent:
            raise SpecError(
                got=f"latents of shape {tuple(latents.shape)}",
                expected=f"(batch, positions, {self.latent})",
                change="decode what this autoencoder has encoded, or a policy trained on its latents",
            )
        return self.action.inverse(self.decoder(latents))

    def loss(self, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Mean absolute error in normalised units, and the bottleneck's own term (arXiv 2605.24931, equation of 4.1).

        Args:
            actions: Shape (batch, horizon, action), robot units.
            generator: Of the posterior's samples.
        """
        latents, penalty = self.bottleneck.sample(self._features(actions), generator)
        return (self.decoder(latents) - self.action(actions)).abs().mean() + penalty

    def _features(self, actions: Tensor) -> Tensor:
        names = self.config.action_names
        if actions.ndim != 3 or actions.shape[2] != len(names) or actions.shape[1] % self.stride or 0 in actions.shape:
            raise SpecError(
                got=f"actions of shape {tuple(actions.shape)}",
                expected=f"(batch, a multiple of {self.stride}, {len(names)}): {', '.join(names[:6])}"
                + (" ..." if len(names) > 6 else ""),
                change="encode chunks of the actions that the autoencoder was trained on, in robot units",
            )
        return self.encoder(self.action(actions))


def _bottleneck(config: AutoencoderConfig, features: int) -> Bottleneck:
    if config.bottleneck not in BOTTLENECKS:
        raise UnknownNameError("bottleneck", config.bottleneck, BOTTLENECKS)
    with settings_of(f"{config.bottleneck!r}"):
        return BOTTLENECKS[config.bottleneck](features, config.latent, **config.bottleneck_settings)


def paper_autoencoder(action_names: tuple[str, ...], *, horizon: int = 48) -> AutoencoderConfig:
    """The published autoencoder (arXiv 2605.24931, table 7): 48 x 10 to 12 x 10, a latent as wide as an action."""
    return AutoencoderConfig(horizon, action_names, len(action_names), stride=4, network="global")


def latent_statistics(codec: Codec, episodes: Episodes, horizon: int, batch: int = 1024) -> Normalizer:
    """Fit the normalisation of a latent policy: mean and spread of each latent channel over all windows."""
    device = next(codec.parameters()).device
    actions, frames = torch.as_tensor(episodes.action), torch.as_tensor(Windows(episodes, horizon).frames)
    with torch.no_grad():
        latents = [codec.encode(actions[part].to(device)).cpu() for part in frames.split(batch)]
    return Normalizer.fit(torch.cat(latents).numpy())
