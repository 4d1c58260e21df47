"""Data sets of LeRobot as they are found: linked, named by other converters, half wrong; what is left out of them."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from fakes.lerobot_sets import DATA, EPISODES, as_version_2, change_column, change_feature, change_info, same
from fakes.point_mass import demonstrations
from segue.data import files
from segue.data.lerobot import layout, reader, writer
from segue.data.origin import Instructions
from segue.errors import DataError

LENGTHS = np.diff(demonstrations().ends, prepend=0).tolist()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return writer.save(demonstrations(), tmp_path / "set", task="move the mass")


def downloaded(source: Path, store: Path) -> Path:
    """A data set as a download of the hub keeps it: a snapshot of links into a folder of blobs."""
    (store / "blobs").mkdir(parents=True)
    for number, file in enumerate(each for each in source.rglob("*") if each.is_file()):
        blob, link = store / "blobs" / str(number), store / "snapshots/abc" / file.relative_to(source)
        shutil.copy(file, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return store / "snapshots/abc"


def test_a_download_of_links_is_read(root: Path, tmp_path: Path) -> None:
    same(reader.load(downloaded(root, tmp_path / "new")), demonstrations())
    old = downloaded(as_version_2(root, tmp_path / "v2"), tmp_path / "old")
    np.testing.assert_array_equal(reader.load(old).action, demonstrations().action)
    shutil.move(root / "data", tmp_path / "elsewhere")
    (root / "data").symlink_to(tmp_path / "elsewhere")
    same(reader.load(root), demonstrations())


@pytest.mark.parametrize(
    "template",
    [
        "/etc/{chunk_index}{file_index}",
        "data/../../{chunk_index}{file_index}",
        "..",
        "data\\..\\{chunk_index}{file_index}",
        "data/\0{file_index}",
    ],
)
def test_a_template_that_leads_out_is_refused(root: Path, template: str) -> None:
    change_info(data_path=template)(root)
    with pytest.raises(DataError, match="files inside of the data set"):
        reader.load(root)


@pytest.mark.parametrize(
    "template",
    [
        "data/{chunk_index:0999999999d}",
        "data/{file_index:{chunk_index}}",
        "data/{chunk_index.real}",
        "data/{file_index!r:>999999999}",
        "data/{}" * 100,
        "x" * 10_000,
        "{",
        7,
    ],
)
def test_a_template_asks_for_numbers_to_a_width_and_nothing_else(root: Path, template: Any) -> None:
    change_info(data_path=template)(root)
    with pytest.raises(DataError, match=r"a template over chunk_index, file_index"):
        reader.load(root)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["a", "b"]], ("a", "b")),
        ([[["a"], ["b"]]], ("a", "b")),
        ({"motors": [["a", "b"]]}, ("a", "b")),
        ({"left": ["a"], "right": ["b"]}, ("a", "b")),
        ({"left": ["x"], "right": ["x"]}, ("left x", "right x")),
        ({"b": 1, "a": 0}, ("a", "b")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ({"a": None, "b": None}, ("a", "b")),
        (None, ("action 0", "action 1")),
    ],
)
def test_names_come_in_many_shapes(root: Path, names: Any, expected: tuple[str, ...]) -> None:
    change_feature("action", names=names)(root)
    found = reader.load(root)
    assert found.action_names == expected
    assert found.origin.notes == ()
    np.testing.assert_array_equal(found.action, demonstrations().action)


@pytest.mark.parametrize(
    "names", [["actions"], [], {"motors": []}, "xy", 5, ["a", "a"], ["a", "b", "c"], {"a": 0, "b": 7, "c": 1}]
)
def test_dimensions_without_a_name_each_are_numbered_and_that_is_said(root: Path, names: Any) -> None:
    change_feature("action", names=names)(root)
    (root / layout.OURS).unlink()
    found = reader.load(root)
    assert found.action_names == ("action 0", "action 1")
    assert found.state_of_action == (None, None)
    (note,) = found.origin.notes
    assert "do not name 2 dimensions" in note


def renamed(root: Path, **names: str) -> Path:
    """With other columns."""
    table = pyarrow.parquet.read_table(root / DATA)
    pyarrow.parquet.write_table(
        table.rename_columns([names.get(each, each) for each in table.column_names]), root / DATA
    )
    info = json.loads((root / "meta/info.json").read_text())
    info["features"] = {names.get(key, key): value for key, value in info["features"].items()}
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def test_the_columns_of_other_converters_are_found(root: Path) -> None:
    renamed(root, **{"action": "actions", "observation.state": "state"})
    np.testing.assert_array_equal(reader.load(root).action, demonstrations().action)
    np.testing.assert_array_equal(reader.load(root).observation, demonstrations().observation)


def test_any_column_can_be_named_and_several_are_joined(root: Path) -> None:
    renamed(root, action="action.arm")
    with pytest.raises(DataError, match=r"no feature 'action'[\s\S]*action.arm[\s\S]*--action and --state"):
        reader.load(root)
    both = files.load(root, action="action.arm, timestamp", state="observation.state,frame_index")
    np.testing.assert_array_equal(both.action[:, :2], demonstrations().action)
    assert both.action_names[2:] == ("timestamp 0",)
    np.testing.assert_array_equal(both.observation[: LENGTHS[0], -1], np.arange(LENGTHS[0]))
    twice = files.load(root, action="action.arm", state="action.arm,observation.state")
    assert len(set(twice.observation_names)) == 6
    with pytest.raises(DataError, match="each of them once"):
        files.load(root, action="action.arm,action.arm")


def test_version_2_0_is_read_as_2_1(root: Path, tmp_path: Path) -> None:
    old = as_version_2(root, tmp_path / "old")
    change_info(codebase_version="v2.0")(old)
    np.testing.assert_array_equal(reader.load(old).action, demonstrations().action)


def test_a_list_of_episodes_is_read_as_what_it_is_whatever_the_version_says(root: Path) -> None:
    change_info(codebase_version="v2.0")(root)
    same(reader.load(root), demonstrations())


@pytest.mark.parametrize(
    ("version", "advice"), [(None, "no data set of LeRobot"), ("v1.6", "LeRobot 0.1"), ("v9", "newer Segue")]
)
def test_other_versions_get_advice_that_leads_on(root: Path, version: Any, advice: str) -> None:
    change_info(codebase_version=version)(root)
    with pytest.raises(DataError, match=advice):
        reader.load(root)


def test_rows_are_found_in_another_file_than_the_list_says(root: Path) -> None:
    (root / DATA).rename((root / DATA).with_name("file-007.parquet"))
    same(reader.load(root), demonstrations())
    (root / "data/rest").mkdir()
    (root / "data/chunk-000/file-007.parquet").rename(root / "data/rest/all.parquet")
    same(reader.load(root), demonstrations())
    shutil.copy(root / "data/rest/all.parquet", root / "data/rest/again.parquet")
    with pytest.raises(DataError, match=r"file-000.parquet cannot be read"):  # which one is meant, nobody knows
        reader.load(root)


def test_rows_are_found_where_the_list_confuses_two_files(root: Path) -> None:
    table = pyarrow.parquet.read_table(root / DATA)
    of_row = table.column("episode_index").to_numpy()
    pyarrow.parquet.write_table(table.take(np.flatnonzero(of_row == 0)), root / DATA)
    pyarrow.parquet.write_table(table.take(np.flatnonzero(of_row > 0)), (root / DATA).with_name("file-001.parquet"))
    change_column(EPISODES, "data/file_index", lambda _: pyarrow.array([1, 0, 1]))(root)
    same(reader.load(root), demonstrations())


@pytest.mark.parametrize("kind", [pyarrow.large_list(pyarrow.float64()), pyarrow.list_(pyarrow.float16(), 2)])
def test_the_same_numbers_in_another_type_of_column(root: Path, kind: Any) -> None:
    change_column(DATA, "action", lambda column: column.cast(pyarrow.list_(pyarrow.float32())).cast(kind))(root)
    np.testing.assert_allclose(reader.load(root).action, demonstrations().action, rtol=2e-3, atol=2e-3)


def test_shapes_with_more_axes_and_numbers_that_are_true_or_false(root: Path) -> None:
    change_feature("action", shape=[1, 2])(root)
    change_column(DATA, "action", lambda column: pyarrow.array([[each] for each in column.to_pylist()]))(root)
    np.testing.assert_array_equal(reader.load(root).action, demonstrations().action)
    change_feature("observation.state", shape=[], dtype="bool", names=None)(root)
    change_column(DATA, "observation.state", lambda column: pyarrow.array([i % 3 == 0 for i in range(len(column))]))(
        root
    )
    (root / layout.OURS).unlink()
    np.testing.assert_array_equal(reader.load(root).observation[:, 0], np.arange(sum(LENGTHS)) % 3 == 0)


def test_frames_are_in_their_own_order_wherever_they_begin_to_count(root: Path) -> None:
    table = pyarrow.parquet.read_table(root / DATA)
    order = np.random.default_rng(0).permutation(table.num_rows)
    pyarrow.parquet.write_table(table.take(order), root / DATA)
    same(reader.load(root), demonstrations())
    change_column(DATA, "frame_index", lambda column: pyarrow.array(column.to_numpy() + 1))(root)
    same(reader.load(root), demonstrations())


def test_a_byte_order_mark_is_no_damage(root: Path) -> None:
    info = root / "meta/info.json"
    info.write_bytes(b"\xef\xbb\xbf" + info.read_bytes())
    same(reader.load(root), demonstrations())


@pytest.mark.parametrize("file", [DATA, EPISODES, Path("meta/info.json")])
def test_a_pointer_of_git_lfs_is_named(root: Path, file: Path) -> None:
    (root / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match=r"pointer of Git LFS[\s\S]*git lfs pull"):
        reader.load(root)


# one bad episode


def with_gap(root: Path) -> None:
    def late(column: Any) -> Any:
        times = column.to_numpy().copy()
        times[LENGTHS[0] + 5 : LENGTHS[0] + LENGTHS[1]] += 0.1
        return pyarrow.array(times)

    change_column(DATA, "timestamp", late)(root)


def with_number(value: float) -> Any:
    def spoil(root: Path) -> None:
        def spoiled(column: Any) -> Any:
            rows = [list(row) for row in column.to_pylist()]
            rows[LENGTHS[0] + 3][1] = value
            return pyarrow.array(rows, pyarrow.list_(pyarrow.float64()))

        change_column(DATA, "action", spoiled)(root)

    return spoil


def with_null(root: Path) -> None:
    def spoiled(column: Any) -> Any:
        values = column.to_pylist()
        values[LENGTHS[0] + 3] = None
        return pyarrow.array(values, pyarrow.list_(pyarrow.float32()))

    change_column(DATA, "observation.state", spoiled)(root)


def without_a_frame(root: Path) -> None:
    table = pyarrow.parquet.read_table(root / DATA)
    keep = np.delete(np.arange(table.num_rows), LENGTHS[0] + 4)
    pyarrow.parquet.write_table(table.take(keep), root / DATA)


BAD = {
    "gap": with_gap,
    "NaN": with_number(float("nan")),
    "beyond": with_number(1e300),
    "null": with_null,
    "lost": without_a_frame,
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_episode_refuses_the_set_unless_it_is_left_out(root: Path, name: str) -> None:
    BAD[name](root)
    with pytest.raises(DataError, match=r"episode 1[\s\S]*--skip-bad[\s\S]*--episodes"):
        reader.load(root)
    others = demonstrations().select([0, 2])
    skipped, chosen = reader.load(root, skip_bad=True), reader.load(root, episodes=[0, 2])
    same(skipped, others)
    same(chosen, others)
    (note,) = skipped.origin.notes
    assert note.startswith("episode 1 is left out: ")
    assert chosen.origin.notes == ()


def test_the_advice_for_a_gap_is_not_that_for_another_rate(root: Path) -> None:
    with_gap(root)
    with pytest.raises(DataError, match="cut the episode in two"):
        reader.load(root)
    change_info(fps=50)(root)
    with pytest.raises(DataError, match="correct fps"):
        reader.load(root)


def jittered(rate: float, jitter: float) -> Any:
    rng = np.random.default_rng(0)
    times = [np.arange(length) / rate + rng.uniform(-jitter, jitter, length) for length in LENGTHS]
    return lambda _: pyarrow.array(np.concatenate(times))


def test_jitter_and_a_slow_clock_are_no_gaps(root: Path) -> None:
    fps = 1 / demonstrations().dt
    change_column(DATA, "timestamp", jittered(fps, 0.2 / fps))(root)
    same(reader.load(root), demonstrations())
    change_column(DATA, "timestamp", jittered(fps * 0.97, 0))(root)
    same(reader.load(root), demonstrations())
    change_column(DATA, "timestamp", jittered(fps, 0.4 / fps))(root)
    with pytest.raises(DataError, match="s apart after frame"):
        reader.load(root)


def test_an_episode_that_was_removed_with_its_number(root: Path) -> None:
    table = pyarrow.parquet.read_table(root / EPISODES)
    pyarrow.parquet.write_table(table.take([0, 2]), root / EPISODES)
    change_info(total_episodes=2)(root)
    with pytest.raises(DataError, match=r"--skip-bad reads the others"):
        reader.load(root)
    found = reader.load(root, skip_bad=True)
    same(found, demonstrations().select([0, 2]))
    assert found.origin.notes == ("episode 1 is left out: it is not in the list",)
    same(reader.load(root, episodes=[2]), demonstrations().select([2]))
    with pytest.raises(DataError, match="no episode 1"):
        reader.load(root, episodes=[1, 2])


def test_a_file_of_the_older_layout_that_is_missing_can_be_left_out(root: Path, tmp_path: Path) -> None:
    old = as_version_2(root, tmp_path / "old")
    (old / "data/chunk-000/episode_000001.parquet").unlink()
    found = reader.load(old, skip_bad=True)
    np.testing.assert_array_equal(found.action, demonstrations().select([0, 2]).action)
    with pytest.raises(DataError, match=r"no episode of .* that can be used"):
        reader.load(old, episodes=[1], skip_bad=True)


def test_episodes_of_an_archive_are_chosen_and_left_out_too(tmp_path: Path) -> None:
    whole = demonstrations()
    action = whole.action.copy()
    action[LENGTHS[0] + 1] = np.inf
    np.savez(tmp_path / "a.npz", observation=whole.observation, action=action, episode_ends=whole.ends, dt=whole.dt)
    with pytest.raises(DataError, match="finite numbers"):
        files.load(tmp_path / "a.npz")
    found = files.load(tmp_path / "a.npz", skip_bad=True)
    np.testing.assert_array_equal(found.action, whole.select([0, 2]).action)
    assert found.origin.notes == ("episode 1 is left out: action is not finite at step 1",)
    np.testing.assert_array_equal(files.load(tmp_path / "a.npz", episodes=[2]).action, whole.select([2]).action)


def test_instructions_and_robot_type_are_kept(root: Path, tmp_path: Path) -> None:
    told = Instructions(("left", "right"), np.repeat([0, 1, 0], LENGTHS))
    source = writer.save(replace(demonstrations(), instructions=told), tmp_path / "two", robot_type="so101")
    found = reader.load(source)
    assert found.instructions is not None
    assert found.instructions.texts == ("left", "right")
    np.testing.assert_array_equal(found.instructions.rows, told.rows)
    assert found.origin.robot_type == "so101"
    again = writer.save(found, tmp_path / "again", task="not asked for")
    info = json.loads((again / "meta/info.json").read_text())
    assert (info["robot_type"], info["total_tasks"]) == ("so101", 2)
    assert [row["tasks"] for row in pyarrow.parquet.read_table(again / EPISODES).to_pylist()] == [
        ["left"],
        ["right"],
        ["left"],
    ]
    one = found.select([1])
    assert one.instructions is not None
    assert one.instructions.used == ("right",)
    with pytest.raises(DataError, match="does not say what is done"):
        writer.save(demonstrations(), tmp_path / "none")


def test_words_that_are_missing_are_numbers(root: Path) -> None:
    (root / "meta/tasks.parquet").unlink()
    found = reader.load(root)
    assert found.instructions is not None
    assert found.instructions.used == ("task 0",)
    assert "instructions have numbers for words" in found.origin.notes[0]


def test_what_is_not_read_is_known(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.front"] = {"dtype": "video", "shape": [96, 128, 3]}
    info["features"]["observation.effort"] = {"dtype": "float32", "shape": [2], "names": None}
    (root / "meta/info.json").write_text(json.dumps(info))
    found = reader.load(root)
    assert found.origin.unseen == ("observation.images.front",)
    assert found.origin.unread == ("observation.effort",)
    assert files.cameras(root) == ("observation.images.front",)
