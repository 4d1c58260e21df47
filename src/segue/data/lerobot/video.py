"""Pictures of a data set of LeRobot that are kept as video, decoded with PyAV: each file once, from its first frame.

info.json       {"dtype": "video", "shape": [height, width, 3]}, and a template of paths: video_path
version 2.1     a file per camera and episode
version 3.0     many episodes per file; meta/episodes says which file, from_timestamp and to_timestamp

    file      0      from_timestamp       from_timestamp + timestamp           to_timestamp
              |  ...       |  the episode's first row ...  |  the row's picture ...  |  the next episode ...
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.data.lerobot.layout import Layout
from segue.errors import DataError, MissingExtraError

_FIELDS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
_AGAIN = "copy or download the data set again, or leave the camera out"


@dataclass(frozen=True)
class Shot:
    """One episode of one camera.

    Attributes:
        file: Where it is.
        start: Of the episode in the file [s].
    """

    file: Path
    start: float = 0.0


def columns(keys: Sequence[str]) -> list[str]:
    """Columns of ``meta/episodes`` that say where the videos of some cameras are."""
    return [f"videos/{key}/{name}" for key in keys for name in _FIELDS]


def shot_of_v2(layout: Layout, key: str, episode: int, chunk: int) -> Shot:
    """Version 2.1: the episode is the file."""
    return Shot(layout.place("video_path", {"episode_chunk": chunk, "episode_index": episode, "video_key": key}))


def shot_of_v3(layout: Layout, key: str, row: Mapping[str, Any], length: int) -> Shot:
    """Version 3.0: the episode is a part of the file.

    Args:
        layout: Of the data set.
        key: Camera.
        row: What ``meta/episodes`` says about the episode, with `columns`.
        length: Frames of the episode.

    Raises:
        DataError: The place is missing, or too short for the episode.
    """
    told = np.array([row[f"videos/{key}/{name}"] for name in _FIELDS])
    numbers = told.dtype.kind in "fiu" and bool(np.isfinite(told).all())
    if not numbers or told[3] - told[2] < (length - 0.5) / layout.fps:
        raise DataError(
            got=f"video of {key!r} with {', '.join(_FIELDS)} = {', '.join(map(str, told))} for episode "
            f"{row['episode_index']} in meta/episodes",
            expected=f"a file, and room for {length} frames at {layout.fps:g} Hz",
            change=_AGAIN,
        )
    place = {"chunk_index": int(told[0]), "file_index": int(told[1]), "video_key": key}
    return Shot(layout.place("video_path", place), float(told[2]))


@dataclass(frozen=True)
class Footage:
    """The frames of one camera that are wanted, gathered by file, so that no file is decoded twice.

    Attributes:
        key: The camera.
        fps: Frames per second of the data set.
    """

    key: str
    fps: float
    _wanted: dict[Path, list[tuple[int, NDArray[np.float64], int]]] = field(default_factory=lambda: defaultdict(list))

    def want(self, episode: int, shot: Shot, timestamps: NDArray[np.float64], first: int) -> None:
        """Ask for the frames of an episode.

        Args:
            episode: Its index.
            shot: Where they are.
            timestamps: Of its rows, since its start [s]. Shape (frames,).
            first: Where in the store the first of them goes.
        """
        self._wanted[shot.file].append((episode, shot.start + timestamps, first))

    def files(self) -> Mapping[Path, Sequence[int]]:
        """Files that are wanted, and the episodes in each."""
        return {file: [episode for episode, _, _ in parts] for file, parts in self._wanted.items()}

    def decode(self, file: Path, store: NDArray[np.uint8]) -> None:
        """Decode everything that was asked for of a file.

        Args:
            file: One of `files`.
            store: Filled. Shape (frames, height, width, 3).

        Raises:
            DataError: The file is missing, truncated or damaged, has another size, or no frame near to a timestamp.
        """
        parts = self._wanted[file]
        times = np.concatenate([part for _, part, _ in parts])
        rows = np.concatenate([first + np.arange(len(part)) for _, part, first in parts])
        goes_to: dict[int, list[int]] = defaultdict(list)
        for stamp, row in zip(self._nearest(file, times), rows, strict=True):
            goes_to[int(stamp)].append(int(row))
        for frame in _frames(self.key, file):
            if (frame.height, frame.width) != store.shape[1:3]:
                raise DataError(
                    got=f"{self.key!r} of {frame.height} x {frame.width} pixels in {file}",
                    expected=f"{store.shape[1]} x {store.shape[2]}, as info.json says",
                    change=_AGAIN,
                )
            for row in goes_to.pop(frame.pts, ()):
                store[row] = frame.to_ndarray(format="rgb24")
            if not goes_to:
                return
        raise DataError(f"{len(goes_to)} frames of {self.key!r} in {file} cannot be decoded", "the whole file", _AGAIN)

    def _nearest(self, file: Path, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """The stamp of the frame that is nearest to each time; found in the file's index, before any is decoded."""
        stamps, tick = _stamps(self.key, file)
        there = stamps * tick
        after = (
            np.clip(np.searchsorted(there, times), 1, len(there) - 1) if len(there) > 1 else np.zeros(len(times), int)
        )
        before = np.maximum(after - 1, 0)
        found = np.where(times - there[before] < there[after] - times, before, after)
        off = np.flatnonzero(~(np.abs(there[found] - times) <= 0.5 / self.fps))
        if len(off):
            nearest = there[found[off[0]]]
            raise DataError(
                got=f"no frame of {self.key!r} at {times[off[0]]:.4f} s in {file}; the nearest is at {nearest:.4f} s, "
                f"the last one at {there[-1]:.4f} s",
                expected=f"one within half a period of {self.fps:g} Hz of each row's timestamp",
                change=f"{_AGAIN}; the video is truncated, or not of this recording",
            )
        return stamps[found]


def _stamps(key: str, file: Path) -> tuple[NDArray[np.int64], float]:
    """When each frame of a file is shown, in order [ticks], and a tick [s]; nothing is decoded."""
    with _opened(key, file) as container:
        stream = container.streams.video[0]
        packets = container.demux(stream)
        whole = (packet for packet in packets if not (packet.is_discard or packet.is_corrupt))
        stamps = [packet.pts for packet in whole if packet.pts is not None]
        tick = float(stream.time_base)
    if not stamps:
        raise DataError(f"no frame of {key!r} in {file}", "a whole video", _AGAIN)
    return np.sort(np.asarray(stamps, np.int64)), tick


def _frames(key: str, file: Path) -> Iterator[Any]:
    """All frames of a file in the order in which they are shown; those that a decoder has guessed are left out."""
    with _opened(key, file) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from (frame for frame in container.decode(stream) if not frame.is_corrupt)


@contextmanager
def _opened(key: str, file: Path) -> Iterator[Any]:
    """A video file, and what goes wrong with it as an error of ours."""
    av = pyav()
    foreign.regular(file)
    try:
        # Only this format is tried: others, such as playlists, may name files and addresses of their own.
        with av.open(str(file), format="mp4") as container:
            if not container.streams.video:
                raise DataError(f"no video of {key!r} in {file}", "an mp4 file with one", _AGAIN)
            yield container
    except av.FFmpegError as error:
        raise DataError(
            got=f"video of {key!r} in {file} cannot be read: {' '.join(str(error).split())[:200]}",
            expected="the whole mp4 file as LeRobot wrote it",
            change=f"it is missing, truncated or damaged: {_AGAIN}",
        ) from error


def pyav() -> ModuleType:
    """The module ``av``.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video", "decoding the videos of a data set") from error
    return av
