"""HDF5 in the layouts of ALOHA and robomimic; what lies elsewhere, or claims to be more than it is, is refused."""

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from segue.data import files, hdf5
from segue.errors import DataError

RNG = np.random.default_rng(0)
LENGTHS = (5, 3, 4)
ACTIONS = [RNG.normal(size=(n, 4)).astype(np.float32) for n in LENGTHS]
STATES = [RNG.normal(size=(n, 4)) for n in LENGTHS]
PICTURES = [RNG.integers(0, 255, (n, 6, 8, 3), np.uint8) for n in LENGTHS]


def aloha(folder: Path, **changes: Any) -> Path:
    """A file per episode, in numbers that sort otherwise as words."""
    folder.mkdir()
    for number, action, state, pictures in zip((2, 9, 10), ACTIONS, STATES, PICTURES, strict=True):
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file["action"] = action
            file["observations/qpos"], file["observations/qvel"] = state, state
            file["observations/images/top"] = pictures
            for key, value in changes.items():
                del file[key.replace("__", "/")]
                file[key.replace("__", "/")] = value
    return folder


def robomimic(path: Path, rate: int | None = 20) -> Path:
    """A file of episodes."""
    with h5py.File(path, "w") as file:
        for number, action, state in zip((0, 1, 11), ACTIONS, STATES, strict=True):
            group = file.create_group(f"data/demo_{number}")
            group["actions"] = action
            group["obs/robot0_eef_pos"], group["obs/robot0_eef_quat"] = state[:, :3], state
            group["obs/robot0_gripper_qpos"], group["obs/agentview_image"] = state[:, :2], PICTURES[0][:1]
        if rate is not None:
            file["data"].attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": rate}})
    return path


def test_a_folder_of_files_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    found = files.load(aloha(tmp_path / "aloha"), rate=50)
    np.testing.assert_array_equal(found.action, np.concatenate(ACTIONS))
    np.testing.assert_array_equal(found.observation, np.concatenate(STATES).astype(np.float32))
    np.testing.assert_array_equal(found.ends, np.cumsum(LENGTHS))
    assert found.dt == pytest.approx(0.02)
    assert found.observation_names == ("qpos 0", "qpos 1", "qpos 2", "qpos 3")
    assert found.state_of_action == (0, 1, 2, 3)
    assert found.origin.unseen == ("observations/images/top",)
    assert found.origin.unread == ("observations/qvel",)


def test_one_file_is_one_episode(tmp_path: Path) -> None:
    found = files.load(aloha(tmp_path / "aloha") / "episode_9.hdf5", rate=50)
    np.testing.assert_array_equal(found.action, ACTIONS[1])


def test_a_file_of_episodes_says_its_rate(tmp_path: Path) -> None:
    found = files.load(robomimic(tmp_path / "low_dim.hdf5"))
    np.testing.assert_array_equal(found.action, np.concatenate(ACTIONS))
    np.testing.assert_array_equal(found.observation[:, :3], np.concatenate(STATES)[:, :3].astype(np.float32))
    assert found.observation.shape[1] == 9
    assert found.dt == pytest.approx(0.05)
    assert found.state_of_action == (None,) * 4
    assert files.load(tmp_path / "low_dim.hdf5", rate=10).dt == pytest.approx(0.1)


def test_keys_can_be_named_and_joined(tmp_path: Path) -> None:
    root = aloha(tmp_path / "aloha")
    found = files.load(root, rate=50, state="observations/qpos, observations/qvel", action="observations/qvel")
    assert found.observation.shape[1] == 8
    np.testing.assert_array_equal(found.action, np.concatenate(STATES).astype(np.float32))
    with pytest.raises(
        DataError, match=r"without 'observations/force'[\s\S]*observations/qvel[\s\S]*--state and --action"
    ):
        files.load(root, rate=50, state="observations/force")


def test_pictures_are_read_for_the_cameras_that_are_named(tmp_path: Path) -> None:
    root = aloha(tmp_path / "aloha")
    key = "observations/images/top"
    assert files.cameras(root) == (key,)
    found = files.load(root, rate=50, cameras=[key], episodes=[0, 2])
    np.testing.assert_array_equal(found.pictures[key][:], np.concatenate([PICTURES[0], PICTURES[2]]))
    assert found.origin.unseen == ()


