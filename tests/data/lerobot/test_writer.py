"""Data sets of LeRobot: what is written is read back, and each kind of damage gets its own error."""

import json
import shutil
from collections.abc import Callable
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
from segue.errors import DataError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writer.save(demonstrations(), tmp_path_factory.mktemp("lerobot") / "set", task="move the mass")


@pytest.fixture
def damaged(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "set"))


def test_what_is_written_is_read_back(written: Path) -> None:
    same(reader.load(written), demonstrations())
    assert not list(written.parent.glob(".*")), "nothing is left aside"


def test_any_path_with_demonstrations_is_recognised(written: Path) -> None:
    same(files.load(written), demonstrations())


def test_an_action_named_like_a_state_can_be_learned_relative_to_it(tmp_path: Path) -> None:
    named = replace(demonstrations(), action_names=("goal y", "x"))
    root = writer.save(named, tmp_path / "set", task="t")
    (root / layout.OURS).unlink()
    by_name = (named.observation_names.index("goal y"), named.observation_names.index("x"))
    assert reader.load(root).state_of_action == by_name


@pytest.mark.parametrize("anchors", [(2, None), (None, None), (1, 0)])
def test_what_actions_are_relative_to_is_written_whatever_the_names_are(tmp_path: Path, anchors: Any) -> None:
    whole = replace(demonstrations(), action_names=("x", "y"), state_of_action=anchors)
    root = writer.save(whole, tmp_path / "set", task="t")
    same(reader.load(root), whole)
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["other"] = info["features"]["observation.state"]
    (root / "meta/info.json").write_text(json.dumps(info))
    assert layout.state_of_action(layout.read_layout(root, "other")) == tuple(
        whole.observation_names.index(name) for name in ("x", "y")
    )


def test_a_vector_of_one_is_a_number_in_the_file(tmp_path: Path) -> None:
    whole = demonstrations()
    narrow = replace(whole, action=whole.action[:, :1], action_names=("x target",), state_of_action=(None,))
    root = writer.save(narrow, tmp_path / "set", task="t")
    assert pyarrow.parquet.read_table(root / DATA).column("action").type == pyarrow.float32()
    same(reader.load(root), narrow)


def test_statistics_are_those_of_the_data(written: Path) -> None:
    stats, action = json.loads((written / "meta/stats.json").read_text()), demonstrations().action.astype(np.float64)
    np.testing.assert_allclose(stats["action"]["mean"], action.mean(0))
    np.testing.assert_allclose(stats["action"]["q90"], np.quantile(action, 0.9, axis=0))
    assert stats["action"]["count"] == [len(action)]
    rows = pyarrow.parquet.read_table(written / EPISODES).to_pylist()
    assert [row["length"] for row in rows] == np.diff(demonstrations().ends, prepend=0).tolist()
    first = action[: rows[0]["length"]]
    np.testing.assert_allclose(rows[0]["stats/action/std"], first.std(0))


def test_nothing_is_overwritten_and_odd_rates_are_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there already"):
        writer.save(demonstrations(), written, task="t")
    with pytest.raises(DataError, match="whole number of frames per second"):
        writer.save(replace(demonstrations(), dt=0.03), tmp_path / "new", task="t")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("rate", "written"), [(29.97, 30), (30000 / 1001, 30), (23.976, 24), (59.94, 60), (50.0, 50)])
def test_rates_of_television_are_written_as_the_next_whole_number(tmp_path: Path, rate: float, written: int) -> None:
    root = writer.save(replace(demonstrations(), dt=1 / rate), tmp_path / "set", task="t")
    found = reader.load(root)
    assert found.dt == pytest.approx(1 / written)
    np.testing.assert_array_equal(found.action, demonstrations().action)


def test_the_older_layout_is_read(written: Path, tmp_path: Path) -> None:
    by_name = replace(demonstrations(), state_of_action=(None, None))  # no action is named like a state
    same(reader.load(as_version_2(written, tmp_path / "old")), by_name)


