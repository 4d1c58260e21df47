"""`segue train` with a file of settings, options of the training, and what is written beside the checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fakes.point_mass import demonstrations, recipe
from fakes.shell import Segue, segue_in
from segue.cli import settings
from segue.data import episodes as episodes_file
from segue.errors import SpecError
from segue.training import checkpoint
from segue.training.curve import read
from segue.training.recipe import Recipe

SMALL = """
updates = 4
horizon = 8
predictor = false
batch = 8
[network_settings]
width = 16
[training]
own_refresh = 2
own_steps = 1
own_elapsed = [1, 4]
checkpoint_every = 2
"""


@pytest.fixture
def segue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Segue:
    """Run the entry point in a folder with demonstrations and settings; exit status, what was said, complaints."""
    monkeypatch.chdir(tmp_path)
    episodes_file.save(demonstrations((30, 24, 40)), tmp_path / "mine.npz")
    (tmp_path / "small.toml").write_text(SMALL)
    return segue_in(monkeypatch, capsys)


def same(one: Path, other: Path) -> bool:
    a, b = (checkpoint.load(each).weights for each in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_resolved_settings_give_the_same_run_to_the_bit(segue: Segue, tmp_path: Path) -> None:
    status, said, _ = segue(
        "train", "--data", "mine.npz", "--config", "small.toml", "--out", "one", "--learning-rate", 0.002,
        "--objective", "legato", "--own-share", 0.5, "--held-out", 0.4, "--accumulate", 2, "--seed", 3, "--relative",
    )  # fmt: skip
    assert status == 0
    assert "target x" in said  # the table of what is held out
    info = checkpoint.load(tmp_path / "one" / "legato").info
    assert (info["training"]["batch"], info["training"]["learning_rate"], info["seed"]) == (8, 0.002, 3)
    assert info["policy"]["network_settings"] == {"width": 16}
    assert info["conduct"] == {"held_out": 0.4, "accumulate": 2}
    assert float(read(tmp_path / "one" / "legato")[-1]["held-out loss"]) > 0
    assert segue("train", "--config", "one/config.toml", "--out", "two")[0] == 0
    assert same(tmp_path / "one" / "legato", tmp_path / "two" / "legato")
    assert (tmp_path / "one" / "config.toml").read_text() == (tmp_path / "two" / "config.toml").read_text()
    # the command line comes before the file
    assert segue("train", "--config", "one/config.toml", "--out", "three", "--seed", 4, "--network", "mixer")[0] == 0
    info = checkpoint.load(tmp_path / "three" / "legato").info
    assert (info["seed"], info["policy"]["network"], info["policy"]["network_settings"]) == (4, "mixer", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("horizn = 8", "did you mean 'horizon'"),
        ("[training]\nlearning_rat = 1.0", "did you mean 'learning_rate'"),
        ("[vision]\ncrops = 1.0", "did you mean 'crop'"),
        ('[training]\nbatch = "many"', "fields of `TrainingConfig`"),
        ("[training]\nbatch = 0", "raise batch"),
        ("training = 3", "[training]"),
        ("[horizon]\na = 1", "a value"),
        ("horizon = ", "TOML"),
        ("fresh = true", "unknown setting"),
    ],
)
def test_what_a_file_cannot_say_is_refused(segue: Segue, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    status, _, complaint = segue("train", "--data", "mine.npz", "--config", "wrong.toml", "--out", "run")
    assert status == 1
    assert says in complaint
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        settings.read(tmp_path / "none.toml")


def test_a_missing_tracker_is_said_with_its_extra(segue: Segue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.training.curve.find_spec", lambda name: None)
    status, _, complaint = segue(
        "train", "--data", "mine.npz", "--config", "small.toml", "--out", "run", "--track", "tensorboard"
    )
    assert status == 1
    assert ".[tensorboard]" in complaint


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
numbers = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
plain = numbers | st.booleans() | texts | st.lists(numbers, max_size=3)


@given(said=st.dictionaries(texts.filter(bool), plain | st.dictionaries(texts, plain, min_size=1), max_size=4))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, said: dict[str, Any]) -> None:
    file = tmp_path_factory.mktemp("settings") / "config.toml"
    settings.write(file, {**said, "left out": None, "empty": {}})
    assert settings.read(file) == said


def test_settings_of_another_family_or_network_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    settings.write(file, {"family": "diffusion", "family_settings": {"predicts": "noise"}, "vision": {"crop": 1.0}})
    found = settings.applied(file, replace(recipe(), family="flow"))
    assert found.family_settings == {}
    assert found.vision == {"crop": 1.0}
    assert settings.applied(file, Recipe(family="diffusion")).family_settings == {"predicts": "noise"}
    assert settings.applied(None, found) == found
