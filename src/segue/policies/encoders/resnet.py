"""A small residual network per camera, trained with the policy, as Diffusion Policy does it (arXiv 2303.04137).

    picture / 255 -- 5 x 5, stride 2 -- blocks, the size halved from width to width --> maps -- keypoints --> features

Groups are normalised and not batches: with averaged weights, statistics of batches would be those of another network.
Of the maps only the place of their maximum is kept, which is what an action depends on (spatial softmax,
arXiv 1504.00702).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.core.observation import Cameras
from segue.errors import SpecError

GROUP = 8
"""Channels that are normalised together."""


class ResNet(nn.Module):
    """One network per camera.

    Args:
        cameras: Height and width of the pictures.
        widths: Channels, each half as large as the one before; multiples of 8.
        blocks: Residual blocks per width.
        keypoints: Maps of which the place of the maximum is kept.

    Attributes:
        features: Two numbers per keypoint and camera.
    """

    def __init__(
        self, cameras: Cameras, widths: Sequence[int] = (16, 32, 64), blocks: int = 1, keypoints: int = 32
    ) -> None:
        super().__init__()
        if not widths or any(width < GROUP or width % GROUP for width in widths) or min(blocks, keypoints) < 1:
            raise SpecError(
                got=f"widths {list(widths)}, {blocks} blocks, {keypoints} keypoints",
                expected=f"widths that are multiples of {GROUP}, at least one block and one keypoint",
                change="correct the settings of the encoder",
            )
        smallest = 2 ** (len(widths) + 1)
        for name, size in cameras.items():
            if min(size) < smallest:
                raise SpecError(
                    got=f"pictures {name!r} of {size[0]} x {size[1]} pixels to look at",
                    expected=f"at least {smallest} pixels for {len(widths)} widths",
                    change="use larger pictures, or fewer widths",
                )
        self.cameras = nn.ModuleList(_tower(widths, blocks, keypoints) for _ in cameras)
        self.features = 2 * keypoints * len(cameras)

    def start(self) -> None:
        """Keep the fresh weights: there are no pretrained ones."""

    def forward(self, pictures: Sequence[Tensor]) -> Tensor:
        """Shape (batch, features). Pictures (batch, height, width, 3) of bytes, one tensor per camera."""
        seen = [
            keypoints(tower(picture.permute(0, 3, 1, 2).float() / 127.5 - 1))
            for tower, picture in zip(self.cameras, pictures, strict=True)
        ]
        return torch.cat(seen, dim=1)


def keypoints(maps: Tensor) -> Tensor:
    """Find where each map is largest, softly: the mean place under its softmax. (batch, maps, h, w) -> (batch, 2 maps).

    Places are from -1 (left, top) to 1.
    """
    batch, count, height, width = maps.shape
    share = maps.flatten(2).softmax(2).view(batch, count, height, width)
    x = (share.sum(2) * torch.linspace(-1, 1, width, device=maps.device)).sum(2)
    y = (share.sum(3) * torch.linspace(-1, 1, height, device=maps.device)).sum(2)
    return torch.cat([x, y], dim=1)


class Block(nn.Module):
    """Two convolutions beside a shortcut (arXiv 1512.03385)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(width // GROUP, width) for _ in range(2))
        same = stride == 1 and before == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, before, h, w) -> (batch, width, h / stride, w / stride)."""
        inner = F.relu(self.norms[0](self.first(maps)))
        return F.relu(self.norms[1](self.second(inner)) + self.shortcut(maps))


def _tower(widths: Sequence[int], blocks: int, keypoints: int) -> nn.Sequential:
    stem = [nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.GroupNorm(widths[0] // GROUP, widths[0]), nn.ReLU()]
    body, before = list[nn.Module](), widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            body.append(Block(before, width, 2 if stage and not block else 1))
            before = width
    return nn.Sequential(*stem, *body, nn.Conv2d(before, keypoints, 1))
