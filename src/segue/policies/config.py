"""The configuration that policies of every family have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from segue.core.observation import Cameras
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.policies.networks import Network, build_network


@dataclass(frozen=True)
class Vision:
    """Settings of a policy's encoder of pictures; plain JSON.

    Attributes:
        encoder: Name of the encoder, see `segue.policies.encoders`.
        settings: Its settings, where they differ from the defaults.
        crop: Share of height and width that is looked at: cut out anywhere in training, in the middle at inference
            (arXiv 2303.04137). 1 for all.
    """

    encoder: str = "resnet"
    settings: Mapping[str, Any] = field(default_factory=dict)
    crop: float = 0.875

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise SpecError(f"crop {self.crop}", "a share above 0, at most 1", "use 1 to look at whole pictures")

    def crops(self, cameras: Cameras) -> Cameras:
        """Cut each camera's height and width to the part that is looked at [pixels]."""
        return {name: (round(self.crop * high), round(self.crop * wide)) for name, (high, wide) in cameras.items()}


@dataclass(frozen=True)
class FamilyConfig:
    """Describes a policy but for its weights. A family adds its name and fields of its own.

    Attributes:
        spec: Observations and actions of the network; in latent space, positions and latents for steps and actions.
        relative_to: Per action dimension, the index of the observation that it is taken relative to, or None for an
            absolute action.
        network: Name of the network.
        network_settings: Its settings, where they differ from the defaults.
        vision: Settings of its encoder of pictures; None for a policy of the state alone.
    """

    family: ClassVar[str]

    spec: PolicySpec
    relative_to: tuple[int | None, ...]
    network: str = "mlp"
    network_settings: Mapping[str, Any] = field(default_factory=dict)
    vision: Vision | None = None

    def built(self, context: int, width: int = 1) -> Network:
        """Build the network with fresh weights, from torch's global generator.

        Args:
            context: Numbers that an observation is encoded to.
            width: Numbers that come out per action dimension.
        """
        horizon, action = self.spec.horizon, len(self.spec.action_names)
        return build_network(
            self.network, self.network_settings, horizon=horizon, action=action, context=context, output=action * width
        )
