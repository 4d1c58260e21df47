"""Diffusion transformer (arXiv 2212.09748) over the positions of a chunk, with adaLN-zero per position."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from segue.errors import SpecError
from segue.policies.networks.features import Network, Sizes, TimeFeatures, modulate, position_time, zero_linear


@dataclass(frozen=True)
class TransformerConfig:
    """Settings of `Transformer`.

    Attributes:
        width: Channels per position, even and a multiple of ``heads``.
        depth: Blocks.
        heads: Attention heads.

    Raises:
        SpecError: The width cannot be shared out among the heads.
    """

    width: int = 256
    depth: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise SpecError(
                got=f"width {self.width} with {self.heads} heads",
                expected="a width that is a multiple of heads",
                change=f"set width to {(self.width // self.heads + 1) * self.heads}, or change heads",
            )


class SelfAttention(nn.Module):
    """Multi-head attention of every position to every position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """Shape (batch, horizon, width) to the same."""
        batch, horizon, width = h.shape
        heads = self.query_key_value(h).view(batch, horizon, 3, self.heads, width // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.output(attended.transpose(1, 2).reshape(batch, horizon, width))


class TransformerBlock(nn.Module):
    """Attention over positions and a perceptron over channels, both modulated; the identity when fresh."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = nn.Sequential(nn.SiLU(), zero_linear(width, 6 * width))
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_channels = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = SelfAttention(width, heads)
        self.channels = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Next residual stream. Both shape (batch, horizon, width)."""
        shift, scale, gate, shift_c, scale_c, gate_c = self.modulation(condition).chunk(6, -1)
        h = h + gate * self.attention(modulate(self.norm_attention(h), shift, scale))
        return h + gate_c * self.channels(modulate(self.norm_channels(h), shift_c, scale_c))


class Transformer(Network):
    """Blocks on one token per position with learned positions; flow time and context condition every block.

    The last layer starts at zero, so that a fresh network returns zero.
    """

    def __init__(self, config: TransformerConfig, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = config.width
        self.inputs = nn.Linear(sizes.action, width)
        self.positions = nn.Parameter(0.02 * torch.randn(sizes.horizon, width))
        self.context = nn.Linear(sizes.context, width)
        self.time = TimeFeatures(width)
        self.weights_input = zero_linear(1, width, bias=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), zero_linear(width, 2 * width))
        self.output = zero_linear(width, sizes.output)

    @override
    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        self.sizes.check(x, t, w, context)
        time = self.time(position_time(t, w)) + self.weights_input(w[..., None])
        condition = time + self.context(context)[:, None]
        h = self.inputs(x) + self.positions
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition).chunk(2, -1)
        return self.output(modulate(self.norm(h), shift, scale))
