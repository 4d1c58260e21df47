"""Residual multi-layer perceptron on the flat chunk: the fastest network, and enough for state observations."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.policies.networks.features import Network, Sizes, position_time, zero_linear


@dataclass(frozen=True)
class MLPConfig:
    """Settings of `MLP`.

    Attributes:
        width: Channels of the residual stream.
        depth: Residual blocks.
    """

    width: int = 512
    depth: int = 4


class MLP(Network):
    """Blocks ``h + (LayerNorm, Linear, SiLU, Linear)(h)`` between two linear layers."""

    def __init__(self, config: MLPConfig, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        chunk, width = sizes.horizon * sizes.action, config.width
        self.inputs = nn.Linear(chunk + sizes.horizon + sizes.context, width)
        self.weights_input = zero_linear(sizes.horizon, width, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(config.depth)
        )
        self.output = nn.Linear(width, sizes.horizon * sizes.output)

    @override
    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        self.sizes.check(x, t, w, context)
        tau = 2 * position_time(t, w) - 1
        h = self.inputs(torch.cat((x.flatten(1), tau, context), 1)) + self.weights_input(w)
        for block in self.blocks:
            h = h + block(h)
        return self.output(h).view(len(x), self.sizes.horizon, self.sizes.output)
