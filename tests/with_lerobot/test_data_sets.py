"""Data sets of ours in LeRobot, and of LeRobot here."""

# pyright: reportMissingImports=false

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from reaching import reaching

from segue.data.episodes import Episodes
from segue.data.lerobot import reader

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def opened(root: Path, **settings: Any) -> Any:
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset("segue/reach", root=root, **settings)


def same(one: Episodes, other: Episodes) -> None:
    np.testing.assert_array_equal(one.action, other.action)
    np.testing.assert_array_equal(one.observation, other.observation)
    np.testing.assert_array_equal(one.ends, other.ends)
    assert one.dt == pytest.approx(other.dt)
    assert (one.action_names, one.observation_names) == (other.action_names, other.observation_names)


def recorded_by_lerobot(root: Path, episodes: Episodes) -> Path:
    """The same episodes, written frame by frame as LeRobot's recording does."""
    from lerobot.datasets import LeRobotDataset

    features = {
        "action": {"dtype": "float32", "shape": (2,), "names": list(episodes.action_names)},
        "observation.state": {"dtype": "float32", "shape": (4,), "names": list(episodes.observation_names)},
    }
    written = LeRobotDataset.create("segue/reach", 10, features, root=root, use_videos=False)
    add(written, episodes)
    written.finalize()
    return root


def add(written: Any, episodes: Episodes) -> None:
    for start, end in zip(episodes.starts, episodes.ends, strict=True):
        for frame in range(start, end):
            written.add_frame(
                {
                    "action": episodes.action[frame],
                    "observation.state": episodes.observation[frame],
                    "task": "reach the goal",
                }
            )
        written.save_episode()


def test_ours_opens_in_lerobot_and_passes_its_checks(data: Path) -> None:
    from lerobot.datasets.feature_utils import validate_frame

    episodes, found = reaching(), opened(data)
    assert (found.num_episodes, found.num_frames, found.fps) == (len(episodes), episodes.frames, 10)
    assert found.meta.robot_type == "reach"
    assert found.meta.features["action"]["names"] == list(episodes.action_names)
    wanted = {key: each for key, each in found.meta.features.items() if key in ("action", "observation.state")}
    for index in (0, 39, 40, episodes.frames - 1):
        frame = found[index]
        assert frame["task"] == "reach the goal"
        torch.testing.assert_close(frame["action"], torch.from_numpy(episodes.action[index]), rtol=0, atol=0)
        torch.testing.assert_close(
            frame["observation.state"], torch.from_numpy(episodes.observation[index]), rtol=0, atol=0
        )
        validate_frame({key: frame[key].numpy() for key in wanted} | {"task": frame["task"]}, wanted)


def test_ours_has_the_windows_that_lerobot_trains_on(data: Path) -> None:
    episodes = reaching()
    found = opened(data, delta_timestamps={"action": [i / 10 for i in range(16)], "observation.state": [-0.4, 0.0]})
    frame = found[30]  # ten before the end of the first episode
    assert frame["action_is_pad"].tolist() == [False] * 10 + [True] * 6
    np.testing.assert_array_equal(frame["action"][:10], episodes.action[30:40])
    np.testing.assert_array_equal(frame["observation.state"], episodes.observation[[26, 30]])


def test_our_statistics_are_lerobot_s(data: Path, tmp_path: Path) -> None:
    ours, theirs = opened(data).meta.stats, opened(recorded_by_lerobot(tmp_path / "set", reaching())).meta.stats
    for key in ("action", "observation.state"):
        for name in ("min", "max", "mean", "std", "count"):
            np.testing.assert_allclose(ours[key][name], theirs[key][name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_lerobot_goes_on_recording_into_ours(data: Path, tmp_path: Path) -> None:
    import shutil

    from lerobot.datasets import LeRobotDataset

    root = Path(shutil.copytree(data, tmp_path / "set"))
    grown = LeRobotDataset.resume("segue/reach", root=root)
    add(grown, reaching())
    grown.finalize()
    read = reader.load(root)
    assert len(read) == 2 * len(reaching())
    np.testing.assert_array_equal(read.action, np.tile(reaching().action, (2, 1)))


def test_lerobot_s_opens_here(tmp_path: Path) -> None:
    same(reader.load(recorded_by_lerobot(tmp_path / "set", reaching())), reaching())


def as_version_2_1(source: Path, root: Path) -> Path:
    """The older layout, with everything that LeRobot's own converter of it reads."""
    info = json.loads((source / "meta/info.json").read_text())
    rows = pyarrow.parquet.read_table(source / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    frames = pyarrow.parquet.read_table(source / "data/chunk-000/file-000.parquet")
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    for row in rows:
        part = frames.slice(row["dataset_from_index"], row["length"])
        pyarrow.parquet.write_table(part, root / f"data/chunk-000/episode_{row['episode_index']:06d}.parquet")
    statistics = [
        {"min": 0, "max": 0, "mean": 0, "std": 0, "count": 0}
        | {name: row[f"stats/{key}/{name}"] for name in ("min", "max", "mean", "std", "count")}
        for row in rows
        for key in ("action", "observation.state")
    ]
    lines = {
        "tasks.jsonl": [{"task_index": 0, "task": "reach the goal"}],
        "episodes.jsonl": [{key: row[key] for key in ("episode_index", "tasks", "length")} for row in rows],
        "episodes_stats.jsonl": [
            {"episode_index": i, "stats": {"action": statistics[2 * i], "observation.state": statistics[2 * i + 1]}}
            for i in range(len(rows))
        ],
    }
    for name, content in lines.items():
        (root / "meta" / name).write_text("\n".join(map(json.dumps, content)))
    for gone in ("data_files_size_in_mb", "video_files_size_in_mb"):
        info.pop(gone)
    info |= {"codebase_version": "v2.1", "total_chunks": 1, "total_videos": 0}
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def test_the_older_layout_opens_here_before_and_after_lerobot_converts_it(tmp_path: Path) -> None:
    from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset

    root = as_version_2_1(recorded_by_lerobot(tmp_path / "new", reaching()), tmp_path / "old")
    same(reader.load(root), reaching())
    convert_dataset("segue/reach", root=root, push_to_hub=False)
    assert json.loads((root / "meta/info.json").read_text())["codebase_version"] == "v3.0"
    same(reader.load(root), reaching())
    assert opened(root).num_frames == reaching().frames
