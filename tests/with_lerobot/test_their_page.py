"""What the page on policies of others shows runs, on a checkpoint of LeRobot's own."""

# pyright: reportMissingImports=false

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policies import ACTION, HORIZON, STATE, TOP, processors, tiny

PAGE = Path(__file__).parents[2] / "docs" / "policies-of-others.md"


@pytest.mark.parametrize("name", ["smolvla", "pi05"])
def test_the_page_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny(name, tmp_path / "parts", monkeypatch)
    policy.save_pretrained(tmp_path / "pretrained_model")
    for processor in processors(name, policy.config):
        processor.save_pretrained(tmp_path / "pretrained_model")
    monkeypatch.chdir(tmp_path)
    batch = {
        "observation.state": torch.zeros(2, STATE),
        TOP: torch.rand(2, 3, 64, 64),
        "task": ["put the cup away"] * 2,
    }
    namespace: dict[str, Any] = {"loader": [{**batch, "action": torch.zeros(2, HORIZON, ACTION)}] * 2, "updates": 2}
    for block in re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(PAGE), "exec"), namespace)
    assert namespace["actions"].shape == (HORIZON, ACTION)
