"""Reading a data set of LeRobot: state and action, and the pictures of cameras that are asked for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Cameras
from segue.data.choice import Choice
from segue.data.episodes import Episodes
from segue.data.kept.decoded import Room, key_of
from segue.data.lerobot import images, instructions, tables, video
from segue.data.lerobot.layout import (
    INDICES,
    KINDS,
    TASK,
    Feature,
    Layout,
    declared_kinds,
    read_layout,
    state_of_action,
)
from segue.data.lerobot.places import Span, by_file, spans
from segue.data.origin import Origin
from segue.data.pictures import Pictures
from segue.errors import DataError

TIMESTAMP_TOLERANCE = 0.25  # of a period: jitter of a recording passes, another rate does not


def load(
    root: str | Path,
    *,
    state: str | None = None,
    action: str | None = None,
    cameras: Sequence[str] = (),
    episodes: Sequence[int] | None = None,
    skip_bad: bool = False,
) -> Episodes:
    """Read state and action of all episodes; nothing else is decoded unless it is asked for.

    An action can be learned relative to the state dimension that was written with it, or else has its name.

    Args:
        root: Folder of the data set (what LeRobot calls ``root``, with ``meta/`` in it).
        state: Feature that the policy is to see; several, separated by commas, are joined. None for
            ``observation.state``, or else ``state``.
        action: The same of what is commanded. None for ``action``, or else ``actions``.
        cameras: Features whose pictures it is to see as well, such as ``observation.images.top``, or ``top`` for short.
        episodes: Indices of those that are wanted; None for all.
        skip_bad: Leave out episodes that cannot be used; the notes of the result's origin name them.

    Raises:
        DataError: A file or a field is missing, truncated, of another type, or does not fit the others.
        MissingExtraError: pyarrow is not installed, or what decodes the pictures: pillow or PyAV.
    """
    layout, choice = read_layout(Path(root), state, action), Choice(episodes, skip_bad)
    cameras = images.named(layout.info, cameras)
    sizes, filmed = images.sizes(layout, tuple(cameras)), images.filmed(layout, tuple(cameras))
    if filmed:
        video.pyav()
    found = spans(layout, filmed, choice)
    choice.some(found, str(layout.root))
    files, total = by_file(found), sum(span.length for span in found)
    stores, todo, keep = _room(files, total, sizes)
    footage = {key: video.Footage(key, layout.fps) for key in images.filmed(layout, todo)}
    gathered = dict[int, tuple[Any, Any, Any]]()
    for file, here in files.items():
        rows = None
        with choice.trying([span.episode for span, _ in here]):
            rows = _Rows(file, layout)
            encoded = {key: images.column(file, key) for key in todo if key not in filmed}
        if rows is None:
            continue
        for span, first in here:
            with choice.trying([span.episode]):
                chosen = rows.of(span)
                read = rows.values(layout.action, chosen), rows.values(layout.state, chosen), rows.tasks(chosen)
                for key, column in encoded.items():
                    for frame, row in enumerate(chosen, first):
                        where = f"{key!r} of row {row} in {file}"
                        stores[key][frame] = images.decoded(column[int(row)].as_py(), where, sizes[key])
                for key, wanted in footage.items():
                    wanted.want(span.episode, span.shots[key], rows.times(chosen), first)
                gathered[span.episode] = read
    for key, wanted in footage.items():
        for file, members in wanted.files().items():
            with choice.trying(members):
                wanted.decode(file, stores[key])
    keep(choice.left_out)
    kept = [span for span in found if span.episode not in choice.left_out]
    choice.some(kept, str(layout.root))
    starts = {span.episode: first for here in files.values() for span, first in here}
    shown = np.concatenate([starts[span.episode] + np.arange(span.length) for span in kept])
    actions, states, tasks = zip(*(gathered[span.episode] for span in kept), strict=True)
    known = all(part is not None for part in tasks)
    told, words = instructions.of(layout, np.concatenate(tasks)) if known else (None, ())
    return Episodes(
        observation=np.concatenate(states),
        action=np.concatenate(actions),
        ends=np.cumsum([span.length for span in kept], dtype=np.int64),
        dt=1 / layout.fps,
        observation_names=layout.state.names,
        action_names=layout.action.names,
        state_of_action=state_of_action(layout),
        **dict(zip(KINDS, declared_kinds(layout), strict=True)),
        source=f"LeRobot {layout.version}, {layout.root.name}",
        pictures={key: Pictures(store, shown) for key, store in stores.items()},
        instructions=told,
        origin=_origin(layout, cameras, (*layout.action.notes, *layout.state.notes, *choice.notes(), *words)),
    )


def _room(
    files: Mapping[Path, Sequence[tuple[Span, int]]], total: int, sizes: Cameras
) -> tuple[Mapping[str, NDArray[np.uint8]], tuple[str, ...], Callable[[Collection[int]], None]]:
    """Make room for all pictures; says whose are to be decoded, and what keeps them if no episode was left out."""
    spans = [(span, first) for here in files.values() for span, first in here]
    sources = dict.fromkeys([*files, *(shot.file for span, _ in spans for shot in span.shots.values())])
    places = [
        (span.episode, span.length, first, {key: shot.start for key, shot in span.shots.items()})
        for span, first in spans
    ]
    room = None
    if sizes:
        with suppress(OSError):  # files that cannot be read: decoding them says which
            shapes = {name: (total, *size, 3) for name, size in sizes.items()}
            room = Room(key_of(sources, places=places, cameras=sizes), shapes)
    if room is None or room.stores is None:
        return images.scratch(total, sizes), tuple(sizes), lambda left_out: None
    kept = room
    return room.stores, () if room.whole else tuple(sizes), lambda left_out: None if left_out else kept.keep()


def _origin(layout: Layout, cameras: Sequence[str], notes: tuple[str, ...]) -> Origin:
    there, robot = images.cameras(layout.info), layout.info.get("robot_type")
    read = {*layout.action.keys, *layout.state.keys, *INDICES, TASK, *there}
    return Origin(
        robot_type=robot if isinstance(robot, str) else None,
        unseen=tuple(key for key in there if key not in cameras),
        unread=tuple(key for key in layout.info["features"] if key not in read),
        notes=notes,
    )


class _Rows:
    """Reads one data file."""

    def __init__(self, file: Path, layout: Layout) -> None:
        self.file, self.layout = file, layout
        self.table = tables.read(file, [*INDICES, *layout.action.keys, *layout.state.keys], [TASK])
        tables.check_numbers(file, self.table, INDICES)
        self._vectors = {feature.keys: self._vector(feature) for feature in (layout.action, layout.state)}

    def of(self, span: Span) -> NDArray[np.int64]:
        """Rows of an episode in the order of its frames, their place and their timestamps checked."""
        rows = np.flatnonzero(self.table["episode_index"] == span.episode)
        where = f"episode {span.episode} in {self.file}"
        if len(rows) != span.length:
            raise DataError(
                got=f"{len(rows)} frames of {where}",
                expected=f"{span.length}, as the list of episodes says",
                change="copy or download the data set again",
            )
        rows = rows[np.argsort(self.table["frame_index"][rows], kind="stable")]
        if not (np.diff(self.table["frame_index"][rows]) == 1).all():
            raise DataError(f"frame_index of {where}", "one more from row to row, without a gap", "record it again")
        self._check_rate(self.times(rows), where)
        return rows

    def times(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """When some rows were recorded, since the start of their episode [s]."""
        return np.asarray(self.table["timestamp"][rows], np.float64)

    def _check_rate(self, timestamps: NDArray[np.float64], where: str) -> None:
        periods = np.diff(timestamps) * self.layout.fps
        late = timestamps * self.layout.fps - np.arange(len(timestamps))
        if (np.abs(late - np.median(late)) < TIMESTAMP_TOLERANCE).all():
            return  # each frame is near its place, however uneven the steps between them are
        off = np.flatnonzero(~(np.abs(periods - 1) < TIMESTAMP_TOLERANCE))
        if len(off):
            found = periods[off[0]] / self.layout.fps
            raise DataError(
                got=f"timestamps {found:.4g} s apart after frame {off[0]} of {where}, and {len(off)} of "
                f"{len(periods)} steps like it",
                expected=f"{1 / self.layout.fps:.4g} s, the period of {self.layout.fps:g} Hz in {self.layout.file}",
                change="correct fps, or separate recordings of several rates"
                if 2 * len(off) > len(periods)
                else "frames were lost or came late there: cut the episode in two at the gap, or record it again",
            )

    def values(self, feature: Feature, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows of a feature, (rows, dimension)."""
        values = self._vectors[feature.keys][rows]
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            row, dimension = rows[wrong[0][0]], int(wrong[0][1])
            raise DataError(
                got=f"{','.join(feature.keys)!r} dimension {feature.names[dimension]!r} is not finite in row {row} of "
                f"{self.file}, episode {self.table['episode_index'][row]}",
                expected="finite numbers",
                change="remove or mend that episode",
            )
        return values

    def tasks(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Index of the instruction in some rows; None where the file has none."""
        column = self.table.get(TASK)
        return None if column is None or column.dtype.kind not in "iu" else column[rows].astype(np.int64)

    def _vector(self, feature: Feature) -> NDArray[np.float32]:
        """All rows of a feature, (rows, dimension)."""
        parts = zip(feature.keys, feature.sizes, strict=True)
        return np.concatenate([self._column(key, size) for key, size in parts], axis=1)

    def _column(self, key: str, size: int) -> NDArray[np.float32]:
        values: Any = self.table[key]
        if size == 1 and values.ndim == 1:  # a vector of one is stored as a number
            values = values[:, None]
        if values.dtype.kind not in "fiub" or values.shape[1:] != (size,):
            raise DataError(
                got=f"{key!r} of type {values.dtype} and shape {values.shape} in {self.file}",
                expected=f"numbers of shape ({len(values)}, {size}), as {self.layout.file} says",
                change="copy or record it again",
            )
        with np.errstate(over="ignore"):  # what is beyond the type becomes infinite, and is refused as that
            return values.astype(np.float32)
