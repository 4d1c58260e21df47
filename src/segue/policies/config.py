"""What policies of every family are configured with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.core.observation import Cameras
from segue.errors import SpecError


@dataclass(frozen=True)
class Vision:
    """How a policy looks at pictures; plain JSON.

    Attributes:
        cameras: Height and width of each camera's pictures, as the robot hands them over [pixels].
        encoder: Name of the encoder, see `segue.policies.encoders`.
        settings: Its settings, where they differ from the defaults.
        crop: Share of height and width that is looked at: cut out anywhere in training, in the middle at inference
            (arXiv 2303.04137). 1 for all.
    """

    cameras: Cameras
    encoder: str = "resnet"
    settings: Mapping[str, Any] = field(default_factory=dict)
    crop: float = 0.875

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise SpecError(f"crop {self.crop}", "a share above 0, at most 1", "use 1 to look at whole pictures")

    @property
    def crops(self) -> Cameras:
        """Height and width of what is looked at [pixels]."""
        return {
            name: (round(self.crop * height), round(self.crop * width))
            for name, (height, width) in self.cameras.items()
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Vision":
        """The way back of `dataclasses.asdict` and JSON."""
        cameras = {name: (int(height), int(width)) for name, (height, width) in fields["cameras"].items()}
        return cls(**{**fields, "cameras": cameras})


@dataclass(frozen=True)
class FamilyConfig(ABC):
    """Everything about a policy but its weights; plain JSON. A family adds fields of its own.

    Attributes:
        horizon: H, actions per chunk.
        dt: Control period [s].
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        relative_to: Per action dimension, the index of the observation that it is taken relative to, or None for an
            absolute action.
        network: Name of the network.
        network_settings: Its settings, where they differ from the defaults.
        vision: How it looks at pictures; None for a policy of the state alone.
        action_kinds: The word of each action dimension's kind (`segue.core.dimensions`); empty where all are linear.
        observation_kinds: That of each observation dimension.
    """

    horizon: int
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    relative_to: tuple[int | None, ...]
    network: str = "mlp"
    network_settings: Mapping[str, Any] = field(default_factory=dict)
    vision: Vision | None = None
    action_kinds: tuple[str, ...] = field(default=(), kw_only=True)
    observation_kinds: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def cameras(self) -> Cameras:
        """Pictures that it sees."""
        return {} if self.vision is None else self.vision.cameras

    @property
    @abstractmethod
    def family(self) -> str:
        """Name of the family."""
        ...