def test_an_episode_that_is_missing_in_the_older_layout_is_named(written: Path, tmp_path: Path) -> None:
    old = as_version_2(written, tmp_path / "old")
    (old / "data/chunk-000/episode_000001.parquet").unlink()
    with pytest.raises(DataError, match=r"episode_000001.parquet cannot be read"):
        reader.load(old)


@pytest.mark.parametrize("files_of_episodes", [(0, 1, 0), (1, 0, 0), (1, 0, 1), (2, 1, 0)])
def test_episodes_are_their_own_rows_whatever_file_they_are_in(
    damaged: Path, files_of_episodes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pyarrow.parquet.read_table(damaged / DATA)
    file_of_row = np.asarray(files_of_episodes)[table.column("episode_index").to_numpy()]
    for file in set(files_of_episodes):
        rows = table.take(np.flatnonzero(file_of_row == file))
        pyarrow.parquet.write_table(rows, (damaged / DATA).with_name(f"file-{file:03d}.parquet"))
    change_column(EPISODES, "data/file_index", lambda _: pyarrow.array(files_of_episodes))(damaged)
    checked = []
    vector = reader._Rows._vector
    monkeypatch.setattr(
        reader._Rows, "_vector", lambda rows, feature: checked.append((rows.file, feature)) or vector(rows, feature)
    )
    same(reader.load(damaged), demonstrations())
    assert len(checked) == len(set(checked)), "a vector is checked once, however many episodes its file has"


@pytest.mark.parametrize("size", [0, -1, "1000", 1000.0, None])
def test_folders_of_the_older_layout_hold_a_whole_number_of_episodes(written: Path, tmp_path: Path, size: Any) -> None:
    old = as_version_2(written, tmp_path / "old")
    change_info(chunks_size=size)(old)
    with pytest.raises(DataError, match=f"chunks_size {size!r} in"):
        reader.load(old)


@pytest.mark.parametrize("line", ['{"episode_index": 2, "length": Infinity}', '{"episode_index": 2}', "[1]", "{"])
def test_an_episode_of_the_older_layout_has_a_length(written: Path, tmp_path: Path, line: str) -> None:
    old = as_version_2(written, tmp_path / "old")
    lines = (old / "meta/episodes.jsonl").read_text().splitlines()
    (old / "meta/episodes.jsonl").write_text("\n".join([*lines[:2], line]))
    with pytest.raises(DataError, match=r"episodes.jsonl cannot be read"):
        reader.load(old)


def change_ours(anchors: list[Any]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / layout.OURS).write_text(json.dumps({"state_of_action": anchors}))

    return change


def truncate(file: Path) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        whole = (root / file).read_bytes()
        (root / file).write_bytes(whole[: len(whole) // 2])

    return change


def drop_last_row(root: Path) -> None:
    table = pyarrow.parquet.read_table(root / EPISODES)
    pyarrow.parquet.write_table(table.slice(0, table.num_rows - 1), root / EPISODES)


def drop_frames(root: Path) -> None:
    table = pyarrow.parquet.read_table(root / DATA)
    pyarrow.parquet.write_table(table.slice(0, table.num_rows - 2), root / DATA)


def with_nan(column: Any) -> Any:
    values = column.to_numpy(zero_copy_only=False).tolist()
    rows = [list(row) for row in values]
    rows[3][1] = float("nan")
    return pyarrow.array(rows, pyarrow.list_(pyarrow.float32()))


def as_text(column: Any) -> Any:
    return pyarrow.array(["word"] * len(column))


def without_first(column: Any) -> Any:
    return pyarrow.array([None, *column.to_pylist()[1:]])


def as_vectors(column: Any) -> Any:
    return pyarrow.array([[each, each] for each in column.to_pylist()])


def ragged(column: Any) -> Any:
    rows = [list(row) for row in column.to_numpy(zero_copy_only=False)]
    rows[0] = rows[0][:1]
    return pyarrow.array(rows, pyarrow.list_(pyarrow.float32()))


def twice_as_fast(column: Any) -> Any:
    return pyarrow.array(column.to_numpy() / 2)


def gap(column: Any) -> Any:
    return pyarrow.array(column.to_numpy() + (np.arange(len(column)) > 7))


DAMAGE = {
    "truncated data": (truncate(DATA), r"file-000.parquet cannot be read"),
    "truncated episodes": (truncate(EPISODES), r"meta/episodes/.*cannot be read"),
    "no data": (lambda root: (root / DATA).unlink(), r"file-000.parquet cannot be read"),
    "no list of episodes": (lambda root: shutil.rmtree(root / "meta/episodes"), r"no episodes in"),
    "missing episode": (drop_last_row, r"without 2[\s\S]*the 3 episodes"),
    "missing frames": (drop_frames, r"frames of episode 2"),
    "gap": (change_column(DATA, "frame_index", gap), r"frame_index of episode 0"),
    "mixed rates": (change_column(DATA, "timestamp", twice_as_fast), r"timestamps 0.05 s apart after frame 0"),
    "NaN": (change_column(DATA, "action", with_nan), r"dimension 'target y' is not finite in row 3"),
    "wrong type": (change_column(DATA, "action", as_text), r"'action' of type object"),
    "ragged": (change_column(DATA, "action", ragged), r"rows of lengths"),
    "broken info": (truncate(Path("meta/info.json")), r"info.json cannot be read"),
    "other version": (change_info(codebase_version="v1.6"), r"codebase_version 'v1.6'"),
    "no rate": (change_info(fps=0), r"fps 0 in"),
    "outside": (change_info(data_path="../../{chunk_index}{file_index}"), r"files inside of the data set"),
    "odd template": (change_info(data_path="data/{episode}"), r"a template over"),
    "text as a count": (change_info(total_episodes="3"), r"total_episodes '3' in"),
    "no count": (change_info(total_episodes=None), r"total_episodes None in"),
    "a count beyond all measure": (change_info(total_episodes=10**15), r"without 3, 4, 5, 6, 7, 8 ..."),
    "text as a length": (change_column(EPISODES, "length", as_text), r"column 'length' of type object"),
    "a length that is missing": (change_column(EPISODES, "length", without_first), r"column 'length' of type float64"),
    "text as timestamps": (change_column(DATA, "timestamp", as_text), r"column 'timestamp' of type object"),
    "vectors as indices": (
        change_column(DATA, "frame_index", as_vectors),
        r"column 'frame_index' of .* shape \(\d+, 2\)",
    ),
    "no state": (change_info(features={}), r"no feature 'action'"),
    "other size": (change_feature("action", shape=[3], names=None), r"shape \(\d+, 2\)"),
    "broken anchors": (lambda root: (root / layout.OURS).write_text("{}"), r"segue.json cannot be read"),
    "anchor outside": (change_ours([0, 9]), r"state_of_action \[0, 9\] in"),
    "anchors of another type": (change_ours(["x", True]), r"state_of_action .* in"),
    "too few anchors": (change_ours([0]), r"2 entries, each an index below 4 or null"),
    "image as state": (change_feature("observation.state", dtype="video"), r"a vector of numbers"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(damaged: Path, name: str) -> None:
    change, message = DAMAGE[name]
    change(damaged)
    with pytest.raises(DataError, match=message):
        reader.load(damaged)


def test_a_state_that_is_not_there_is_named_with_what_is(written: Path) -> None:
    with pytest.raises(DataError, match=r"no feature 'observation.effort'[\s\S]*observation.state"):
        reader.load(written, state="observation.effort")


def test_names_under_one_key_are_read(damaged: Path) -> None:
    change_feature("action", names={"motors": ["shoulder", "elbow"]})(damaged)
    assert reader.load(damaged).action_names == ("shoulder", "elbow")
    change_feature("action", names=None)(damaged)
    assert reader.load(damaged).action_names == ("action 0", "action 1")


def test_a_folder_without_info_is_no_data_set(tmp_path: Path) -> None:
    assert not layout.is_data_set(tmp_path)
