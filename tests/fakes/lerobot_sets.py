"""A data set of LeRobot, and ways to change what stands in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from fakes.point_mass import demonstrations
from segue.data.episodes import Episodes

DATA = Path("data/chunk-000/file-000.parquet")


EPISODES = Path("meta/episodes/chunk-000/file-000.parquet")


def same(one: Episodes, other: Episodes) -> None:
    np.testing.assert_array_equal(one.action, other.action)
    np.testing.assert_array_equal(one.observation, other.observation)
    np.testing.assert_array_equal(one.ends, other.ends)
    assert one.dt == pytest.approx(other.dt)
    assert (one.action_names, one.observation_names) == (other.action_names, other.observation_names)
    assert one.state_of_action == other.state_of_action


def as_version_2(source: Path, target: Path) -> Path:
    """The same data set in the older layout."""
    info = json.loads((source / "meta/info.json").read_text())
    info |= {"codebase_version": "v2.1"}
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    table = pyarrow.parquet.read_table(source / DATA)
    (target / "data/chunk-000").mkdir(parents=True)
    (target / "meta").mkdir()
    lines = []
    for index, length in enumerate(np.diff(demonstrations().ends, prepend=0)):
        rows = np.flatnonzero(table.column("episode_index").to_numpy() == index)
        pyarrow.parquet.write_table(table.take(rows), target / f"data/chunk-000/episode_{index:06d}.parquet")
        lines.append(json.dumps({"episode_index": index, "length": int(length), "tasks": ["move the mass"]}))
    (target / "meta/info.json").write_text(json.dumps(info))
    (target / "meta/episodes.jsonl").write_text("\n".join(lines))
    return target


def change_info(**values: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        info = json.loads((root / "meta/info.json").read_text())
        (root / "meta/info.json").write_text(json.dumps(info | values))

    return change


def change_feature(key: str, **values: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        info = json.loads((root / "meta/info.json").read_text())
        info["features"][key] |= values
        (root / "meta/info.json").write_text(json.dumps(info))

    return change


def change_column(file: Path, name: str, values: Callable[[Any], Any]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        table = pyarrow.parquet.read_table(root / file)
        place = table.column_names.index(name)
        column = values(table.column(name).combine_chunks())
        pyarrow.parquet.write_table(table.set_column(place, name, column), root / file)

    return change
