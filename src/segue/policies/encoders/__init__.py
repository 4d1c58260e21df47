"""Encoders of pictures by name: from the pictures of all cameras to the numbers that a policy is told."""

from collections.abc import Mapping
from typing import Any

from segue.core.observation import Cameras
from segue.errors import UnknownNameError, settings_of
from segue.policies.encoders import pretrained
from segue.policies.encoders.pretrained import Pretrained
from segue.policies.encoders.resnet import ResNet

ENCODERS: dict[str, type[ResNet] | type[Pretrained]] = {"resnet": ResNet, "pretrained": Pretrained}


def settled(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that alone build the encoder again, whatever they were looked up from."""
    return pretrained.described(settings) if name == "pretrained" else dict(settings)


def build_encoder(name: str, settings: Mapping[str, Any], cameras: Cameras) -> ResNet | Pretrained:
    """Encoder with fresh weights from torch's global generator; `start` gives it pretrained ones, if it has any.

    Args:
        name: Key of `ENCODERS`.
        settings: Arguments that differ from the defaults.
        cameras: Height and width of the pictures that it is given, in their order.

    Raises:
        UnknownNameError: There is no such encoder.
        SpecError: It has no such setting, or the pictures are too small.
        MissingExtraError: What it needs is not installed.
    """
    if name not in ENCODERS:
        raise UnknownNameError("encoder", name, ENCODERS)
    with settings_of(f"the encoder {name!r}"):
        return ENCODERS[name](cameras, **settings)
