"""Traces: every tick and every chunk of a run, in a folder that survives the process and that NumPy reads.

    header.json    what was run; sizes of a record; names of events and outcomes, by code
    ticks.npy      | tick | tick | tick | ... room ... |    records of `segue.trace.records`
    chunks.npy     | chunk | chunk | ... room ... |
    dropped.npy    | ticks | chunks |    how many there was no room for, each beside its complement

The control loop cannot wait for a disk, and what it did last is what matters after a crash. So the files are allocated
before the start, mapped into memory, and only stored to afterwards; the kernel writes them out whenever it likes, also
when the process has been killed.

A record's ``crc`` is stored last and is never 0: where it is not 0, the record is whole. It is a CRC-32 of header.json
and of what follows in the record, so that a damaged trace, or one of two runs' files, is refused rather than believed.
When the room is used up, further records are dropped and counted. `close` cuts the files to what was used.

What only follows from other fields is not stored: the position at which a chunk starts and the steps executed while it
was under way are counted from the ticks (`segue.trace.measures`).
"""

import contextlib
import json
import mmap
import os
import shutil
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from segue.core import foreign
from segue.errors import DataError, SpecError
from segue.plan.plan import Delivery, Plan
from segue.trace.records import CHUNK, DELIVERIES, EVENTS, NAMES, TICK, ChunkRecord, TickRecord, record_types
from segue.trace.sink import Sink

HEADER, TICKS, CHUNKS, DROPPED = "header.json", "ticks.npy", "chunks.npy", "dropped.npy"
_BEGINS, _BEGAN = b'{"schema": "segue/trace/', b"SegueTr"  # header.json; the one file of earlier versions
_WORD: Final = 0xFFFFFFFF
_LARGEST: Final = 2**34  # bytes of a file that is read whole: days


def plan_header(plan: Plan) -> dict[str, Any]:
    """Describe a plan for the header's ``plan``, so that `segue replay` makes the same one again."""
    sizes = {name: getattr(plan, name) for name in ("horizon", "action", "execution_horizon")}
    delay = {name: getattr(plan.delay, name) for name in ("initial", "window", "quantile")}
    return sizes | {"handover": plan.handover.value, "trigger": str(plan.trigger), "delay": delay}


def checked(count: int) -> int:
    """Put a counter beside its complement, so that a damaged one is noticed; both are stored in one piece."""
    return count | (~count & _WORD) << 32


