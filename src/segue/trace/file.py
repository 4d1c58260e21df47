"""What a run leaves behind: every tick and every chunk, in one file of fixed size that survives the process.

The control loop cannot wait for a disk, and what it did last is what matters after a crash. So the file is allocated
before the start, mapped into memory, and only stored to afterwards; the kernel writes it out whenever it likes, also
when the process has been killed.

    | preamble | counters | header, JSON | tick | tick | tick | ... room ... | chunk | chunk | ... room ... |
                  ^ stored last, after each record, in one store: what they count is whole

Every record ends in a CRC-32 of itself, so that a damaged file is refused rather than believed. When the room is used
up, further records are dropped and counted. `close` cuts the file to what was used.

What only follows from other fields is not stored: the position at which a chunk starts and the steps executed while it
was under way are counted from the ticks (`segue.trace.measures`).
"""

import contextlib
import json
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.core.chunk import Array
from segue.errors import DataError, SpecError
from segue.plan.plan import Delivery, Plan, Request, Tick
from segue.trace import format
from segue.trace.format import Layout, checked


def plan_header(plan: Plan) -> dict[str, Any]:
    """What a plan was made of, for the header's ``plan``: `segue replay` makes the same one again."""
    return {
        "horizon": plan.horizon,
        "action": plan.action,
        "execution_horizon": plan.execution_horizon,
        "handover": plan.handover.value,
        "trigger": str(plan.trigger),
        "delay": {"initial": plan.delay.initial, "window": plan.delay.window, "quantile": plan.delay.quantile},
    }


