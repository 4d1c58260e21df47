"""What LeRobot does before and after the policy: normalise, move, and back."""

# pyright: reportMissingImports=false

from typing import Any

from lerobot.processor import make_default_pre_post_processors

from lerobot_policy_segue.configuration_segue import SegueConfig


def make_segue_pre_post_processors(
    config: SegueConfig, dataset_stats: dict[str, dict[str, Any]] | None = None
) -> tuple[Any, Any]:
    """LeRobot's own pipelines, as they are."""
    return make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
