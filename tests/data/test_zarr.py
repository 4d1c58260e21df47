"""Zarr stores: what is read, what is never opened, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
import zarr.codecs
from typer.testing import CliRunner
from zarr.storage import ZipStore

from segue.cli import app
from segue.data import files
from segue.data import zarr as stores
from segue.data.episodes import save
from segue.errors import DataError

ENDS = np.array([3, 7, 9])
ACTION = np.arange(18, dtype=np.float32).reshape(9, 2)
STATE = np.arange(27, dtype=np.float64).reshape(9, 3) / 10


def fill(store: Any, *, version: Any = 2, attributes: dict[str, Any] | None = None, **arrays: Any) -> None:
    """A replay buffer; an array given as None is left out, others replace or join the usual ones."""
    contents = {"data/action": ACTION, "data/state": STATE, "meta/episode_ends": ENDS}
    contents |= {key.replace("__", "/"): value for key, value in arrays.items()}
    root = zarr.open_group(store, mode="w", zarr_format=version, attributes=attributes or {})
    for key, value in contents.items():
        if value is not None:
            array = root.create_array(key, shape=value.shape, dtype=value.dtype, chunks=(4, *value.shape[1:]))
            array[:] = value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.zarr"


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_becomes_episodes(path: Path, version: int) -> None:
    fill(str(path), version=version)
    found = stores.load(path, rate=60)
    np.testing.assert_array_equal(found.action, ACTION)
    np.testing.assert_array_equal(found.observation, STATE.astype(np.float32))
    np.testing.assert_array_equal(found.ends, ENDS)
    assert found.dt == pytest.approx(1 / 60)
    assert found.observation_names == ("state 0", "state 1", "state 2")
    assert found.action_names == ("action 0", "action 1")


def test_a_zipped_store_reads_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "buffer.zarr.zip"
    with ZipStore(packed, mode="w") as store:
        fill(store)
    assert stores.is_store(packed)
    np.testing.assert_array_equal(files.load(packed, rate=10).action, ACTION)


def test_the_published_name_of_a_pose_is_found_and_any_other_can_be_named(path: Path) -> None:
    fill(str(path), data__state=None, data__left_robot_tcp_pose=STATE, data__left_robot_gripper_width=STATE[:, :1])
    assert stores.load(path, rate=60).observation_names[0] == "left_robot_tcp_pose 0"
    gripper = stores.load(path, rate=60, state="data/left_robot_gripper_width")
    np.testing.assert_array_equal(gripper.observation, STATE[:, :1].astype(np.float32))


def test_arrays_can_be_named_and_joined(path: Path) -> None:
    arm, hand = STATE[:, :2], STATE[:, 2:]
    fill(str(path), data__action=None, data__state=None, data__arm=arm, data__hand=hand, data__obs__deep=STATE)
    with pytest.raises(
        DataError, match=r"without 'data/action'; it has data/arm, data/hand, data/obs/deep[\s\S]*--action"
    ):
        files.load(path, rate=10)
    found = files.load(path, rate=10, action="data/arm,data/hand", state="data/obs/deep")
    np.testing.assert_array_equal(found.action, STATE.astype(np.float32))
    assert found.action_names == ("arm 0", "arm 1", "hand 0")
    np.testing.assert_array_equal(found.observation, STATE.astype(np.float32))
    assert found.origin.unread == ()
    fill(str(path), data__short=STATE[:4])
    with pytest.raises(DataError, match="9, 4 rows"):
        files.load(path, rate=10, action="data/action,data/short")


def test_episodes_are_chosen_and_cameras_are_known(path: Path) -> None:
    fill(str(path), data__camera0=np.ones((9, 4, 4, 3), np.uint8), data__force=STATE)
    found = files.load(path, rate=10, episodes=[1])
    np.testing.assert_array_equal(found.action, ACTION[3:7])
    assert found.origin.unseen == ("data/camera0",)
    assert found.origin.unread == ("data/force",)
    fill(str(path), data__state=np.where(STATE == 0.4, np.nan, STATE))
    left = files.load(path, rate=10, skip_bad=True)
    np.testing.assert_array_equal(left.action, ACTION[3:])


def test_an_archive_may_hold_the_store_in_its_folder(tmp_path: Path, path: Path) -> None:
    fill(str(path), version=2)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", root_dir=tmp_path, base_dir="buffer.zarr")
    np.testing.assert_array_equal(files.load(Path(packed), rate=10).action, ACTION)


@pytest.mark.parametrize(
    "stage",
    [
        {"id": "fixedscaleoffset", "scale": 1, "offset": 0, "dtype": "<f4", "astype": "<i4"},
        {"id": "quantize", "digits": 3, "dtype": "<f4"},
        {"id": "astype", "encode_dtype": "<f8", "decode_dtype": "<f4"},
    ],
    ids=lambda stage: stage["id"],
)
def test_filters_that_only_compute_are_read(path: Path, stage: dict[str, Any]) -> None:
    codec: Any = numcodecs.get_codec(stage)
    fill(str(path), data__action=None)
    array = zarr.open_group(str(path), mode="a").create_array(
        "data/action", shape=ACTION.shape, dtype=ACTION.dtype, chunks=(4, 2), filters=[codec]
    )
    array[:] = ACTION
    np.testing.assert_allclose(stores.load(path, rate=10).action, ACTION, atol=1e-3)


def test_further_axes_are_laid_out_flat(path: Path) -> None:
    keypoints = np.arange(36, dtype=np.float32).reshape(9, 2, 2)
    fill(str(path), data__keypoint=keypoints)
    np.testing.assert_array_equal(stores.load(path, rate=1, state="data/keypoint").observation, keypoints.reshape(9, 4))


def test_the_period_may_be_an_attribute_and_an_option_overrides_it(path: Path) -> None:
    fill(str(path), attributes={"dt": 0.05})
    assert stores.load(path).dt == 0.05
    assert stores.load(path, rate=10).dt == 0.1


def test_the_previous_action_in_place_of_a_state(path: Path) -> None:
    fill(str(path), data__state=None)
    found = stores.load(path, rate=10, state="previous-action")
    np.testing.assert_array_equal(found.ends, ENDS - [1, 2, 3])
    kept = [1, 2, 4, 5, 6, 8]
    np.testing.assert_array_equal(found.action, ACTION[kept])
    np.testing.assert_array_equal(found.observation, ACTION[[0, 1, 3, 4, 5, 7]])
    for episode in found:
        np.testing.assert_array_equal(episode.observation[1:], episode.action[:-1])


def test_images_are_never_opened(path: Path) -> None:
    fill(str(path), data__img=np.zeros((9, 4), np.uint8) + 1)
    (path / "data" / "img" / ".zarray").write_text("not even JSON")
    assert len(files.load(path, rate=10)) == 3


@pytest.mark.parametrize(
    ("changes", "options", "complaint"),
    [
        ({}, {"rate": None}, "rate"),
        ({}, {"rate": 0.0}, "positive"),
        ({"attributes": {"dt": "fast"}}, {"rate": None}, "attribute dt"),
        ({"data__action": None}, {}, "without 'data/action'; it has data/state, meta/episode_ends"),
        ({"meta__episode_ends": None}, {}, "episode_ends"),
        ({"data__state": None}, {}, "--state previous-action"),
        ({}, {"state": "data/stat"}, "data/stat"),
        ({}, {"state": "data"}, "is a group"),
        ({"data__state": STATE[:8]}, {}, "8 observations and 9 actions"),
        ({"meta__episode_ends": np.array([3, 7])}, {}, "ends at frame 7 of 9"),
        ({"meta__episode_ends": np.array([3.0, 9.0])}, {}, "whole numbers"),
        ({"meta__episode_ends": np.array([1, 9])}, {"state": "previous-action"}, "at least two frames"),
        ({"data__state": np.where(STATE == 1.1, np.nan, STATE)}, {}, "finite"),
        ({"data__state": np.full((9, 1), "a")}, {}, "numbers"),
    ],
)
def test_what_cannot_be_used_is_said(
    path: Path, changes: dict[str, Any], options: dict[str, Any], complaint: str
) -> None:
    fill(str(path), **changes)
    with pytest.raises(DataError, match=complaint):
        stores.load(path, **{"rate": 10.0, **options})


@pytest.mark.parametrize("file", ["data/action/1.0", ".zgroup", "data/action/.zarray"])
def test_a_device_in_place_of_a_file_is_not_read(path: Path, file: str) -> None:
    fill(str(path))
    (path / file).unlink()
    (path / file).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="no ordinary file"):
        files.load(path, rate=10)


def test_an_array_larger_than_the_memory_is_damage(path: Path) -> None:
    fill(str(path))
    metadata = path / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**content, "shape": [10**9, 10**9], "chunks": [10**9, 10**9]}))
    (path / "data/action/1.0").unlink()
    (path / "data/action/2.0").unlink()
    with pytest.raises(DataError, match="GB in"):
        files.load(path, rate=10)


def test_a_missing_chunk_is_not_read_as_zeros(path: Path) -> None:
    fill(str(path))
    (path / "data" / "action" / "1.0").unlink()
    with pytest.raises(DataError, match="2 of 3 chunks"):
        stores.load(path, rate=10)


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_of_zeros_that_were_not_written_can_be_filled(path: Path, version: int) -> None:
    resting = np.where(np.arange(9)[:, None] < 4, ACTION, 0).astype(np.float32)
    fill(str(path), version=version, data__action=resting)
    with pytest.raises(DataError, match=r"1 of 3 chunks[\s\S]*--fill-missing"):
        files.load(path, rate=10)
    np.testing.assert_array_equal(files.load(path, rate=10, fill_missing=True).action, resting)


def test_other_recordings_have_no_use_for_filling(path: Path, tmp_path: Path) -> None:
    fill(str(path))
    save(stores.load(path, rate=10), tmp_path / "same.npz")
    with pytest.raises(DataError, match="--fill-missing for"):
        files.load(tmp_path / "same.npz", fill_missing=True)


def test_a_damaged_chunk_is_said(path: Path) -> None:
    fill(str(path))
    chunk = path / "data" / "action" / "1.0"
    chunk.write_bytes(chunk.read_bytes()[:5])
    with pytest.raises(DataError, match=r"data/action.*cannot be read"):
        stores.load(path, rate=10)


COMPRESSORS: dict[tuple[int, str], Any] = {
    **{
        (2, name): numcodecs.get_codec({"id": name}) for name in ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma")
    },
    (3, "blosc"): zarr.codecs.BloscCodec(),
    (3, "gzip"): zarr.codecs.GzipCodec(),
    (3, "zstd"): zarr.codecs.ZstdCodec(),
}
"""Those of `CODECS` that compress, by version of the format and name."""


@pytest.mark.parametrize("spoilt", [lambda chunk: chunk[:5], lambda chunk: chunk[:8] + b"\xa5" * 40])
@pytest.mark.parametrize(("version", "codec"), COMPRESSORS)
def test_a_chunk_that_is_damaged_under_any_codec_is_said(path: Path, version: Any, codec: str, spoilt: Any) -> None:
    fill(str(path), version=version, data__action=None)
    array = zarr.open_group(str(path), mode="a").create_array(
        "data/action",
        shape=ACTION.shape,
        dtype=ACTION.dtype,
        chunks=(4, 2),
        compressors=[COMPRESSORS[version, codec]],
    )
    array[:] = ACTION
    np.testing.assert_array_equal(stores.load(path, rate=10).action, ACTION)
    chunk = path / "data" / "action" / ("1.0" if version == 2 else "c/1/0")
    chunk.write_bytes(spoilt(chunk.read_bytes()))
    with pytest.raises(DataError, match=r"data/action.*cannot be read"):
        stores.load(path, rate=10)


def test_a_codec_that_unpickles_is_never_run(path: Path) -> None:
    fill(str(path))
    metadata = path / "data" / "action" / ".zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**content, "filters": [{"id": "pickle", "protocol": 5}]}))
    with pytest.raises(DataError, match="pickle"):
        stores.load(path, rate=10)


@pytest.mark.parametrize("kind", ["nothing", "an empty folder", "a broken archive"])
def test_a_path_that_is_no_store(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing.zarr"
    if kind == "an empty folder":
        path.mkdir()
    if kind == "a broken archive":
        path = tmp_path / "thing.zip"
        path.write_bytes(b"PK")
    with pytest.raises(DataError):
        files.load(path, rate=10)


def test_npz_files_are_read_as_before_and_have_no_use_for_the_options(tmp_path: Path, path: Path) -> None:
    fill(str(path))
    episodes = stores.load(path, rate=10)
    save(episodes, tmp_path / "same.npz")
    np.testing.assert_array_equal(files.load(tmp_path / "same.npz").action, episodes.action)
    with pytest.raises(DataError, match="--rate"):
        files.load(tmp_path / "same.npz", rate=10)


def test_the_command_line_checks_a_store(path: Path) -> None:
    fill(str(path))
    checked = CliRunner(env={"COLUMNS": "200"}).invoke(app.app, ["check", str(path), "--rate", "60", "--horizon", "4"])
    assert checked.exit_code == 0
    assert "3 episodes of 2 to 4 steps at 60 Hz, 3 observations, 2 actions" in checked.output
    refused = CliRunner().invoke(app.app, ["check", str(path)])
    assert isinstance(refused.exception, DataError)


def test_a_task_has_no_use_for_the_options() -> None:
    refused = CliRunner().invoke(app.app, ["train", "adroit-door", "--rate", "60"])
    assert isinstance(refused.exception, DataError)
