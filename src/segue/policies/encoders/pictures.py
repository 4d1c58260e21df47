"""From the pictures of an observation to numbers: the part that is looked at, then an encoder.

pictures (batch, height, width, 3), bytes -- cut --> (batch, *crop, 3) -- encoder --> (batch, features)
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segue.core.observation import Cameras, Observation, check_pictures
from segue.policies.config import Vision
from segue.policies.encoders import build_encoder
from segue.policies.encoders.pretrained import Pretrained


class Sight(nn.Module):
    """Looks at the pictures of all cameras. Fresh weights from torch's global generator.

    Attributes:
        features: Numbers that all pictures of an observation are encoded to.
    """

    def __init__(self, vision: Vision, cameras: Cameras) -> None:
        super().__init__()
        self._cameras, self._crops = cameras, vision.crops(cameras)
        self.encoder = build_encoder(vision.encoder, vision.settings, self._crops)
        self.features = self.encoder.features

    def forward(self, observation: Observation[Tensor]) -> Tensor:
        """Shape (batch, features). Pictures that are not cut yet are cut in the middle; see `frozen` for others.

        Raises:
            SpecError: A picture is missing, is not of bytes, or has neither the size of the camera nor of its crop.
        """
        pictures = observation.pictures if isinstance(observation, Observation) else {}
        if self._said(pictures):
            return self.encoder([pictures[name] for name in self._crops])
        if not all(name in pictures and _is_cut(pictures[name], crop) for name, crop in self._crops.items()):
            check_pictures(observation, self._cameras)
        return self.encoder([cut_middle(pictures[name], *crop) for name, crop in self._crops.items()])

    @property
    def frozen(self) -> Pretrained | None:
        """The encoder, where its backbone always says the same of a picture: it is not trained, and nothing is cut.

        What it has said of each camera, shape (batch, width), is then taken in the place of the pictures.
        """
        encoder, whole = self.encoder, self._crops == self._cameras
        return encoder if isinstance(encoder, Pretrained) and whole and not encoder.learned else None

    def _said(self, pictures: Mapping[str, Tensor]) -> bool:
        shapes = {pictures[name].shape[1:] if name in pictures else None for name in self._crops}
        return self.frozen is not None and shapes == {(self.frozen.width,)}

    def cut_anywhere(self, observation: Observation[Tensor], generator: torch.Generator) -> Observation[Tensor]:
        """Each picture cut at a place of its own; where, is drawn from the generator."""
        if self._said(observation.pictures):
            for _ in range(2 * len(self._crops)):  # so that what is drawn behind the cuts is the same
                torch.randint(0, 1, (len(observation),), generator=generator)
            return observation
        check_pictures(observation, self._cameras)
        shown = observation.pictures
        cut = {name: cut_anywhere(shown[name], *crop, generator) for name, crop in self._crops.items()}
        return Observation(observation.state, cut, observation.prompt)


def _is_cut(pictures: Tensor, crop: tuple[int, int]) -> bool:
    return tuple(pictures.shape[1:]) == (*crop, 3) and pictures.dtype == torch.uint8


def cut_middle(pictures: Tensor, height: int, width: int) -> Tensor:
    """The middle of pictures (batch, any, any, 3). Shape (batch, height, width, 3)."""
    top, left = (pictures.shape[1] - height) // 2, (pictures.shape[2] - width) // 2
    return pictures[:, top : top + height, left : left + width]


def cut_anywhere(pictures: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A part of each picture, at a place drawn uniformly. Shape (batch, height, width, 3)."""
    batch, device = len(pictures), pictures.device
    top = torch.randint(0, pictures.shape[1] - height + 1, (batch, 1, 1), generator=generator).to(device)
    left = torch.randint(0, pictures.shape[2] - width + 1, (batch, 1, 1), generator=generator).to(device)
    rows = top + torch.arange(height, device=device)[None, :, None]
    columns = left + torch.arange(width, device=device)[None, None]
    return pictures[torch.arange(batch, device=device)[:, None, None], rows, columns]