class TraceWriter:
    """A `Sink` that writes a file.

    Args:
        path: The file; it must not exist yet.
        header: What was run, JSON. Reports and replay read ``robot`` (`segue.trace.measures.robot_header`),
            ``plan`` (`plan_header`), ``ladder`` and ``causes`` (names, by code), and show everything else.
        action: Action dimensions.
        observation: Observation dimensions.
        horizon: H, actions per chunk.
        pose: Pose dimensions; 0 when the robot's pose is not measured beside its observations.
        ticks: Ticks that there will be room for.
        chunks: Chunks that there will be room for.

    Raises:
        DataError: The file exists, or there is no room for it on the disk.
        SpecError: A size below 0, or a header that is not JSON.
    """

    def __init__(
        self,
        path: Path | str,
        header: Mapping[str, Any],
        *,
        action: int,
        observation: int,
        horizon: int,
        pose: int = 0,
        ticks: int = 360_000,
        chunks: int = 36_000,
    ) -> None:
        self.path = Path(path)
        try:
            self._text = json.dumps(header, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise SpecError(f"trace header: {error}", "JSON", "leave out NaN and objects") from error
        self._layout = Layout(len(self._text), ticks, chunks, action, observation, pose, horizon)
        if min(ticks, chunks, action, observation, pose, horizon) < 0 or max(ticks, chunks) > format.WORD:
            raise SpecError(f"{self._layout}", "sizes from 0 to 2^32", "correct the size")
        self._map = _create(self.path, self._layout.size)
        self._view(self._map)
        self._map[format.HEADER : format.HEADER + len(self._text)] = self._text
        self._map[: format.COUNTERS] = self._layout.preamble(self._text)  # last: until then it is no trace

    def _view(self, memory: mmap.mmap) -> None:
        """Look at the mapped file as counters and columns of records."""
        layout = self._layout
        ticks = np.frombuffer(memory, layout.tick, layout.ticks, layout.first_tick)
        chunks = np.frombuffer(memory, layout.chunk, layout.chunks, layout.first_chunk)
        self._room = [layout.ticks, layout.chunks]
        self._count = [0, 0, 0, 0]
        self._words = np.frombuffer(memory, "<u8", 4, format.COUNTERS)
        self._words[:] = checked(0)
        self._bytes = memoryview(memory)
        self._tick_places = (layout.first_tick, ticks.itemsize, ticks["crc"])
        self._chunk_places = (layout.first_chunk, chunks.itemsize, chunks["crc"])
        self._sent, self._observation, self._pose = ticks["action"], ticks["observation"], ticks["pose"]
        self._actions = chunks["actions"]

    @property
    def dropped(self) -> tuple[int, int]:
        """Ticks and chunks that there was no room for, or that did not fit the sizes given."""
        return self._count[2], self._count[3]

    def tick(
        self,
        slot: int,
        tick: Tick,
        *,
        epoch: int,
        time: float,
        lateness: float,
        ladder: int,
        cause: int = 0,
        saturated: int = 0,
        request: int = 0,
        sent: NDArray[np.floating] | None = None,
        observation: NDArray[np.floating] | None = None,
        pose: NDArray[np.floating] | None = None,
    ) -> None:
        """See `Sink.tick`."""
        n = self._count[0]
        if n >= self._room[0]:
            return self._drop(0)
        try:
            first, size, crc = self._tick_places
            here = first + n * size
            chunk = -1 if tick.chunk is None else tick.chunk
            index = -1 if tick.index is None else tick.index
            delay = -1 if tick.delay is None else tick.delay
            event = format.EVENT_CODES[tick.event]
            format.TICK.pack_into(
                self._bytes, here, slot, tick.step, epoch, request, time, lateness, chunk, index, delay,
                ladder, cause, event, saturated,
            )  # fmt: skip
            self._sent[n] = np.nan if sent is None else sent
            self._observation[n] = np.nan if observation is None else observation
            self._pose[n] = np.nan if pose is None else pose
            crc[n] = zlib.crc32(self._bytes[here : here + size - 4])
        except Exception:  # a log must not stop a robot
            return self._drop(0)
        self._store(0, n + 1)

    def chunk(
        self,
        request: Request,
        outcome: Delivery | None,
        actions: Array | None,
        *,
        arrived: int,
        after_request: bool,
        seconds: float,
        surprise: float = nan,
    ) -> None:
        """See `Sink.chunk`."""
        n = self._count[1]
        if n >= self._room[1]:
            return self._drop(1)
        try:
            first, size, crc = self._chunk_places
            here = first + n * size
            planned, code = request.continuation.delay, format.DELIVERY_CODES[outcome]
            format.CHUNK.pack_into(
                self._bytes, here, request.number, request.epoch, request.step, arrived, seconds, planned, code,
                after_request, surprise,
            )  # fmt: skip
            self._actions[n] = np.nan if actions is None else actions
            crc[n] = zlib.crc32(self._bytes[here : here + size - 4])
        except Exception:  # a log must not stop a robot
            return self._drop(1)
        self._store(1, n + 1)

    def _store(self, which: int, count: int) -> None:
        self._count[which] = count
        self._words[which] = checked(count)

    def _drop(self, which: int) -> None:
        self._store(which + 2, min(self._count[which + 2] + 1, format.WORD))

    def close(self) -> None:
        """Cut the file to what was used. What still comes is dropped."""
        if self._map.closed:
            return
        self._room = [0, 0]
        used = replace(self._layout, ticks=self._count[0], chunks=self._count[1])
        old, content = self._layout, bytearray(used.size)
        content[: used.first_tick] = self._bytes[: used.first_tick]
        content[: format.COUNTERS] = used.preamble(self._text)
        ticks = used.ticks * used.tick.itemsize
        content[used.first_tick : used.first_chunk] = self._bytes[old.first_tick : old.first_tick + ticks]
        content[used.first_chunk :] = self._bytes[old.first_chunk : old.first_chunk + used.size - used.first_chunk]
        aside = self.path.with_name(f".{self.path.name}.part")
        with contextlib.suppress(OSError):  # no room for both: the long file stays, as readable as the short one
            try:
                aside.write_bytes(content)
                aside.replace(self.path)
            finally:
                aside.unlink(missing_ok=True)
        self._words = self._words.copy()
        self._release()

    def _release(self) -> None:
        nothing = np.zeros(0, np.uint32)
        self._tick_places = self._chunk_places = (0, 0, nothing)
        self._sent = self._observation = self._pose = self._actions = nothing
        self._bytes.release()
        self._map.close()


def _create(path: Path, size: int) -> mmap.mmap:
    """A new file of a size that the disk has set aside, mapped."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise DataError(f"{path} exists", "a new file for each run", "give another name, or remove it") from error
    except OSError as error:
        raise DataError(f"{path}: {error}", "a file that can be written", "give another place") from error
    try:
        os.posix_fallocate(file, 0, size)  # without it a full disk would end the process at some later store
        return mmap.mmap(file, size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DataError(
            f"{path}: no room for {size / 1e6:.0f} MB ({error.strerror})",
            "room for the whole trace before the start",
            "make room, keep fewer ticks, or give another place",
        ) from error
    finally:
        os.close(file)


_LARGEST = 2**34
"""Bytes of a trace that is read whole: days."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A file that was read.

    Attributes:
        header: What was run.
        ticks: One record per tick, fields as in `Layout.tick`.
        chunks: One record per answered request, fields as in `Layout.chunk` of a trace that is written now.
        dropped: Ticks and chunks that there was no room for.
    """

    header: Mapping[str, Any]
    ticks: NDArray[np.void]
    chunks: NDArray[np.void]
    dropped: tuple[int, int]


def is_trace(path: Path) -> bool:
    """Whether a file begins like a trace."""
    try:
        return foreign.begins(path, len(format.MAGIC)) in format.FORMATS
    except DataError:
        return False


def read(path: Path | str) -> Trace:
    """Read a trace, also one whose process was killed, and one of an earlier format.

    Raises:
        DataError: Missing, not a trace, truncated or damaged.
    """
    path = Path(path)
    content = foreign.content(path, _LARGEST)
    layout, header = _read_layout(path, content)
    words = [int(word) for word in np.frombuffer(content, "<u8", 4, format.COUNTERS)]
    counts = [word & format.WORD for word in words]
    if [checked(count) for count in counts] != words or counts[0] > layout.ticks or counts[1] > layout.chunks:
        raise _damaged(path, "counters that contradict themselves")
    ticks = np.frombuffer(content, layout.tick, counts[0], layout.first_tick)
    chunks = np.frombuffer(content, layout.chunk, counts[1], layout.first_chunk)
    for kind, rows in (("tick", ticks), ("chunk", chunks)):
        for n, row in enumerate(rows):
            if zlib.crc32(row.tobytes()[:-4]) != row["crc"]:
                raise _damaged(path, f"{kind} record {n} of {len(rows)} with a wrong checksum")
    if np.any(ticks["event"] >= len(format.EVENTS)) or np.any(chunks["outcome"] >= len(format.DELIVERIES)):
        raise _damaged(path, "an event or an outcome that does not exist")
    return Trace(header, ticks, format.of_now(chunks), (counts[2], counts[3]))


def _read_layout(path: Path, content: bytes) -> tuple[Layout, dict[str, Any]]:
    """Sizes and header, when all of what they say is there."""
    magic = content[: len(format.MAGIC)]
    if magic not in format.FORMATS:
        raise DataError(f"{path} is not a trace", "a trace of `segue run`", "check the path")
    if len(content) < format.HEADER:
        raise _damaged(path, f"{len(content)} bytes")
    _, length, *sizes, crc = format.PREAMBLE.unpack(content[: format.COUNTERS])
    layout, text = Layout(length, *sizes, magic=magic), content[format.HEADER : format.HEADER + length]
    if layout.preamble(text) != content[: format.COUNTERS]:
        raise _damaged(path, f"a header with checksum {crc:08x} that it does not have")
    try:
        size, header = layout.size, foreign.parsed(text)
        _ = replace(layout, magic=format.MAGIC).chunk  # what older records become can be, too
    except ValueError as error:  # the checksum is right, so somebody meant it
        raise _damaged(path, f"sizes or a header that cannot be ({error})") from error
    if len(content) < size or not isinstance(header, dict):
        raise _damaged(path, f"{len(content)} of {size} bytes, a header of type {type(header).__name__}")
    return layout, header


def _damaged(path: Path, got: str) -> DataError:
    return DataError(f"{path}: {got}", "a whole trace", "copy the file again; what is left of it is not to be trusted")
