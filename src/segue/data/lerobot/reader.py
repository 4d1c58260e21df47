"""Reading a data set of LeRobot: state and action, and the pictures of cameras that are asked for."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.data.episodes import Episodes
from segue.data.lerobot import images, video
from segue.data.lerobot.layout import (
    INDICES,
    KINDS,
    STATE,
    Feature,
    Layout,
    declared_kinds,
    pyarrow_parquet,
    read_layout,
    state_of_action,
)
from segue.data.pictures import Pictures
from segue.errors import DataError

TIMESTAMP_TOLERANCE = 0.25  # of a period: jitter of a recording passes, another rate does not


@dataclass(frozen=True)
class _Span:
    """One episode in one file, and by camera in which video."""

    episode: int
    length: int
    file: Path
    shots: Mapping[str, video.Shot] = field(default_factory=dict)


def load(root: str | Path, *, state: str = STATE, cameras: Sequence[str] = ()) -> Episodes:
    """Read state and action of all episodes; nothing else is decoded unless it is asked for.

    An action can be learned relative to the state dimension that was written with it, or else has its name.

    Args:
        root: Folder of the data set (what LeRobot calls ``root``, with ``meta/`` in it).
        state: Feature that the policy is to see.
        cameras: Features whose pictures it is to see as well, such as ``observation.images.top``.

    Raises:
        DataError: A file or a field is missing, truncated, of another type, or does not fit the others.
        MissingExtraError: pyarrow is not installed, or what decodes the pictures: pillow or PyAV.
    """
    layout = read_layout(Path(root), state)
    sizes, filmed = images.sizes(layout, tuple(cameras)), images.filmed(layout, tuple(cameras))
    if filmed:
        video.pyav()
    spans = _spans_of_v2(layout, filmed) if layout.version == "v2.1" else _spans_of_v3(layout, filmed)
    if not spans:
        raise DataError(f"no episode in {layout.root}", "at least one", "record some, or check the folder")
    stores = images.scratch(sum(span.length for span in spans), sizes)
    footage = {key: video.Footage(key, layout.fps) for key in filmed}
    actions, states = dict[int, NDArray[np.float32]](), dict[int, NDArray[np.float32]]()
    for file, episodes in _by_file(spans).items():
        rows = _Rows(file, layout)
        of_action, of_state = rows.vector(layout.action), rows.vector(layout.state)
        encoded = {key: images.column(file, key) for key in sizes if key not in filmed}
        for span, first in episodes:
            chosen = rows.of(span)
            actions[span.episode], states[span.episode] = of_action[chosen], of_state[chosen]
            for key, column in encoded.items():
                for frame, row in enumerate(chosen, first):
                    where = f"{key!r} of row {row} in {file}"
                    stores[key][frame] = images.decoded(column[int(row)].as_py(), where, sizes[key])
            for key, wanted in footage.items():
                wanted.want(span.shots[key], np.asarray(rows.table["timestamp"][chosen], np.float64), first)
    for key, wanted in footage.items():
        wanted.decode(stores[key])
    return Episodes(
        observation=np.concatenate([states[span.episode] for span in spans]),
        action=np.concatenate([actions[span.episode] for span in spans]),
        ends=np.cumsum([span.length for span in spans], dtype=np.int64),
        dt=1 / layout.fps,
        observation_names=layout.state.names,
        action_names=layout.action.names,
        state_of_action=state_of_action(layout),
        **dict(zip(KINDS, declared_kinds(layout), strict=True)),
        source=f"LeRobot {layout.version}, {layout.root.name}",
        pictures={key: Pictures.of(store) for key, store in stores.items()},
    )


def _spans_of_v2(layout: Layout, filmed: Sequence[str]) -> list[_Span]:
    """Version 2.1: one file per episode, lengths in ``episodes.jsonl``."""
    file = layout.root / "meta/episodes.jsonl"
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        found = [(int(line["episode_index"]), int(line["length"])) for line in lines]
    except (OSError, ValueError, OverflowError, TypeError, KeyError) as error:
        raise _unreadable(file, error) from error
    size = layout.count("chunks_size", 1000)

    def span(episode: int, length: int) -> _Span:
        place = layout.place("data_path", {"episode_chunk": episode // size, "episode_index": episode})
        shots = {key: video.shot_of_v2(layout, key, episode, episode // size) for key in filmed}
        return _Span(episode, length, place, shots)

    return _in_order(layout, file, [span(episode, length) for episode, length in found])


def _spans_of_v3(layout: Layout, filmed: Sequence[str]) -> list[_Span]:
    """Version 3.0: many episodes per file, their places in ``meta/episodes``."""
    folder = layout.root / "meta/episodes"
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index", *video.columns(filmed)]
    spans = []
    for file in sorted(folder.glob("*/*.parquet")):
        table = _table(file, columns)
        _check_numbers(file, table, columns[:4])
        for values in zip(*(table[name] for name in columns), strict=True):
            row = dict(zip(columns, values, strict=True))
            numbers = {"chunk_index": int(row["data/chunk_index"]), "file_index": int(row["data/file_index"])}
            length = int(row["length"])
            shots = {key: video.shot_of_v3(layout, key, row, length) for key in filmed}
            spans.append(_Span(int(row["episode_index"]), length, layout.place("data_path", numbers), shots))
    if not spans:
        raise DataError(
            f"no episodes in {folder}", "parquet files that list them", "copy or download the data set again"
        )
    return _in_order(layout, folder, spans)


def _in_order(layout: Layout, source: Path, spans: Iterable[_Span]) -> list[_Span]:
    """Episodes by index, none missing, none twice, as many as ``info.json`` says."""
    spans = sorted(spans, key=lambda span: span.episode)
    indices = [span.episode for span in spans]
    total = layout.count("total_episodes", max(len(spans), 1))
    if len(indices) != total or indices != list(range(total)):
        found = set(indices)
        missing = list(itertools.islice((episode for episode in range(total) if episode not in found), 7))
        raise DataError(
            got=f"episodes {_short(indices)} in {source}" + (f", without {_short(missing)}" if missing else ""),
            expected=f"the {total} episodes that {layout.file} counts, each once",
            change="copy or download the data set again",
        )
    for span in spans:
        if span.length < 1:
            raise DataError(f"episode {span.episode} of length {span.length} in {source}", "at least 1", "remove it")
    return spans


def _by_file(spans: Sequence[_Span]) -> dict[Path, list[tuple[_Span, int]]]:
    """Episodes of each data file, each with its first frame among all; files need not follow the order of episodes."""
    found = defaultdict[Path, list[tuple[_Span, int]]](list)
    first = 0
    for span in spans:
        found[span.file].append((span, first))
        first += span.length
    return found


class _Rows:
    """One data file."""

    def __init__(self, file: Path, layout: Layout) -> None:
        self.file, self.layout = file, layout
        self.table = _table(file, [*INDICES, layout.action.key, layout.state.key])
        _check_numbers(file, self.table, INDICES)

    def of(self, span: _Span) -> NDArray[np.int64]:
        """Rows of an episode, their place and their timestamps checked."""
        rows = np.flatnonzero(self.table["episode_index"] == span.episode)
        where = f"episode {span.episode} in {self.file}"
        if len(rows) != span.length:
            raise DataError(
                got=f"{len(rows)} frames of {where}",
                expected=f"{span.length}, as the list of episodes says",
                change="copy or download the data set again",
            )
        if not np.array_equal(self.table["frame_index"][rows], np.arange(span.length)):
            raise DataError(f"frame_index of {where}", "0, 1, 2, ... without a gap", "copy or record the episode again")
        self._check_rate(np.asarray(self.table["timestamp"][rows], np.float64), where)
        return rows

    def _check_rate(self, timestamps: NDArray[np.float64], where: str) -> None:
        periods = np.diff(timestamps) * self.layout.fps
        off = np.flatnonzero(~(np.abs(periods - 1) < TIMESTAMP_TOLERANCE))
        if len(off):
            found = periods[off[0]] / self.layout.fps
            raise DataError(
                got=f"timestamps {found:.4g} s apart after frame {off[0]} of {where}",
                expected=f"{1 / self.layout.fps:.4g} s, the period of {self.layout.fps:g} Hz in {self.layout.file}",
                change="do not mix recordings of several rates in one data set; record again, or correct fps",
            )

    def vector(self, feature: Feature) -> NDArray[np.float32]:
        """All rows of a feature, (rows, dimension)."""
        values, size = self.table[feature.key], len(feature.names)
        if size == 1 and values.ndim == 1:  # a vector of one is stored as a number
            values = values[:, None]
        if values.dtype.kind not in "fiu" or values.shape[1:] != (size,):
            raise DataError(
                got=f"{feature.key!r} of type {values.dtype} and shape {values.shape} in {self.file}",
                expected=f"numbers of shape ({len(values)}, {size}), as {self.layout.file} says",
                change="copy or record it again",
            )
        finite = np.isfinite(values).all(1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            name = feature.names[int(np.flatnonzero(~np.isfinite(values[row]))[0])]
            raise DataError(
                got=f"{feature.key!r} dimension {name!r} is not finite in row {row} of {self.file}, "
                f"episode {self.table['episode_index'][row]}",
                expected="finite numbers",
                change="remove or mend that episode",
            )
        return values.astype(np.float32)


def _table(file: Path, columns: list[str]) -> dict[str, NDArray[Any]]:
    """Columns of a parquet file as arrays; a column of lists of one length becomes a matrix."""
    parquet = pyarrow_parquet()
    import pyarrow

    try:
        present = parquet.read_schema(file).names
        missing = [name for name in columns if name not in present]
        if missing:
            raise DataError(
                f"{file} without the column {missing[0]!r}; it has {', '.join(present)}",
                "the columns that info.json lists",
                "copy or download it again, or name another --state",
            )
        table = parquet.read_table(file, columns=columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    return {name: _matrix(file, name, table.column(name)) for name in columns}


def _check_numbers(file: Path, table: Mapping[str, NDArray[Any]], columns: Sequence[str]) -> None:
    """Raise `DataError` unless some columns have a number in each row."""
    for name in columns:
        column = table[name]
        if column.ndim != 1 or column.dtype.kind not in "fiu" or not np.isfinite(column).all():
            raise DataError(
                got=f"column {name!r} of type {column.dtype} and shape {column.shape} in {file}",
                expected="a finite number in each row, as LeRobot writes it",
                change="copy or download the data set again",
            )


def _matrix(file: Path, name: str, column: Any) -> NDArray[Any]:
    """A column of numbers as it is, a column of lists of one length as a matrix."""
    import pyarrow

    column, kind = column.combine_chunks(), column.type
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_fixed_size_list(kind)):
        return column.to_numpy(zero_copy_only=False)
    rows = column.to_numpy(zero_copy_only=False)
    lengths = {0 if row is None else len(row) for row in rows}
    if len(lengths) > 1:
        raise DataError(
            got=f"column {name!r} in {file} with rows of lengths {sorted(lengths)}",
            expected="one length",
            change="copy or record it again",
        )
    return np.stack(rows) if len(rows) else np.zeros((0, 0), np.float32)


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        got=f"{file} cannot be read: {' '.join(str(error).split())[:200]}",
        expected="the whole file as LeRobot wrote it",
        change="it is missing or truncated: copy or download it again",
    )


def _short(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:6])) + (" ..." if len(numbers) > 6 else "")
