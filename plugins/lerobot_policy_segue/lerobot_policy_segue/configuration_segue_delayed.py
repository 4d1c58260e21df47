"""Configuration of any policy of LeRobot under a delay of inference."""

# pyright: reportMissingImports=false

from dataclasses import dataclass
from typing import Any

from lerobot.configs import PreTrainedConfig

from segue.errors import SpecError


@PreTrainedConfig.register_subclass("segue_delayed")
@dataclass
class SegueDelayedConfig(PreTrainedConfig):
    """The policy at ``pretrained_path``, whose chunks arrive late in an evaluation.

    Attributes:
        delay: d, from the observation to the first executed action of the new chunk [steps].
        execution_horizon: s, steps from one chunk to the next; None for half of the chunk.
        continues: Tell a policy that understands it what is left of the chunk before; otherwise chunks are joined
            naively.
    """

    delay: int = 0
    execution_horizon: int | None = None
    continues: bool = True

    def validate_features(self) -> None:
        """The policy inside has done so."""

    def get_optimizer_preset(self) -> Any:
        """Raise `SpecError`: only the policy inside can be trained."""
        raise SpecError(
            got="training of a policy of type segue_delayed",
            expected="an evaluation",
            change="train the policy itself, and evaluate it with --policy.type=segue_delayed",
        )

    def get_scheduler_preset(self) -> None:
        """None."""

    @property
    def observation_delta_indices(self) -> None:
        """Not trained."""

    @property
    def action_delta_indices(self) -> None:
        """Not trained."""

    @property
    def reward_delta_indices(self) -> None:
        """Not trained."""