class _Table:
    """Stores records of one kind one after the other into a new file, and counts those that do not fit."""

    def __init__(
        self, file: Path, room: int, kind: np.dtype, head: struct.Struct, seed: int, dropped: NDArray[np.uint64]
    ) -> None:
        self._file, self._room, self._size, self._count = file, room, kind.itemsize, 0
        self._pack, self._seed = head.pack_into, seed
        mapped = np.lib.format.open_memmap(file, "w+", kind, (room,))
        with file.open("r+b") as made:  # without room set aside, a full disk would end the process at some later store
            os.posix_fallocate(made.fileno(), 0, file.stat().st_size)
        mapped.view(np.uint8)[:: mmap.PAGESIZE].sum()  # every page is there before the loop begins
        self._look_at(np.asarray(mapped), dropped)

    def _look_at(self, rows: NDArray[np.void], dropped: NDArray[np.uint64]) -> None:
        self._rows, self._dropped, self._bytes = rows, dropped, rows.view(np.uint8).data
        self._words = self._bytes.cast("I")
        columns = [rows[name] for name in rows.dtype.names or () if rows.dtype[name].shape]
        self._columns = [(place, column) for place, column in enumerate(columns) if column.size]

    @property
    def dropped(self) -> int:
        return int(self._dropped[0]) & _WORD

    def put(self, record: TickRecord | ChunkRecord) -> None:
        n = self._count
        here = n * self._size
        try:
            if n >= self._room:
                raise IndexError
            numbers, arrays = record.row()
            self._pack(self._bytes, here, *numbers)
            for place, column in self._columns:
                column[n] = np.nan if arrays[place] is None else arrays[place]
            self._words[here // 4] = zlib.crc32(self._bytes[here + 4 : here + self._size], self._seed) or 1
        except Exception:  # a log must not stop a robot
            self._dropped[0] = checked(min(self.dropped + 1, _WORD))
        else:
            self._count = n + 1

    def close(self) -> None:
        """Cut the file to what was used, and let go of it: what still comes is dropped."""
        if self._room < 0:  # it is closed
            return
        aside = self._file.with_name(f".{self._file.name}.part")
        with contextlib.suppress(OSError):  # no room for both: the long file stays, as readable as the short one
            try:
                with aside.open("wb") as cut:
                    np.save(cut, self._rows[: self._count])
                aside.replace(self._file)
            finally:
                aside.unlink(missing_ok=True)
        self._room = -1
        self._look_at(self._rows[:0].copy(), np.array(self._dropped))


class TraceWriter(Sink):
    """Writes a trace.

    Args:
        path: The folder; it must not exist yet.
        header: Description of the run, JSON. Reports and replay read ``robot`` (`segue.trace.measures.robot_header`),
            ``plan`` (`plan_header`), ``ladder`` and ``causes`` (names, by code), and show everything else.
        action: Action dimensions.
        observation: Observation dimensions.
        horizon: H, actions per chunk.
        pose: Pose dimensions; 0 when the robot's pose is not measured beside its observations.
        cameras: Cameras whose driver says how old its pictures are.
        ticks: Ticks that there will be room for.
        chunks: Chunks that there will be room for.

    Raises:
        DataError: The folder exists, or there is no room for it on the disk.
        SpecError: A size below 0, or a header that is not JSON.
    """

    def __init__(
        self, path: Path | str, header: Mapping[str, Any], *, action: int, observation: int, horizon: int,
        pose: int = 0, cameras: int = 0, ticks: int = 360_000, chunks: int = 36_000,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        sizes = {"action": action, "observation": observation, "pose": pose, "horizon": horizon}
        sizes |= {"cameras": cameras} if cameras else {}
        if min(ticks, chunks, *sizes.values()) < 0 or max(ticks, chunks) > _WORD:
            raise SpecError(f"{ticks} ticks, {chunks} chunks, {sizes}", "sizes from 0 to 2^32", "correct the size")
        try:
            text = json.dumps(NAMES | {"sizes": sizes, "header": header}, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise SpecError(f"trace header: {error}", "JSON", "leave out NaN and objects") from error
        (tick, chunk), seed = record_types(**sizes), zlib.crc32(text)
        try:
            self.path.mkdir(parents=True)
            dropped = np.lib.format.open_memmap(self.path / DROPPED, "w+", np.dtype("<u8"), (2,))
            dropped[:] = checked(0)
            self._ticks = _Table(self.path / TICKS, ticks, tick, TICK, seed, dropped[:1])
            self._chunks = _Table(self.path / CHUNKS, chunks, chunk, CHUNK, seed, dropped[1:])
            (self.path / HEADER).write_bytes(text)  # last: until then it is no trace
        except FileExistsError as error:
            raise DataError(f"{path} exists", "a new folder for each run", "give another name, or remove it") from error
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)
            size = ticks * tick.itemsize + chunks * chunk.itemsize
            raise DataError(
                f"{path}: no room for {size / 1e6:.0f} MB ({error})",
                "room for the whole trace before the start, in a folder that can be written",
                "make room, keep fewer ticks, or give another place",
            ) from error

    @property
    def dropped(self) -> tuple[int, int]:
        """Ticks and chunks that there was no room for, or that did not fit the sizes given."""
        return self._ticks.dropped, self._chunks.dropped

    @override
    def tick(self, record: TickRecord) -> None:
        self._ticks.put(record)

    @override
    def chunk(self, record: ChunkRecord) -> None:
        self._chunks.put(record)

    @override
    def close(self) -> None:
        self._ticks.close()
        self._chunks.close()


@dataclass(frozen=True, eq=False)
class Trace:
    """A trace that was read.

    Attributes:
        header: Description of the run.
        ticks: One record per tick, fields as in `segue.trace.records`.
        chunks: One record per answered request, fields likewise.
        dropped: Ticks and chunks that there was no room for.
        parts: First actions of chunks that were taken ahead of the others, which are NaN.
    """

    header: Mapping[str, Any]
    ticks: NDArray[np.void]
    chunks: NDArray[np.void]
    dropped: tuple[int, int]
    parts: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, np.void))


