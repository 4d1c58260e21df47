"""Local data sets of Minari, written here as Minari 0.5 writes them."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from segue.data import files
from segue.errors import DataError

RNG = np.random.default_rng(0)
LENGTHS = (5, 3, 4, 2, 2, 2, 2, 2, 2, 2, 6)
ACTIONS = [RNG.normal(size=(n, 2)).astype(np.float32) for n in LENGTHS]
STATES = [RNG.normal(size=(n + 1, 3)) for n in LENGTHS]
BOX = json.dumps({"type": "Box", "dtype": "float32", "shape": [2], "low": [-1, -1], "high": [1, 1]})


def data_set(folder: Path, *, nested: bool = False, **changes: Any) -> Path:
    """A data set of eleven episodes, so that episode_10 comes before episode_2 as a word."""
    home = folder / "data"
    home.mkdir(parents=True)
    said = {"total_episodes": len(LENGTHS), "total_steps": sum(LENGTHS), "data_format": "hdf5", "action_space": BOX}
    (home / "metadata.json").write_text(json.dumps(said | changes))
    with h5py.File(home / "main_data.hdf5", "w", track_order=True) as file:
        for number, (state, action) in enumerate(zip(STATES, ACTIONS, strict=True)):
            group = file.create_group(f"episode_{number}")
            group["actions"], group["rewards"] = action, np.zeros(len(action))
            group["terminations"] = group["truncations"] = np.zeros(len(action), bool)
            if nested:
                group["observations/observation"], group["observations/goal"] = state, state[:, :2]
                group["observations/view"] = np.full((len(state), 4, 6, 3), number, np.uint8)
            else:
                group["observations"] = state
            group.attrs["total_steps"] = len(action)
    return folder


@pytest.mark.parametrize("inner", ["", "data"])
def test_each_action_has_the_observation_that_it_was_chosen_in(tmp_path: Path, inner: str) -> None:
    found = files.load(data_set(tmp_path / "mine-v0") / inner, rate=20)
    np.testing.assert_array_equal(found.action, np.concatenate(ACTIONS))
    np.testing.assert_array_equal(found.observation, np.concatenate([s[:-1] for s in STATES]).astype(np.float32))
    np.testing.assert_array_equal(found.ends, np.cumsum(LENGTHS))
    assert (found.dt, found.source) == (pytest.approx(0.05), "Minari mine-v0")


def test_the_parts_of_a_dict_are_joined_in_the_order_of_their_keys_and_pictures_are_cameras(tmp_path: Path) -> None:
    path = data_set(tmp_path / "mine-v0", nested=True)
    assert files.cameras(path) == ("observations/view",)
    found = files.load(path, rate=20, cameras=files.cameras(path), episodes=[2])
    np.testing.assert_array_equal(
        found.observation, np.concatenate([STATES[2][:-1, :2], STATES[2][:-1]], axis=1).astype(np.float32)
    )
    assert found.observation_names == ("goal 0", "goal 1", "observation 0", "observation 1", "observation 2")
    pictures = found.pictures["observations/view"]
    assert len(pictures) == LENGTHS[2]
    only = files.load(path, rate=20, state="observations/goal", skip_bad=True)
    assert only.observation_names == ("goal 0", "goal 1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total_episodes": 12}, "11 episodes"),
        ({"data_format": "arrow"}, "stored as 'arrow'"),
        ({"action_space": json.dumps({"type": "Discrete", "n": 3})}, "Discrete actions"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        files.load(data_set(tmp_path / "mine-v0", **changes), rate=20)


def test_it_does_not_know_its_rate(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--rate"):
        files.load(data_set(tmp_path / "mine-v0"))


def test_an_episode_without_its_last_observation_is_refused_or_left_out(tmp_path: Path) -> None:
    path = data_set(tmp_path / "mine-v0")
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/observations"]
        file["episode_1/observations"] = STATES[1][:-1]
    with pytest.raises(DataError, match="2 and 3 rows in /episode_1"):
        files.load(path, rate=20)
    found = files.load(path, rate=20, skip_bad=True)
    np.testing.assert_array_equal(found.action, np.concatenate([*ACTIONS[:1], *ACTIONS[2:]]))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"action_space": "{"}'])
def test_damaged_metadata_is_an_error_of_ours_or_nothing_that_is_needed(tmp_path: Path, text: str) -> None:
    path = data_set(tmp_path / "mine-v0")
    (path / "data" / "metadata.json").write_text(text)
    if "action_space" in text:
        assert len(files.load(path, rate=20)) == len(LENGTHS)
    else:
        with pytest.raises(DataError, match=r"metadata\.json"):
            files.load(path, rate=20)


def test_data_sets_stored_as_arrow_are_recognised(tmp_path: Path) -> None:
    path = data_set(tmp_path / "mine-v0", data_format="arrow")
    (path / "data" / "main_data.hdf5").unlink()
    (path / "data" / "0").mkdir()
    with pytest.raises(DataError, match="'arrow'"):
        files.load(path, rate=20)
