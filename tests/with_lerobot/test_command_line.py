"""The commands of docs/lerobot.md, run: offline, without a GPU, without a robot."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from documented import QUICKLY, changed, documented, value
from reaching import Run

from segue.data.lerobot import reader

pytestmark = pytest.mark.usefixtures("trained")
ROLLOUTS = documented("lerobot-rollout")


def test_a_policy_is_trained_and_loaded_again(trained: Path) -> None:
    from lerobot.configs import PreTrainedConfig  # pyright: ignore[reportMissingImports]
    from lerobot_policy_segue.modeling_segue import SeguePolicy  # pyright: ignore[reportMissingImports]

    config = PreTrainedConfig.from_pretrained(trained)
    policy = SeguePolicy.from_pretrained(trained, config=config, strict=True)
    assert (config.type, config.fps, config.action_feature_names) == ("segue", 30.0, ["x.pos", "y.pos"])
    assert int(policy.learned.updates) == QUICKLY["steps"]
    policy.init_rtc_processor()
    assert policy.predict_action_chunk({"observation.state": torch.zeros(2, 4)}).shape == (2, 32, 2)


@pytest.mark.parametrize("number", range(len(ROLLOUTS)))
def test_a_robot_is_driven(run: Run, workplace: Path, number: int) -> None:
    arguments, log = ROLLOUTS[number], workplace / f"commands-{number}.json"
    recorded = "--strategy.type=episodic" in arguments
    shorter = {"dataset.episode_time_s": 3} if recorded else {"duration": 3}
    said = run("lerobot-rollout", *changed(arguments, **shorter, robot__log=log, return_to_initial_position="false"))
    commands = json.loads(log.read_text())["sent"]
    sent = np.array([[command["x.pos"], command["y.pos"]] for command in commands])
    assert len(sent) > 20, said
    assert np.abs(sent).max() < 2
    assert "inference error" not in said
    if value(arguments, "--inference.type") == "segue":
        assert f"segue: {len(sent)} actions from" in said
    if recorded:
        root = workplace / value(arguments, "--dataset.root")
        np.testing.assert_allclose(reader.load(root).action, sent, atol=1e-6)
        [metrics] = [each for each in documented("segue") if each[:2] == ["metrics", f"recorded/{root.name}"]]
        assert "Seam jump" in run("segue", *metrics)


def test_a_delay_is_simulated_in_an_evaluation(run: Run, workplace: Path) -> None:
    [arguments] = documented("lerobot-eval")
    run("lerobot-eval", *changed(arguments, eval__n_episodes=2, eval__batch_size=2))
    folder = workplace / value(arguments, "--output_dir")
    assert json.loads((folder / "eval_info.json").read_text())["overall"]["n_episodes"] == 2
    assert len(list((folder / "recordings").glob("*/env_*"))) == 2
    [metrics] = [each for each in documented("segue") if each[1].startswith("outputs/eval")]
    assert "Commanded jerk" in run("segue", *metrics)


def test_a_latent_policy_is_trained(run: Run, workplace: Path) -> None:
    [autoencoder] = [each for each in documented("segue") if each[0] == "train-autoencoder"]
    autoencoder[autoencoder.index("--updates") + 1] = "20"
    run("segue", *autoencoder)
    run("lerobot-train", *changed(documented("lerobot-train")[1], **QUICKLY | {"steps": 4, "policy.plain_updates": 2}))
    made = workplace / "outputs" / "reach-latent" / "checkpoints" / "last" / "pretrained_model"
    config = json.loads((made / "config.json").read_text())
    assert config["autoencoder_config"]["action_names"] == ["x.pos", "y.pos"]
    assert config["normalization_mapping"]["ACTION"] == "IDENTITY"
