"""The script that times whole inferences: every method runs, and the file says what was measured."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes.summaries import cell, comparison
from segue.data.bundled import adroit_door
from segue.methods.methods import method
from segue.policies.families import config_for, policy_for

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "costs.py"


@pytest.mark.parametrize("name", ["naive", "rtc", "bid", "naive:predictor=learned", "a2c2"])
def test_an_inference_is_a_whole_chunk(name: str) -> None:
    torch.manual_seed(0)
    episodes = adroit_door()
    policy = policy_for(config_for("flow", episodes, horizon=32, network_settings={"width": 8, "depth": 1}), episodes)
    script = runpy.run_path(str(SCRIPT))
    actions = script["inference"](method(name), policy, episodes, 8)()
    assert actions.shape == (1, 32, len(episodes.action_names))
    assert np.isfinite(actions).all()


def test_the_file_has_a_ratio_for_every_method_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"naive": "", "rtc": "", "remac": ""}
    columns = {"success": [1.0, 0.0]}
    content = comparison(labels, [cell(name, 4, columns) for name in labels])
    (folder := tmp_path / "results" / "push-t").mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["costs.py", "--rounds", "1"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    ratios = json.loads((tmp_path / "results" / "costs.json").read_text())["ratios"]
    assert set(ratios) == set(labels)
    assert ratios["naive"] == [1.0, 1.0, 1.0]
    assert all(low <= middle <= high for low, middle, high in ratios.values())
