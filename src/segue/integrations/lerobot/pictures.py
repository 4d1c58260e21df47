"""Pictures in LeRobot's batches as our policies look at them.

    observation.images.front  (batch, [seen,] 3, H, W) in [0, 1]  -->  front  (batch, seen, h, w, 3), bytes

The longer side of what is shown has at most so many pixels: LeRobot records 480 x 640, and a network of ours that
learns from nothing sees no more in them than in 96 x 128.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segue.errors import SpecError


class Camera(NamedTuple):
    """One camera of a data set.

    Attributes:
        name: Ours: what follows ``observation.images.``.
        recorded: Height and width of its pictures [pixels].
        shown: The same of what the policy sees.
    """

    name: str
    recorded: tuple[int, int]
    shown: tuple[int, int]


def camera_name(key: str) -> str:
    """What a camera is called on the robot: ``front`` for ``observation.images.front``."""
    return key.removeprefix("observation.").removeprefix("images.")


def cameras_of(shapes: Mapping[str, tuple[int, ...]], longest: int) -> dict[str, Camera]:
    """Cameras by their keys.

    Args:
        shapes: (3, height, width) by key, as LeRobot's features say.
        longest: Pixels of the longer side of what is shown; smaller pictures stay as they are.

    Raises:
        SpecError: Pictures without colours.
    """
    found = {}
    for key, shape in shapes.items():
        if len(shape) != 3 or shape[0] != 3:
            raise SpecError(
                got=f"pictures {key} of shape {tuple(shape)}",
                expected="(3, height, width): red, green and blue",
                change="leave depth out: name what the policy is to see with --policy.input_features",
            )
        height, width = shape[1:]
        by = min(longest / max(height, width), 1.0)
        found[key] = Camera(camera_name(key), (height, width), (round(by * height), round(by * width)))
    return found


def pictures_in(batch: Mapping[str, Tensor], cameras: Mapping[str, Camera]) -> dict[str, Tensor]:
    """Pictures of a batch by our names, (batch, seen, height, width, 3) of bytes; one without a time axis is of now.

    Raises:
        SpecError: A picture has another size than those of the training.
    """
    found = {}
    for key, camera in cameras.items():
        picture = batch[key] if batch[key].ndim == 5 else batch[key][:, None]
        if tuple(picture.shape[-3:]) != (3, *camera.recorded):
            raise SpecError(
                got=f"pictures {key} of shape {tuple(picture.shape[-3:])}",
                expected=f"(3, {camera.recorded[0]}, {camera.recorded[1]}), as in training",
                change="set height and width of the camera to those of the data set",
            )
        flat = picture.flatten(0, 1)
        flat = flat.float() / 255 if flat.dtype == torch.uint8 else flat.float()
        if camera.shown != camera.recorded:
            flat = F.interpolate(flat, camera.shown, mode="bilinear", antialias=True)
        bytes_ = (255 * flat).round().clamp(0, 255).to(torch.uint8)
        found[camera.name] = bytes_.permute(0, 2, 3, 1).unflatten(0, picture.shape[:2])
    return found
