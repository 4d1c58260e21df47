"""Kinds that are said on the command line: of every kind of recording, kept by a conversion, proposed where missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from segue.cli.app import app
from segue.core.dimensions import LINEAR, Dimensions
from segue.data import files
from segue.data.declaration import declared
from segue.data.episodes import Episodes, save
from segue.data.proposals import proposed_kinds
from segue.errors import DataError
from segue.training.fitness import findings

NAMES = ("wrist", "jaw", "quat w", "quat x", "quat y", "quat z", "base")
ALL = ("wrist=angle", "jaw=binary", "quat *=quaternion", "action:base=velocity")
ACTIONS = Dimensions.of("angle", "binary", *["quaternion"] * 4, "velocity")
STATES = Dimensions.of("angle", "binary", *["quaternion"] * 4, "linear")


def turning(frames: int = 400) -> Episodes:
    """Round and round, a wrist, and a tool that says so with changing signs."""
    t = np.arange(frames) / 20
    sign = np.where(np.arange(frames) // 90 % 2, -1, 1)
    tool = [sign * np.cos(t / 2), 0 * t, 0 * t, sign * np.sin(t / 2)]
    values = np.stack([(t + np.pi) % (2 * np.pi) - np.pi, np.sin(t) > 0, *tool, np.cos(0.7 * t)], 1).astype(np.float32)
    ends = np.array([frames // 2, frames])
    return Episodes(np.roll(values, 1, 0)[:frames], values, ends, 0.05, NAMES, NAMES, tuple(range(7)), "made")


def invoked(*words: Any) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def options(*said: str) -> list[str]:
    return [word for each in said for word in ("--kind", each)]


def test_dimensions_are_what_is_said_and_the_last_word_counts() -> None:
    found = declared(turning(), ALL)
    assert (found.action_kinds, found.observation_kinds) == (ACTIONS, STATES)
    assert declared(found, ()) is found
    assert declared(found, ["*=linear"]).action_kinds == LINEAR
    again = declared(found, ["*=linear", "wrist=angle", "observation:jaw=gripper"])
    assert again.action_kinds.words == ("angle", *["linear"] * 6)
    assert again.observation_kinds.words[1] == "gripper"
    brackets = replace(turning(), action_names=("wrist [rad]", *NAMES[1:]), state_of_action=(None,) * 7)
    assert declared(brackets, ["wrist [rad]=angle"]).action_kinds.words[0] == "angle"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("wirst=angle", "fits none of the action or observation dimensions"), ("wrist", "NAME=KIND"),
        ("=angle", "NAME=KIND"), ("wrist=angel", "angel"), ("quat w=quaternion", "another size"),
        ("action:elbow=angle", "none of the action dimensions"), ("wrist=angle:0", "period"),
        ("action:wrist=angle:deg", "one unit"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(said: str, named: str) -> None:
    with pytest.raises(DataError, match=named):
        declared(turning(), ["wrist=angle", said])


def test_every_reader_takes_them_and_a_conversion_keeps_them(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    save(turning(), tmp_path / "a.npz")
    said = invoked("convert", tmp_path / "a.npz", tmp_path / "set", "--task", "turn", *options(*ALL))
    assert "action base is velocity" in said
    found = files.load(tmp_path / "set")
    assert (found.action_kinds, found.observation_kinds) == (ACTIONS, STATES)
    over = files.load(tmp_path / "set", kind=["jaw=gripper"])
    assert over.action_kinds.words[:2] == ("angle", "gripper")
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(tmp_path / "b.zarr"), mode="w", attributes={"dt": 0.05, "action_kinds": ["angle"] * 2})
    for key, values in (("data/action", turning().action[:, :2]), ("data/state", turning().observation[:, :2]),
                        ("meta/episode_ends", turning().ends)):  # fmt: skip
        root.create_array(key, shape=values.shape, dtype=values.dtype)[:] = values
    assert files.load(tmp_path / "b.zarr").action_kinds.words == ("angle", "angle")
    assert files.load(tmp_path / "b.zarr", action="data/action").action_kinds == LINEAR
    of_store = files.load(tmp_path / "b.zarr", kind=["action 1=binary", "state 0=angle"])
    assert of_store.action_kinds.words == ("angle", "binary")
    assert of_store.observation_kinds.words == ("angle", "linear")
    root.attrs["action_kinds"] = ["angel", "linear"]
    with pytest.raises(DataError, match="angel"):
        files.load(tmp_path / "b.zarr")


def test_check_proposes_what_then_is_taken_and_is_content(tmp_path: Path) -> None:
    save(turning(), tmp_path / "a.npz")
    before = invoked("check", tmp_path / "a.npz")
    for each in ('--kind "wrist=angle"', '--kind "jaw=binary"', '--kind "quat z=quaternion"'):
        assert each in before
    assert "quaternion and its negative" in before
    after = invoked("check", tmp_path / "a.npz", *options(*ALL))
    assert "action wrist is angle" in after
    assert "kind: " not in after
    assert "beware" not in after
    assert findings(declared(turning(), ALL), 32) == []
    assert proposed_kinds(declared(turning(), ALL)) == []


def test_a_rare_close_is_no_outlier_and_a_declared_standstill_no_surprise() -> None:
    values = turning().action.copy()
    values[:, 1], values[:, 6] = np.arange(400) == 250, 3.0
    rare = replace(turning(), action=values)
    said = "\n".join(each.text for each in findings(rare, 32))
    assert "'jaw' is 1" in said
    assert "'base' never changes" in said
    assert findings(declared(rare, [*ALL[:3], "action:base=constant"]), 32) == []


def test_measures_are_those_of_the_motion(tmp_path: Path) -> None:
    save(turning(), tmp_path / "a.npz")
    assert "wrist" in invoked("metrics", tmp_path / "a.npz").split("most of the commanded jerk")[1]
    said = invoked("metrics", tmp_path / "a.npz", *options("wrist=angle", "jaw=binary", "quat *=quaternion"))
    assert "wrist" not in said.split("most of the commanded jerk")[1]


def test_kinds_are_part_of_what_a_policy_is_trained_on(tmp_path: Path) -> None:
    save(turning(), tmp_path / "a.npz")
    invoked("train-predictor", "--data", tmp_path / "a.npz", "--updates", 1, "--width", 4, "--out", tmp_path / "run",
            *options(*ALL))  # fmt: skip
    config = json.loads((tmp_path / "run" / "last" / "config.json").read_text())
    assert tuple(config["predictor"]["action_kinds"]) == ACTIONS.words
    result = CliRunner().invoke(app, ["train", "push-t", "--kind", "x=angle", "--out", str(tmp_path / "no")])
    assert result.exit_code
    assert "--kind" in str(result.exception) + result.output