def test_pictures_in_jpeg_are_decoded(tmp_path: Path) -> None:
    root = tmp_path / "aloha"
    aloha(root)
    smooth = np.broadcast_to(np.linspace(0, 255, 8, dtype=np.uint8)[:, None], (6, 8, 3))
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95)
    for number, length in zip((2, 9, 10), LENGTHS, strict=True):
        row = np.zeros(2000, np.uint8)
        row[: len(file.getvalue())] = np.frombuffer(file.getvalue(), np.uint8)
        with h5py.File(root / f"episode_{number}.hdf5", "a") as content:
            del content["observations/images/top"]
            content["observations/images/top"] = np.tile(row, (length, 1))
    found = files.load(root, rate=50, cameras=["observations/images/top"])
    shown = found.pictures["observations/images/top"][:].astype(int)
    assert shown.shape == (12, 6, 8, 3)
    assert np.abs(shown - smooth).mean() < 6


def test_a_bad_episode_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    root = aloha(tmp_path / "aloha")
    with h5py.File(root / "episode_9.hdf5", "a") as file:
        spoiled = ACTIONS[1].copy()
        spoiled[1, 2] = np.nan
        del file["action"]
        file["action"] = spoiled
    with pytest.raises(DataError, match=r"'action' is not finite at step 1[\s\S]*--skip-bad"):
        files.load(root, rate=50)
    found = files.load(root, rate=50, skip_bad=True)
    np.testing.assert_array_equal(found.action, np.concatenate([ACTIONS[0], ACTIONS[2]]))
    assert found.origin.notes[0].startswith("episode 1 is left out")
    np.testing.assert_array_equal(files.load(root, rate=50, episodes=[2]).action, ACTIONS[2])


def test_the_rate_has_to_be_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--rate"):
        files.load(aloha(tmp_path / "aloha"))
    with pytest.raises(DataError, match="positive rate"):
        files.load(tmp_path / "aloha", rate=-1.0)
    with pytest.raises(DataError, match="--rate"):
        files.load(robomimic(tmp_path / "low_dim.hdf5", rate=None))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"action": ACTIONS[0][:2]}, "2 and 5 rows"),
        ({"action": np.array([b"a"] * 5)}, "type |S1"),
        ({"action": np.float32(3)}, "one row per frame"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    root = aloha(tmp_path / "aloha")
    with h5py.File(root / "episode_2.hdf5", "a") as file:
        for key, value in changes.items():
            del file[key]
            file[key] = value
    with pytest.raises(DataError, match=complaint.replace("|", r"\|")):
        files.load(root, rate=50)


def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    root = aloha(tmp_path / "aloha")
    secret = tmp_path / "secret.hdf5"
    with h5py.File(secret, "w") as file:
        file["numbers"] = ACTIONS[0]
    with h5py.File(root / "episode_2.hdf5", "a") as file:
        del file["action"]
        file["action"] = h5py.ExternalLink(str(secret), "numbers")
    with pytest.raises(DataError, match="without an action"):
        files.load(root, rate=50)
    with h5py.File(root / "episode_2.hdf5", "a") as file:
        del file["action"]
        file.create_dataset("action", (5, 4), np.float32, external=[(str(secret), 0, 80)])
    with pytest.raises(DataError, match="lies in other files"):
        files.load(root, rate=50)


def test_an_array_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    root = aloha(tmp_path / "aloha")
    with h5py.File(root / "episode_2.hdf5", "a") as file:
        del file["action"]
        file.create_dataset("action", (10**9, 10**3), np.float32, chunks=(1000, 10), compression="gzip")
    with pytest.raises(DataError, match="an array that was written"):
        files.load(root, rate=50)


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "aloha").mkdir()
    (tmp_path / "aloha/episode_0.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for path in (tmp_path / "aloha", tmp_path / "aloha/episode_0.hdf5"):
        with pytest.raises(DataError, match="a whole HDF5 file"):
            files.load(path)
    named = aloha(tmp_path / "other") / "episode_2.hdf5"
    assert hdf5.is_hdf5(named.rename(tmp_path / "without_a_suffix"))
