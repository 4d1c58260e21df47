"""What policies of every family are configured with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.core.observation import Cameras


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
    """

    horizon: int
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    relative_to: tuple[int | None, ...]
    network: str = "mlp"
    network_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cameras(self) -> Cameras:
        """Pictures that it sees."""
        return {}

    @property
    @abstractmethod
    def family(self) -> str:
        """Name of the family."""
        ...
