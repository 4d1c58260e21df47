"""A vision backbone of `transformers` that somebody else has trained: ResNet, DINOv2, SigLIP and their like.

    folder or hub id -- described --> its configuration and the statistics of its pictures, kept with the policy's
                     -- start ------> its weights, kept with the policy's own
    pictures -- resized, normalised as its processor does it --> backbone --> pooled -- projected --> features

So a checkpoint is complete: to run it, neither the folder nor the network is needed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from segue.core.observation import Cameras
from segue.errors import CheckpointError, MissingExtraError, SpecError

LOADING = (OSError, ValueError, KeyError, SafetensorError)
"""Errors that `transformers` raises for a folder or a name that it cannot use."""


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "vision", "a pretrained encoder of pictures") from error
    return transformers


def described(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with all that building the backbone needs, so that they alone build it.

    Args:
        settings: With ``backbone``, a folder or a hub id; what they name already is left alone.

    Raises:
        SpecError: No backbone is named.
        CheckpointError: There is no such backbone, or it does not say how its pictures are normalised.
        MissingExtraError: transformers is not installed.
    """
    if not settings.get("backbone"):
        raise SpecError("no backbone", "a folder or a hub id of a vision model", "set `backbone` of the encoder")
    transformers, name = _transformers(), str(settings["backbone"])
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        statistics, _ = transformers.ImageProcessingMixin.get_image_processor_dict(name)
    except LOADING as error:
        raise CheckpointError(
            got=f"{name}: {' '.join(str(error).split())[:200]}",
            expected="a vision model with its preprocessor_config.json, such as facebook/dinov2-small",
            change="check the name; without a network give the folder of a download",
        ) from error
    config = getattr(config, "vision_config", config)
    shape = statistics.get("crop_size") or statistics.get("size") or {}
    shape = shape if isinstance(shape, dict) else {"height": shape}
    size = getattr(config, "image_size", None) or shape.get("height") or shape.get("shortest_edge")
    found = {"size": size, "mean": statistics.get("image_mean"), "std": statistics.get("image_std")}
    missing = [key for key, value in {**found, **settings}.items() if value is None]
    if missing:
        raise CheckpointError(
            got=f"{name}, which does not say the {missing[0]} of its pictures",
            expected="size, image_mean and image_std in its preprocessor_config.json",
            change=f"set `{missing[0]}` of the encoder",
        )
    return {**found, "config": json.loads(config.to_json_string()), **settings}


class Pretrained(nn.Module):
    """One backbone for all cameras, and a projection for each.

    Args:
        cameras: Height and width of the pictures.
        backbone: Folder or hub id that the weights come from.
        config: Of the backbone, as `described` reads it.
        size: Height and width that pictures are resized to [pixels].
        mean: Of red, green and blue in [0, 1], that the backbone was trained with.
        std: Their standard deviations.
        learned: Whether the backbone is trained too; else only what is made of it is.
        width: Numbers per camera.

    Attributes:
        features: ``width`` per camera.
        learned: Whether the backbone is trained too.
        made_of: What, beside the backbone's weights, decides what it says of a picture; plain JSON.
        width: Numbers that the backbone says of a picture.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        cameras: Cameras,
        backbone: str,
        config: Mapping[str, Any],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        learned: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        transformers = _transformers()
        self._source, self._size, self.learned = backbone, size, learned
        self.made_of = {"config": dict(config), "size": size, "mean": list(mean), "std": list(std)}
        self._config = transformers.AutoConfig.for_model(**config)
        self.backbone = _settled(transformers.AutoModel.from_config(self._config), learned)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        with torch.no_grad():
            self.width = self._pooled(torch.zeros(1, 3, size, size)).shape[1]
        self.projections = nn.ModuleList(nn.Linear(self.width, width) for _ in cameras)
        self.features = width * len(cameras)

    def start(self) -> None:
        """Take the pretrained weights.

        Raises:
            CheckpointError: They cannot be read, or are not safetensors.
        """
        try:
            found = _transformers().AutoModel.from_pretrained(
                self._source, config=self._config, use_safetensors=True, dtype=torch.float32
            )
        except LOADING as error:
            raise CheckpointError(
                got=f"{self._source}: {' '.join(str(error).split())[:200]}",
                expected="the weights of a vision model in safetensors",
                change="check the name; without a network give the folder of a download",
            ) from error
        self.backbone.load_state_dict(found.state_dict())

    def train(self, mode: bool = True) -> Self:
        """Go into training; the backbone keeps its statistics and drops nothing, as averaged weights need it."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pictures: Sequence[Tensor]) -> Tensor:
        """Shape (batch, features).

        Args:
            pictures: One tensor per camera: bytes (batch, height, width, 3), or what `said` has made of them.
        """
        said = pictures if pictures[0].ndim == 2 else self.said(pictures)
        return torch.cat([projection(part) for projection, part in zip(self.projections, said, strict=True)], dim=1)

    def said(self, pictures: Sequence[Tensor]) -> Sequence[Tensor]:
        """Ask the backbone. (batch, height, width, 3) of bytes -> (batch, width), one tensor per camera."""
        shape = (self._size, self._size)
        resized = [
            F.interpolate(each.permute(0, 3, 1, 2).float() / 255, shape, mode="bilinear", antialias=True)
            for each in pictures
        ]
        with torch.set_grad_enabled(self.learned and torch.is_grad_enabled()):
            pooled = self._pooled((torch.cat(resized) - self.mean) / self.std)
        return pooled.chunk(len(resized))

    def _pooled(self, pictures: Tensor) -> Tensor:
        """Pool the backbone's output over whole pictures: its own summary, or the mean of its tokens."""
        said = self.backbone(pixel_values=pictures)
        summary = getattr(said, "pooler_output", None)
        return said.last_hidden_state.mean(1) if summary is None else summary.flatten(1)


def _settled(backbone: nn.Module, learned: bool) -> nn.Module:
    """A backbone whose weights are learned, or are buffers: then no optimiser and no `requires_grad_` reaches them."""
    if not learned:
        for module in backbone.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                del module._parameters[name]
                module.register_buffer(name, weight.detach())
    return backbone.eval()