def is_trace(path: Path) -> bool:
    """Tell whether a folder is a trace, or a file one of an earlier version, which `read` names."""
    return _begins(path / HEADER, _BEGINS) or _begins(path, _BEGAN)


def _begins(file: Path, how: bytes) -> bool:
    try:
        return foreign.begins(file, len(how)) == how
    except DataError:
        return False


def read(path: Path | str) -> Trace:
    """Read a trace, also one that is being written, or whose process was killed.

    Raises:
        DataError: Missing, not a trace, one of an earlier version, truncated or damaged.
    """
    path = Path(path)
    if not _begins(path / HEADER, _BEGINS):
        what = "a trace of an earlier version, in one file" if _begins(path, _BEGAN) else "not a trace"
        raise DataError(f"{path} is {what}", "a folder, as `segue run` writes it", "check the path, or record it again")
    text = foreign.content(path / HEADER)
    try:
        names = foreign.parsed(text)
        header, (tick, chunk) = names.pop("header"), record_types(**names.pop("sizes"))
        if names != NAMES or not isinstance(header, dict):
            raise ValueError("of another version")
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path / HEADER, f"sizes or a header that cannot be ({error})") from error
    seed = zlib.crc32(text)
    ticks, chunks = _whole(path / TICKS, tick, seed), _whole(path / CHUNKS, chunk, seed)
    if np.any(ticks["event"] >= len(EVENTS)) or np.any(chunks["outcome"] >= len(DELIVERIES)):
        raise _damaged(path, "an event or an outcome that does not exist")
    words = _records(path / DROPPED, np.dtype("<u8")).tolist()
    counts = [word & _WORD for word in words]
    if len(words) != 2 or [checked(count) for count in counts] != words:
        raise _damaged(path / DROPPED, "counters that contradict themselves")
    # A chunk that was taken has no NaN: what ends with one is a part
    part = (chunks["outcome"] == DELIVERIES.index(Delivery.TAKEN)) & np.isnan(chunks["actions"][:, -1:]).any((1, 2))
    return Trace(header, ticks, _those(chunks, ~part), (counts[0], counts[1]), _those(chunks, part))


def _those(records: NDArray[np.void], which: NDArray[np.bool_]) -> NDArray[np.void]:
    """Choose records, with what is between their fields, which NumPy leaves out."""
    return records.view(np.uint8).reshape(len(records), records.itemsize)[which].view(records.dtype)[:, 0]


def _whole(file: Path, kind: np.dtype, seed: int) -> NDArray[np.void]:
    """Copy the records that were finished, and compare their checksums."""
    mapped = _records(file, kind)
    finished = mapped[: np.count_nonzero(mapped["crc"])]  # counted first: more may come while they are copied
    rows = np.array(finished.view(np.uint8)).reshape(-1, kind.itemsize)  # with what is between the fields
    found = rows.view(kind)[:, 0]
    for n, row in enumerate(rows):
        if (zlib.crc32(row[4:].data, seed) or 1) != found["crc"][n]:
            raise _damaged(file, f"record {n} of {len(rows)} with a wrong checksum")
    return found


def _records(file: Path, kind: np.dtype) -> NDArray[Any]:
    """Map a .npy file that has these records and nothing else."""
    size = foreign.regular(file, largest=_LARGEST)
    try:
        with file.open("rb") as content:
            if np.lib.format.read_magic(content) != (1, 0):
                raise ValueError("of another version")
            shape, _, dtype = np.lib.format.read_array_header_1_0(content)
            begins = content.tell()
        # Compared before it is mapped: sizes that nobody can have overflow there
        if dtype != kind or len(shape) != 1 or begins + shape[0] * kind.itemsize != size:
            raise ValueError(f"{shape} of {dtype} in {size} bytes")
        return np.memmap(file, kind, "r", begins, shape)
    except Exception as error:  # NumPy's parser raises its own, too
        raise _damaged(file, f"other records than header.json says ({str(error)[:200]})") from error


def _damaged(file: Path, got: str) -> DataError:
    return DataError(f"{file}: {got}", "a whole trace", "copy it again; what is left of it is not to be trusted")
