r"""Encoders and decoders of chunks: actions to one feature vector per `stride` control steps, and latents to actions.

    steps      |0 1 2 3|4 5 6 7|8 9 ..          actions (batch, horizon, action)
                \_|_|_/ \_|_|_/                 encoder: stride f, here 4
    positions     0       1       2  ..         features (batch, horizon / f, features)

Both are built for normalised actions. What lies between them, and gives a position its few latent numbers, is the
bottleneck of the autoencoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segue.errors import SpecError


@dataclass(frozen=True)
class CodecSizes:
    """Sizes that an encoder and a decoder are built for.

    Attributes:
        horizon: H, control steps per chunk.
        action: Numbers per action.
        stride: f, control steps per position.
        latent: d_z, numbers per position.

    Raises:
        SpecError: A size is below 1, or the stride does not divide the horizon.
    """

    horizon: int
    action: int
    stride: int
    latent: int

    def __post_init__(self) -> None:
        if min(self.horizon, self.action, self.stride, self.latent) < 1:
            raise SpecError(got=f"{self}", expected="all of them at least 1", change="raise what is below 1")
        if self.horizon % self.stride:
            raise SpecError(
                got=f"horizon {self.horizon} and stride {self.stride}",
                expected="a stride that divides the horizon",
                change=f"use a horizon of {-(-self.horizon // self.stride) * self.stride}, or another stride",
            )

    @property
    def positions(self) -> int:
        """Positions of a chunk, H / f."""
        return self.horizon // self.stride


def _positive(settings: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(settings, name)
        if type(value) is not int or value < 1:
            raise SpecError(got=f"{name} = {value!r}", expected="an integer of at least 1", change=f"correct {name}")


@dataclass(frozen=True)
class GlobalNetwork:
    """The published network (arXiv 2605.24931, table 7): strided convolutions, and one decoder for the whole chunk.

    Every action that it decodes depends on every latent, and its horizon is fixed.

    Attributes:
        width: Channels between the convolutions.
        features: Channels at a position, on either side of the bottleneck.
        hidden: Numbers in each hidden layer of the decoder.
    """

    width: int = 32
    features: int = 8
    hidden: int = 128

    def __post_init__(self) -> None:
        _positive(self, ("width", "features", "hidden"))


class StridedEncoder(nn.Module):
    """One convolution of kernel 5 and stride 2 per halving, ReLU between them.

    Attributes:
        features: Channels at a position.

    Raises:
        SpecError: The stride is not a power of two from 2 on.
    """

    def __init__(self, settings: GlobalNetwork, sizes: CodecSizes) -> None:
        super().__init__()
        halvings = sizes.stride.bit_length() - 1
        if sizes.stride != 2**halvings or halvings < 1:
            raise SpecError(
                got=f"stride {sizes.stride}",
                expected="a power of two from 2 on: each convolution halves the steps",
                change="use stride 2, 4, 8 or 16, or the convolutional network, which takes any",
            )
        self.features = settings.features
        channels = [sizes.action, *[settings.width] * (halvings - 1), settings.features]
        layers: list[nn.Module] = []
        for i in range(halvings):
            layers += [nn.Conv1d(channels[i], channels[i + 1], 5, stride=2, padding=2), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, actions: Tensor) -> Tensor:
        """Shape (batch, horizon, action) to (batch, positions, features)."""
        return self.layers(actions.mT).mT


class GlobalDecoder(nn.Module):
    """A linear map of each position, then an MLP from all positions to all actions."""

    def __init__(self, settings: GlobalNetwork, sizes: CodecSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.position = nn.Linear(sizes.latent, settings.features)
        self.chunk = nn.Sequential(
            nn.Linear(sizes.positions * settings.features, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, sizes.horizon * sizes.action),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Shape (batch, positions, latent) to (batch, horizon, action).

        Raises:
            SpecError: Another number of positions than the network was built for.
        """
        if latents.shape[1] != self.sizes.positions:
            raise SpecError(
                got=f"a chunk of {latents.shape[1] * self.sizes.stride} steps",
                expected=f"{self.sizes.horizon}: the decoder of this network is made for one horizon",
                change=f"use chunks of {self.sizes.horizon} steps, or train a convolutional autoencoder",
            )
        return self.chunk(self.position(latents).flatten(1)).unflatten(1, (self.sizes.horizon, self.sizes.action))


