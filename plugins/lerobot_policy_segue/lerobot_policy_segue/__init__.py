"""Segue in LeRobot, found by its name: importing it registers the policies and the inference engine."""

from lerobot_policy_segue.configuration_segue import SegueConfig
from lerobot_policy_segue.configuration_segue_delayed import SegueDelayedConfig
from lerobot_policy_segue.inference import SegueInferenceConfig

__all__ = ["SegueConfig", "SegueDelayedConfig", "SegueInferenceConfig"]
