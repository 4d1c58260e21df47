"""LeRobot's own programs with our policies and our runtime: offline, without a GPU, without a robot."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reaching import Run

from segue.data.lerobot import reader


def test_a_policy_is_trained_and_loaded_again(trained: Path) -> None:
    from lerobot.configs import PreTrainedConfig  # pyright: ignore[reportMissingImports]
    from lerobot_policy_segue.modeling_segue import SeguePolicy  # pyright: ignore[reportMissingImports]

    config = PreTrainedConfig.from_pretrained(trained)
    policy = SeguePolicy.from_pretrained(trained, config=config, strict=True)
    assert (config.type, config.fps, config.action_feature_names) == ("segue", 10.0, ["x.pos", "y.pos"])
    assert int(policy.learned.updates) == 300
    policy.init_rtc_processor()
    assert policy.predict_action_chunk({"observation.state": torch.zeros(2, 4)}).shape == (2, 16, 2)


def rollout(lerobot: Run, trained: Path, log: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    said = lerobot(
        "lerobot-rollout",
        f"--policy.path={trained}",
        "--strategy.type=base",
        "--robot.type=reach",
        f"--robot.log={log}",
        "--task=reach the goal",
        "--fps=10",
        "--duration=3",
        "--return_to_initial_position=false",
        *arguments,
    )
    return said, json.loads(log.read_text())


@pytest.mark.parametrize("engine", ["sync", "rtc", "segue"])
def test_a_robot_is_driven(lerobot: Run, trained: Path, tmp_path: Path, engine: str) -> None:
    arguments = [f"--inference.type={engine}"] + ["--inference.queue_threshold=8"] * (engine == "rtc")
    said, log = rollout(lerobot, trained, tmp_path / "log.json", *arguments)
    sent = np.array([[command["x.pos"], command["y.pos"]] for command in log["sent"]])
    assert len(sent) > 20, said
    assert np.abs(sent).max() < 1.5
    assert "inference error" not in said
    if engine == "segue":
        assert f"segue: {len(sent)} actions from" in said


def test_a_delay_is_simulated_in_an_evaluation(lerobot: Run, trained: Path, tmp_path: Path) -> None:
    lerobot(
        "lerobot-eval",
        "--policy.type=segue_delayed",
        f"--policy.pretrained_path={trained}",
        "--policy.delay=4",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--env.type=reach",
        "--eval.n_episodes=2",
        "--eval.batch_size=2",
        "--eval.use_async_envs=false",
        "--eval.recording=true",
        f"--output_dir={tmp_path / 'eval'}",
    )
    overall = json.loads((tmp_path / "eval" / "eval_info.json").read_text())["overall"]
    assert overall["n_episodes"] == 2
    [first, second] = sorted((tmp_path / "eval" / "recordings").glob("*/env_*"))
    for recorded in (first, second):
        episodes = reader.load(recorded, state="agent_pos")
        assert len(episodes) == 1
        assert np.isfinite(episodes.action).all()
