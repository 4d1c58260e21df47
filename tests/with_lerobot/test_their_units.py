"""Between the robot and a policy of LeRobot: every normalisation of theirs is undone as they undo it."""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import NormalizationMode
from tiny_policies import ACTION, STATE, TOP, WIDTH, processors, statistics, tiny

from segue.errors import SpecError
from segue.integrations.lerobot.policies.units import LeRobotUnits

MODES = [
    NormalizationMode.MEAN_STD,
    NormalizationMode.MIN_MAX,
    NormalizationMode.QUANTILES,
    NormalizationMode.IDENTITY,
]
STATES = {"observation.state": torch.linspace(-2, 3, 2 * STATE).reshape(2, STATE), "task": ["put", "cup"]}
ACTIONS = torch.linspace(-10, 60, 2 * 7 * ACTION).reshape(2, 7, ACTION)


def units(config: Any, name: str, postprocess: Any = None) -> tuple[LeRobotUnits, Any, Any]:
    before, after = processors(name, config)
    found = LeRobotUnits(before, postprocess or after, horizon=7, state=STATE, action=ACTION, width=WIDTH)
    return found, before, after


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("relative", [False, True])
def test_actions_go_both_ways_as_theirs(
    mode: NormalizationMode, relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joints = ["shoulder", "elbow", "gripper", "wrist"]
    policy = tiny("pi0", tmp_path, monkeypatch, use_relative_actions=relative, action_feature_names=joints)
    policy.config.normalization_mapping = {"STATE": mode, "ACTION": mode, "VISUAL": NormalizationMode.IDENTITY}
    found, before, after = units(policy.config, "pi0")
    assert found.anchor.tolist() == ([1, 1, 0, 1] if relative else [0, 0, 0, 0])  # their gripper stays absolute
    chunk = found.to_policy(ACTIONS, STATES)
    assert chunk.shape == (2, 7, WIDTH)
    assert not chunk[..., ACTION:].any()
    seen = before({**STATES, "action": ACTIONS})
    torch.testing.assert_close(chunk[..., :ACTION], seen["action"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.to_robot(chunk, STATES), ACTIONS, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.to_robot(chunk, STATES), after(chunk[..., :ACTION]), rtol=1e-4, atol=1e-4)


def test_scale_and_offset_are_precise_where_the_offset_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = statistics()
    far["action"] |= {"mean": torch.full((ACTION,), 1000.0), "std": torch.full((ACTION,), 1e-3)}
    monkeypatch.setattr("tiny_policies.statistics", lambda: far)
    policy = tiny("smolvla", tmp_path, monkeypatch)
    found, _, _ = units(policy.config, "smolvla")
    torch.testing.assert_close(found.scale, far["action"]["std"], rtol=1e-5, atol=0)
    torch.testing.assert_close(found.offset, far["action"]["mean"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("bend", [torch.tanh, lambda actions: actions.cumsum(1)])
def test_what_is_not_affine_is_refused(bend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny("smolvla", tmp_path, monkeypatch)
    with pytest.raises(SpecError, match="bends"):
        units(policy.config, "smolvla", postprocess=bend)


def test_pictures_of_bytes_become_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny("smolvla", tmp_path, monkeypatch)
    found, _, _ = units(policy.config, "smolvla")
    picture = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    seen = found.encode({**STATES, TOP: picture})[TOP]
    torch.testing.assert_close(seen, picture.permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("observation", [torch.zeros(2, STATE), {"state": torch.zeros(2, STATE)}])
def test_an_observation_without_their_names_says_which(
    observation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny("smolvla", tmp_path, monkeypatch)
    found, _, _ = units(policy.config, "smolvla")
    with pytest.raises(SpecError, match=r"observation\.state"):
        found.encode(observation)