@dataclass(frozen=True)
class ConvolutionalNetwork:
    """Convolutions throughout: any horizon that the stride divides, and every action depends on latents nearby only.

    Attributes:
        width: Channels at a position.
        blocks: Residual blocks of the encoder and of the decoder.
        past: How many of the three taps of the encoder's kernels lie in the past: 1 looks as far ahead as back, 2 is
            causal (the latent of a position does not depend on the steps after it).
    """

    width: int = 64
    blocks: int = 1
    past: int = 1

    def __post_init__(self) -> None:
        _positive(self, ("width", "blocks"))
        if self.past not in (0, 1, 2):
            raise SpecError(got=f"past = {self.past!r}", expected="0, 1 or 2 of three taps", change="correct past")

    @property
    def reach(self) -> int:
        """Positions to either side that the encoder looks at, and that the decoder writes to (for ``past`` = 1)."""
        return 1 + self.blocks


class ResidualConvolution(nn.Module):
    """``h + linear(gelu(convolution(h)))`` over positions, three taps of which ``past`` lie in the past."""

    def __init__(self, width: int, past: int) -> None:
        super().__init__()
        self.padding = (past, 2 - past)
        self.convolution = nn.Conv1d(width, width, 3)
        self.linear = nn.Conv1d(width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Shape (batch, width, positions), unchanged."""
        return h + self.linear(F.gelu(self.convolution(F.pad(h, self.padding, mode="replicate"))))


class ConvolutionalEncoder(nn.Module):
    """A convolution over three strides, so that neighbours share what they see, then residual convolutions.

    Attributes:
        features: Channels at a position.
    """

    def __init__(self, settings: ConvolutionalNetwork, sizes: CodecSizes) -> None:
        super().__init__()
        self.features = settings.width
        self.padding = (settings.past * sizes.stride, (2 - settings.past) * sizes.stride)
        self.entry = nn.Conv1d(sizes.action, settings.width, 3 * sizes.stride, stride=sizes.stride)
        self.blocks = nn.Sequential(
            *(ResidualConvolution(settings.width, settings.past) for _ in range(settings.blocks))
        )

    def forward(self, actions: Tensor) -> Tensor:
        """Shape (batch, horizon, action) to (batch, positions, features). The ends are held, not filled with zeros."""
        return self.blocks(self.entry(F.pad(actions.mT, self.padding, mode="replicate"))).mT


class ConvolutionalDecoder(nn.Module):
    """Residual convolutions, then overlapping pieces of three strides each, added up."""

    def __init__(self, settings: ConvolutionalNetwork, sizes: CodecSizes) -> None:
        super().__init__()
        self.entry = nn.Conv1d(sizes.latent, settings.width, 1)
        self.blocks = nn.Sequential(*(ResidualConvolution(settings.width, 1) for _ in range(settings.blocks)))
        # The first and the last position are repeated, so that each step is the sum of three pieces; what the
        # repeated positions write beyond the chunk is cut off.
        self.exit = nn.ConvTranspose1d(
            settings.width, sizes.action, 3 * sizes.stride, stride=sizes.stride, padding=2 * sizes.stride
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Shape (batch, positions, latent) to (batch, positions * stride, action)."""
        return self.exit(F.pad(self.blocks(self.entry(latents.mT)), (1, 1), mode="replicate")).mT


Encoder = StridedEncoder | ConvolutionalEncoder
Decoder = GlobalDecoder | ConvolutionalDecoder
CODEC_NETWORKS: dict[str, tuple[type, Callable[[Any, CodecSizes], Encoder], Callable[[Any, CodecSizes], Decoder]]] = {
    "convolutional": (ConvolutionalNetwork, ConvolutionalEncoder, ConvolutionalDecoder),
    "global": (GlobalNetwork, StridedEncoder, GlobalDecoder),
}
"""Settings, encoder and decoder by name."""
