"""MLP-mixer over positions and channels (arXiv 2105.01601) with adaptive layer norm per position.

As in the simulated experiments of RTC (arXiv 2506.07339), with the flow time per position as in training-time RTC
(arXiv 2512.05964).
"""

from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from segue.policies.networks.features import Network, Sizes, TimeFeatures, modulate, position_time, zero_linear


@dataclass(frozen=True)
class MixerConfig:
    """Settings of `Mixer`.

    Attributes:
        width: Channels per position, even.
        depth: Blocks.
        token_width: Hidden width of the perceptron over positions.
        channel_width: Hidden width of the perceptron over channels.
    """

    width: int = 256
    depth: int = 4
    token_width: int = 64
    channel_width: int = 512


def _perceptron(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))


class MixerBlock(nn.Module):
    """One perceptron over positions and one over channels, both modulated; the identity when fresh."""

    def __init__(self, config: MixerConfig, horizon: int) -> None:
        super().__init__()
        width = config.width
        self.modulation = nn.Sequential(nn.SiLU(), zero_linear(width, 6 * width))
        self.norm_tokens = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_channels = nn.LayerNorm(width, elementwise_affine=False)
        self.tokens = _perceptron(horizon, config.token_width)
        self.channels = _perceptron(width, config.channel_width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Next residual stream. Both shape (batch, horizon, width)."""
        shift, scale, gate, shift_c, scale_c, gate_c = self.modulation(condition).chunk(6, -1)
        mixed = self.tokens(modulate(self.norm_tokens(h), shift, scale).transpose(1, 2)).transpose(1, 2)
        h = h + gate * mixed
        return h + gate_c * self.channels(modulate(self.norm_channels(h), shift_c, scale_c))


class Mixer(Network):
    """Mixer blocks on one token per position; the context is added to every token."""

    def __init__(self, config: MixerConfig, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = config.width
        self.inputs = nn.Linear(sizes.action, width)
        self.context = nn.Linear(sizes.context, width)
        self.time = TimeFeatures(width)
        self.weights_input = zero_linear(1, width, bias=False)
        self.blocks = nn.ModuleList(MixerBlock(config, sizes.horizon) for _ in range(config.depth))
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sizes.output))

    @override
    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        self.sizes.check(x, t, w, context)
        condition = self.time(position_time(t, w)) + self.weights_input(w[..., None])
        h = self.inputs(x) + self.context(context)[:, None]
        for block in self.blocks:
            h = block(h, condition)
        return self.output(h)
