"""What the page on policies of others and the tutorial show runs, on a checkpoint of LeRobot's own."""

# pyright: reportMissingImports=false

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policies import ACTION, HORIZON, STATE, TOP, processors, tiny

DOCS = Path(__file__).parents[2] / "docs"
PAGE, TUTORIAL = DOCS / "policies-of-others.md", DOCS / "tutorials" / "smoother_pi05.md"


def saved(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """A tiny checkpoint where the pages look for one."""
    policy = tiny(name, folder / "parts", patch)
    policy.save_pretrained(folder / "pretrained_model")
    for processor in processors(name, policy.config):
        processor.save_pretrained(folder / "pretrained_model")
    patch.chdir(folder)


@pytest.mark.parametrize("name", ["smolvla", "pi05"])
def test_the_page_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(name, tmp_path, monkeypatch)
    batch = {
        "observation.state": torch.zeros(2, STATE),
        TOP: torch.rand(2, 3, 64, 64),
        "task": ["put the cup away"] * 2,
    }
    namespace: dict[str, Any] = {"loader": [{**batch, "action": torch.zeros(2, HORIZON, ACTION)}] * 2, "updates": 2}
    reaching = {"observation.state": torch.zeros(2, 4, STATE), "action": torch.zeros(2, HORIZON + 3, ACTION)}
    namespace["further"] = [{**batch, **reaching}] * 2
    for block in re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(PAGE), "exec"), namespace)
    assert namespace["actions"].shape == (HORIZON, ACTION)


@pytest.mark.parametrize("name", ["smolvla", "pi05"])
def test_the_tutorial_runs_on_a_checkpoint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(name, tmp_path, monkeypatch)
    found = re.search(r'^```python title="smooth_pi05.py"\n(.*?)^```$', TUTORIAL.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    namespace: dict[str, Any] = {}
    exec(compile(found[1], str(TUTORIAL), "exec"), namespace)
    first, later = namespace["first"], namespace["later"]
    assert first.shape == later.shape == (HORIZON, ACTION)
    assert (later[:3] == first[4:7]).all()
