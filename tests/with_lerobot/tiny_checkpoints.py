"""Checkpoints of LeRobot's own classes for the simulated robot with two cameras: tiny, with random weights."""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import pytest
import tiny_policies
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors

STATE, ACTION = 4, 2
PICTURES = ("observation.images.front", "observation.images.wrist")


def act(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """ACT."""
    return _saved("act", folder, patch, chunk_size=100, n_action_steps=100)


def smolvla(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """SmolVLA, whose language model is made of its configuration: the folder has its processor."""
    return _saved("smolvla", folder, patch, chunk_size=50, n_action_steps=50)


def _saved(name: str, folder: Path, patch: pytest.MonkeyPatch, **sizes: Any) -> Path:
    patch.setattr(tiny_policies, "features", lambda: {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
            **{key: PolicyFeature(FeatureType.VISUAL, (3, 48, 64)) for key in PICTURES},
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        "device": "cpu",
    })  # fmt: skip
    policy = tiny_policies.tiny(name, folder / "parts", patch, **sizes)
    policy.save_pretrained(folder)
    statistics: dict[str, dict[str, torch.Tensor]] = {
        key: {
            "mean": torch.zeros(size),
            "std": 0.3 * torch.ones(size),
            "min": -torch.ones(size),
            "max": torch.ones(size),
        }
        for key, size in (("observation.state", STATE), ("action", ACTION))
    }
    grey = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)}
    for each in make_pre_post_processors(policy.config, dataset_stats=statistics | dict.fromkeys(PICTURES, grey)):
        each.save_pretrained(folder)
    return folder
