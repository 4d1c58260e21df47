r"""Conditional U-Net over the positions of a chunk, as in Diffusion Policy (arXiv 2303.04137).

    positions  H    inputs - level 0 ---------------------- level 0 - output
               H/2                 \ level 1 ---- level 1 /
               H/4                         \ bottom /

Level i has ``width * 2^i`` channels. Flow time and context modulate the channels of every block (FiLM, arXiv
1709.07871); the flow time and weight of each position are further channels of the input.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.errors import SpecError
from segue.policies.networks.features import Network, Sizes, TimeFeatures, position_time

GROUPS = 8
KERNEL = 5


@dataclass(frozen=True)
class UNetConfig:
    """Settings of `UNet`.

    Attributes:
        width: Channels of the first level, a multiple of 8; each further level has twice as many.
        levels: Resolutions; the horizon must be a multiple of ``2^(levels - 1)``.
        condition_width: Channels of the conditioning vector, even.

    Raises:
        SpecError: The width is not a multiple of 8.
    """

    width: int = 128
    levels: int = 3
    condition_width: int = 128

    def __post_init__(self) -> None:
        if self.width % GROUPS:
            raise SpecError(
                got=f"width {self.width}",
                expected=f"a multiple of {GROUPS}, the groups of each group norm",
                change=f"set width to {(self.width // GROUPS + 1) * GROUPS}",
            )


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, KERNEL, padding=KERNEL // 2), nn.GroupNorm(GROUPS, outputs), nn.Mish()
    )


class ResidualBlock(nn.Module):
    """Two convolutions with FiLM between them, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs)
        self.second = _convolution(outputs, outputs)
        self.film = nn.Linear(condition, 2 * outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv1d(inputs, outputs, 1)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Shape (batch, inputs, length) and (batch, condition) to (batch, outputs, length)."""
        shift, scale = self.film(condition)[..., None].chunk(2, 1)
        return self.second(self.first(h) * (1 + scale) + shift) + self.shortcut(h)


class Level(nn.Module):
    """Two residual blocks at one resolution."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = ResidualBlock(inputs, outputs, condition)
        self.second = ResidualBlock(outputs, outputs, condition)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Shape (batch, inputs, length) and (batch, condition) to (batch, outputs, length)."""
        return self.second(self.first(h, condition), condition)


class UNet(Network):
    """Levels of half the resolution and twice the channels each, and back up with skip connections."""

    def __init__(self, config: UNetConfig, sizes: Sizes) -> None:
        super().__init__()
        _check_horizon(sizes.horizon, config.levels)
        self.sizes = sizes
        widths = [config.width * 2**level for level in range(config.levels)]
        cond = config.condition_width
        steps = list(pairwise(widths))
        self.time = TimeFeatures(cond)
        self.context = nn.Linear(sizes.context, cond)
        self.activation = nn.Mish()
        self.inputs = nn.Conv1d(sizes.action + 1, widths[0], KERNEL, padding=KERNEL // 2)
        self.weights_input = nn.Conv1d(1, widths[0], KERNEL, padding=KERNEL // 2, bias=False)
        nn.init.zeros_(self.weights_input.weight)
        self.down = nn.ModuleList(Level(widths[max(i - 1, 0)], fine, cond) for i, (fine, _) in enumerate(steps))
        self.downsample = nn.ModuleList(nn.Conv1d(fine, fine, 3, stride=2, padding=1) for fine, _ in steps)
        self.bottom = Level(widths[max(config.levels - 2, 0)], widths[-1], cond)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose1d(coarse, fine, 4, stride=2, padding=1) for fine, coarse in reversed(steps)
        )
        self.up = nn.ModuleList(Level(2 * fine, fine, cond) for fine, _ in reversed(steps))
        self.output = nn.Sequential(_convolution(widths[0], widths[0]), nn.Conv1d(widths[0], sizes.output, 1))

    @override
    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        self.sizes.check(x, t, w, context)
        condition = self.activation(self.time(t) + self.context(context))
        tau = 2 * position_time(t, w) - 1
        channels = torch.cat((x, tau[..., None]), -1).transpose(1, 2)
        h = self.inputs(channels) + self.weights_input(w[:, None])
        skips = []
        for level, downsample in zip(self.down, self.downsample, strict=True):
            h = level(h, condition)
            skips.append(h)
            h = downsample(h)
        h = self.bottom(h, condition)
        for upsample, level in zip(self.upsample, self.up, strict=True):
            h = level(torch.cat((upsample(h), skips.pop()), 1), condition)
        return self.output(h).transpose(1, 2)


def _check_horizon(horizon: int, levels: int) -> None:
    factor = 2 ** (levels - 1)
    if horizon % factor:
        fitting = next(n for n in range(levels, 0, -1) if horizon % 2 ** (n - 1) == 0)
        raise SpecError(
            got=f"horizon {horizon} for a U-Net with {levels} levels",
            expected=f"a multiple of {factor}",
            change=f"use a horizon of {(horizon // factor + 1) * factor}, or set levels to {fitting}",
        )
