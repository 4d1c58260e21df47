"""Writing a data set of LeRobot, version 3.0; pictures as files in its tables, which lose nothing."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Cameras
from segue.data.episodes import Episodes
from segue.data.lerobot import images, statistics
from segue.data.lerobot.layout import ACTION, INFO, KINDS, OURS, STATE, pyarrow_parquet
from segue.data.origin import Instructions
from segue.errors import DataError

EPISODES_PER_FILE, FILES_PER_FOLDER = 500, 1000
_NEAR = 1.5e-3
"""Share by which a rate may differ from the whole number that stands for it: those of television are 1/1001 slower."""
_MEGABYTES = 100
"""Size of a data file; the episode that reaches it is the last one."""
_FILE = "chunk-{:03d}/file-{:03d}.parquet"


def save(episodes: Episodes, root: str | Path, *, task: str | None = None, robot_type: str | None = None) -> Path:
    """Write demonstrations, or what a policy did, as a data set that LeRobot opens.

    The folder appears when it is complete. A camera ``top`` is the feature ``observation.images.top`` there.

    Args:
        episodes: What to write; the control period must be that of a whole number of frames per second, see `rate_of`.
        root: New folder.
        task: What is done in all episodes, in words, where they do not say it themselves: what the robot was told
            when it was recorded is kept.
        robot_type: As LeRobot names it; None for the recording's own.

    Raises:
        DataError: The folder is there already, the rate is not a whole number, or nobody says what is done.
        MissingExtraError: pyarrow is not installed, or pillow where there are pictures.
    """
    root, fps = Path(root), rate_of(episodes.dt)
    check(root, episodes.dt, episodes.cameras)
    if episodes.instructions is None and task is None:
        raise DataError(
            got="a recording that does not say what is done in it",
            expected="an instruction in words, as the format has one for each frame",
            change='add --task "what is done"',
        )
    if episodes.instructions is None:
        alike = Instructions((str(task),), np.zeros(episodes.frames, np.int64))
        episodes = replace(episodes, instructions=alike)
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write(episodes, aside, fps, robot_type or episodes.origin.robot_type)
        aside.chmod(0o755)
        aside.rename(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return root


def check(root: Path, dt: float, cameras: Cameras) -> None:
    """Check what can be known before there is anything to write, so that no recording is made in vain.

    Args:
        root: New folder.
        dt: Control period [s].
        cameras: Pictures that there will be.

    Raises:
        DataError, MissingExtraError: As `save`.
    """
    pyarrow_parquet()
    if cameras:
        images.pillow()
    if root.exists():
        raise DataError(f"{root}, which is there already", "a new folder", "remove it, or name another one")
    rate_of(dt)


def rate_of(dt: float) -> int:
    """Frames per second that are written; those of television, such as 29.97, are the next whole number.

    Args:
        dt: Control period [s].

    Raises:
        DataError: Another rate than about a whole number.
    """
    if abs(round(1 / dt) * dt - 1) > _NEAR:
        raise DataError(
            got=f"a rate of {1 / dt:g} Hz",
            expected="a whole number of frames per second, all that the format can say",
            change="take frames of a whole rate (segue.data.resample), or keep it as .npz, which has any rate",
        )
    return round(1 / dt)


def _write(episodes: Episodes, root: Path, fps: int, robot_type: str | None) -> None:
    rows, everything = [], []
    texts: tuple[str, ...] = episodes.instructions.texts if episodes.instructions else ()
    seen = {key: np.zeros((3, 256), np.int64) for key in episodes.pictures}
    with closing(_DataFiles(root)) as data:
        for index in range(len(episodes)):
            columns, here, files = _columns(episodes, index, fps), dict[str, NDArray[np.int64]](), {}
            for key in episodes.pictures:
                files[feature(key)], here[key] = _encoded(episodes, key, index)
                seen[key] += here[key]
            place = data.add(_table(columns, files))
            known = {key: statistics.of_vectors(values) for key, values in columns.items()}
            frames = len(columns["index"])
            known |= {feature(key): statistics.of_pictures(counted, frames) for key, counted in here.items()}
            tasks = [texts[int(each)] for each in dict.fromkeys(columns["task_index"].tolist())]
            rows.append(_row(episodes, index, place, known, tasks))
            everything.append(columns)
    _write_rows(root / "meta/episodes" / _FILE.format(0, 0), rows)
    _write_tasks(root / "meta/tasks.parquet", texts)
    info = {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": len(episodes),
        "total_frames": episodes.frames,
        "total_tasks": len(texts),
        "chunks_size": FILES_PER_FOLDER,
        "data_files_size_in_mb": _MEGABYTES,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": _features(episodes),
    }
    (root / INFO).write_text(json.dumps(info, indent=4))
    kinds = zip(KINDS, (episodes.action_kinds.words, episodes.observation_kinds.words), strict=True)
    ours = {"state_of_action": episodes.state_of_action, **{key: words for key, words in kinds if words}}
    (root / OURS).write_text(json.dumps(ours))
    stats = {key: statistics.of_vectors(np.concatenate([each[key] for each in everything])) for key in everything[0]}
    stats |= {feature(key): statistics.of_pictures(counted, episodes.frames) for key, counted in seen.items()}
    (root / "meta/stats.json").write_text(json.dumps(stats, indent=4))


class _DataFiles:
    """Files of frames, one after the other: the next is begun when one is full."""

    def __init__(self, root: Path) -> None:
        self._root, self._number, self._inside = root, 0, 0
        self._open: Any = None

    def add(self, table: Any) -> tuple[int, int]:
        """Write an episode; where it is, folder and file."""
        if self._inside == EPISODES_PER_FILE or (self._open and self._path.stat().st_size >= _MEGABYTES * 2**20):
            self.close()
            self._number, self._inside = self._number + 1, 0
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = pyarrow_parquet().ParquetWriter(self._path, table.schema)
        self._open.write_table(table)
        self._inside += 1
        return divmod(self._number, FILES_PER_FOLDER)

    @property
    def _path(self) -> Path:
        return self._root / "data" / _FILE.format(*divmod(self._number, FILES_PER_FOLDER))

    def close(self) -> None:
        """Complete the file that is being written."""
        if self._open is not None:
            self._open.close()
            self._open = None


def feature(camera: str) -> str:
    """Name a camera as LeRobot does: ``observation.images.NAME``; a name that is of this kind stays."""
    return camera if camera.startswith("observation.") else f"observation.images.{camera}"


def _encoded(episodes: Episodes, key: str, index: int) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """Pictures of one camera in one episode as PNG files, and how many pixels have each shade."""
    files, counted = [], np.zeros((3, 256), np.int64)
    for number, frame in enumerate(range(int(episodes.starts[index]), int(episodes.ends[index]))):
        picture = episodes.pictures[key][frame]
        files.append({"bytes": images.encoded(picture), "path": f"frame-{number:06d}.png"})
        counted += statistics.shades(picture)
    return files, counted


def _features(episodes: Episodes) -> dict[str, Any]:
    def number(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "shape": [1], "names": None}

    def vector(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names)}

    def picture(size: tuple[int, int]) -> dict[str, Any]:
        return {"dtype": "image", "shape": [*size, 3], "names": ["height", "width", "channels"]}

    return {
        ACTION: vector(episodes.action_names),
        STATE: vector(episodes.observation_names),
        **{feature(key): picture(size) for key, size in episodes.cameras.items()},
        "timestamp": number("float32"),
        **{key: number("int64") for key in ("frame_index", "episode_index", "index", "task_index")},
    }


def _columns(episodes: Episodes, index: int, fps: int) -> dict[str, NDArray[Any]]:
    """All columns of one episode."""
    start, end = int(episodes.starts[index]), int(episodes.ends[index])
    frame, told = np.arange(end - start), episodes.instructions
    return {
        ACTION: episodes.action[start:end],
        STATE: episodes.observation[start:end],
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(end - start, index),
        "index": np.arange(start, end),
        "task_index": np.zeros(end - start, np.int64) if told is None else told.rows[start:end],
    }


def _row(
    episodes: Episodes, index: int, place: tuple[int, int], known: dict[str, dict[str, Any]], tasks: list[str]
) -> dict[str, Any]:
    """Make the row of ``meta/episodes`` about one episode."""
    start, end = int(episodes.starts[index]), int(episodes.ends[index])
    told = {
        "episode_index": index,
        "tasks": tasks,
        "length": end - start,
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": start,
        "dataset_to_index": end,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    return told | {f"stats/{key}/{name}": value for key, each in known.items() for name, value in each.items()}


def _table(columns: dict[str, NDArray[Any]], files: dict[str, list[dict[str, Any]]]) -> Any:
    """Table one episode: a matrix is a column of lists of fixed size, a picture is a file and its name."""
    import pyarrow

    def column(values: NDArray[Any]) -> Any:
        if values.ndim == 1:
            return pyarrow.array(values)
        if values.shape[1] == 1:  # a vector of one is stored as a number
            return pyarrow.array(values[:, 0])
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), values.shape[1])

    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    found = {key: column(values) for key, values in columns.items()}
    return pyarrow.table(found | {key: pyarrow.array(each, picture) for key, each in files.items()})


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow_parquet().write_table(pyarrow.Table.from_pylist(rows), path)


def _write_tasks(path: Path, texts: Sequence[str]) -> None:
    """Write the instructions; LeRobot reads the file with pandas, and the words as the index of the table."""
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
    table = pyarrow.table({"task_index": pyarrow.array(range(len(texts)), pyarrow.int64()), "task": list(texts)})
    pyarrow_parquet().write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
