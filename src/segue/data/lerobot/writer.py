"""Writing a data set of LeRobot, version 3.0, state and action only."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.data.episodes import Episodes
from segue.data.lerobot.layout import ACTION, INFO, STATE, pyarrow_parquet
from segue.errors import DataError

EPISODES_PER_FILE = 500
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_FILE = "chunk-000/file-{:03d}.parquet"


def save(episodes: Episodes, root: str | Path, *, task: str, robot_type: str | None = None) -> Path:
    """Write demonstrations, or what a policy did, as a data set that LeRobot opens.

    The folder appears when it is complete.

    Args:
        episodes: What to write; the control period must be that of a whole number of frames per second.
        root: New folder.
        task: What is done in all episodes, in words.
        robot_type: As LeRobot names it.

    Raises:
        DataError: The folder is there already, or the rate is not a whole number.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow_parquet()
    root, fps = Path(root), round(1 / episodes.dt)
    if root.exists():
        raise DataError(f"{root}, which is there already", "a new folder", "remove it, or name another one")
    if abs(fps * episodes.dt - 1) > 1e-6:
        raise DataError(
            got=f"a rate of {1 / episodes.dt:g} Hz",
            expected="a whole number of frames per second, all that the format can say",
            change="resample the episodes first (segue.data.resample)",
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write(episodes, aside, fps, task, robot_type)
        aside.chmod(0o755)
        aside.rename(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return root


def _write(episodes: Episodes, root: Path, fps: int, task: str, robot_type: str | None) -> None:
    rows: list[dict[str, Any]] = []
    for number, first in enumerate(range(0, len(episodes), EPISODES_PER_FILE)):
        these = range(first, min(first + EPISODES_PER_FILE, len(episodes)))
        columns = [_columns(episodes, index, fps) for index in these]
        together = {key: np.concatenate([each[key] for each in columns]) for key in columns[0]}
        _write_table(root / "data" / _FILE.format(number), together)
        rows += [_row(episodes, index, each, number, task) for index, each in zip(these, columns, strict=True)]
    _write_rows(root / "meta/episodes" / _FILE.format(0), rows)
    _write_tasks(root / "meta/tasks.parquet", task)
    info = {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": len(episodes),
        "total_frames": episodes.frames,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": _features(episodes),
    }
    (root / INFO).write_text(json.dumps(info, indent=4))
    everything = [_columns(episodes, index, fps) for index in range(len(episodes))]
    stats = {key: _statistics(np.concatenate([each[key] for each in everything])) for key in everything[0]}
    (root / "meta/stats.json").write_text(json.dumps(stats, indent=4))


def _features(episodes: Episodes) -> dict[str, Any]:
    def number(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "shape": [1], "names": None}

    def vector(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names)}

    return {
        ACTION: vector(episodes.action_names),
        STATE: vector(episodes.observation_names),
        "timestamp": number("float32"),
        **{key: number("int64") for key in ("frame_index", "episode_index", "index", "task_index")},
    }


def _columns(episodes: Episodes, index: int, fps: int) -> dict[str, NDArray[Any]]:
    """All columns of one episode."""
    start, end = int(episodes.starts[index]), int(episodes.ends[index])
    frame = np.arange(end - start)
    return {
        ACTION: episodes.action[start:end],
        STATE: episodes.observation[start:end],
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(end - start, index),
        "index": np.arange(start, end),
        "task_index": np.zeros(end - start, np.int64),
    }


def _row(episodes: Episodes, index: int, columns: dict[str, NDArray[Any]], file: int, task: str) -> dict[str, Any]:
    """What ``meta/episodes`` says about one episode."""
    start, end = int(episodes.starts[index]), int(episodes.ends[index])
    place = {
        "episode_index": index,
        "tasks": [task],
        "length": end - start,
        "data/chunk_index": 0,
        "data/file_index": file,
        "dataset_from_index": start,
        "dataset_to_index": end,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    statistics = {key: _statistics(values) for key, values in columns.items()}
    return place | {f"stats/{key}/{name}": value for key, each in statistics.items() for name, value in each.items()}


def _statistics(values: NDArray[Any]) -> dict[str, list[float] | list[int]]:
    """Per dimension over all frames; a number per frame counts as a vector of one."""
    table = values.reshape(len(values), -1).astype(np.float64)
    quantiles = {name: np.quantile(table, share, axis=0).tolist() for name, share in QUANTILES.items()}
    return {
        "min": table.min(0).tolist(),
        "max": table.max(0).tolist(),
        "mean": table.mean(0).tolist(),
        "std": table.std(0).tolist(),
        "count": [len(table)],
        **quantiles,
    }


def _write_table(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Arrays as a parquet file, a matrix as a column of lists of fixed size."""
    import pyarrow

    def column(values: NDArray[Any]) -> Any:
        if values.ndim == 1:
            return pyarrow.array(values)
        if values.shape[1] == 1:  # a vector of one is stored as a number
            return pyarrow.array(values[:, 0])
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), values.shape[1])

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow_parquet().write_table(pyarrow.table({key: column(values) for key, values in columns.items()}), path)


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow_parquet().write_table(pyarrow.Table.from_pylist(rows), path)


def _write_tasks(path: Path, task: str) -> None:
    """The one task; LeRobot reads the file with pandas, and the words as the index of the table."""
    import pyarrow

    described = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
             "metadata": None},
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object",
             "metadata": None},
        ],
        "pandas_version": "2.0.0",
    }  # fmt: skip
    table = pyarrow.table({"task_index": pyarrow.array([0], pyarrow.int64()), "task": pyarrow.array([task])})
    pyarrow_parquet().write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
