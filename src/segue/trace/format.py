"""How a trace lies in its file: sizes, fields and checks. `segue.trace.file` writes and reads it."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from segue.plan.plan import Delivery, Event

MAGIC: Final = b"SegueTr2"
"""Begins every trace that is written."""
WITHOUT_SURPRISE: Final = b"SegueTr1"
"""Begins those whose chunk records end before ``surprise``."""
FORMATS: Final = (MAGIC, WITHOUT_SURPRISE)
"""What a trace that can be read begins with."""
EVENTS: Final = tuple(Event)
"""Code of an event in a record is its place here."""
DELIVERIES: Final = (*Delivery, None)
"""Code of an outcome in a record is its place here; None is a request that was given up."""

EVENT_CODES: Final = {event: code for code, event in enumerate(EVENTS)}
DELIVERY_CODES: Final = {outcome: code for code, outcome in enumerate(DELIVERIES)}
PREAMBLE: Final = struct.Struct("<8s QQQ IIII I 4x")  # magic, header bytes, capacities, dimensions, CRC
COUNTERS: Final = PREAMBLE.size  # ticks, chunks, dropped ticks, dropped chunks
HEADER: Final = COUNTERS + 4 * 8
WORD: Final = 0xFFFFFFFF

TICK_FIELDS: Final = (
    *(("slot", "q"), ("step", "q"), ("epoch", "q"), ("request", "q"), ("time", "d"), ("lateness", "d")),
    *(("chunk", "i"), ("index", "i"), ("delay", "i")),
    *(("ladder", "B"), ("cause", "B"), ("event", "B"), ("saturated", "B")),
)
CHUNK_FIELDS: Final = (
    *(("number", "q"), ("epoch", "q"), ("requested", "q"), ("arrived", "q"), ("seconds", "d")),
    *(("planned", "i"), ("outcome", "H"), ("after_request", "H"), ("surprise", "d")),
)
TICK: Final = struct.Struct("<" + "".join(code for _, code in TICK_FIELDS))
CHUNK: Final = struct.Struct("<" + "".join(code for _, code in CHUNK_FIELDS))
_DTYPES: Final = {"q": "<i8", "d": "<f8", "i": "<i4", "H": "<u2", "B": "u1"}


@dataclass(frozen=True)
class Layout:
    """Sizes of everything in a file.

    Attributes:
        header: Bytes of the JSON text.
        ticks: Tick records that there is room for.
        chunks: Chunk records that there is room for.
        action: Action dimensions.
        observation: Observation dimensions.
        pose: Pose dimensions, 0 for a robot that measures none.
        horizon: H, actions per chunk.
        magic: One of `FORMATS`.
    """

    header: int
    ticks: int
    chunks: int
    action: int
    observation: int
    pose: int
    horizon: int
    magic: bytes = MAGIC

    @property
    def tick(self) -> np.dtype:
        """A tick record; -1 and NaN where there is nothing to say."""
        arrays = (("pose", "<f8", (self.pose,)), ("action", "<f8", (self.action,)))
        return _record(TICK_FIELDS, (*arrays, ("observation", "<f4", (self.observation,))))

    @property
    def chunk(self) -> np.dtype:
        """A chunk record; NaN for actions that never came, and for a robot that nothing was predicted of."""
        fields = CHUNK_FIELDS if self.magic == MAGIC else CHUNK_FIELDS[:-1]
        return _record(fields, (("actions", "<f4", (self.horizon, self.action)),))

    @property
    def first_tick(self) -> int:
        """Offset of the tick records."""
        return -(-(HEADER + self.header) // 64) * 64

    @property
    def first_chunk(self) -> int:
        """Offset of the chunk records."""
        return self.first_tick + self.ticks * self.tick.itemsize

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.first_chunk + self.chunks * self.chunk.itemsize

    def preamble(self, text: bytes) -> bytes:
        """The file's first bytes, with a CRC of themselves and the header text."""
        fields = (len(text), self.ticks, self.chunks, self.action, self.observation, self.pose, self.horizon)
        crc = zlib.crc32(text, zlib.crc32(PREAMBLE.pack(self.magic, *fields, 0)))
        return PREAMBLE.pack(self.magic, *fields, crc)


def _record(fields: Sequence[tuple[str, str]], arrays: Sequence[tuple[str, str, tuple[int, ...]]]) -> np.dtype:
    """Fields, arrays, and a CRC in the last four bytes of a whole number of words."""
    body: Any = np.dtype([*((name, _DTYPES[code]) for name, code in fields), *arrays])
    size = -(-(body.itemsize + 4) // 8) * 8
    return np.dtype(
        {
            "names": [*body.names, "crc"],
            "formats": [*(body[name] for name in body.names), "<u4"],
            "offsets": [*(body.fields[name][1] for name in body.names), size - 4],
            "itemsize": size,
        }
    )


def of_now(chunks: NDArray[np.void]) -> NDArray[np.void]:
    """Chunk records as they are written now; of an earlier format's, nobody knows a surprise. Shape (chunks,)."""
    names = chunks.dtype.names or ()
    if "surprise" in names:
        return chunks
    horizon, action = chunks["actions"].shape[1:]
    found = np.zeros(len(chunks), Layout(0, 0, 0, action, 0, 0, horizon).chunk)
    found["surprise"] = np.nan
    for name in names:
        found[name] = chunks[name]
    return found


def checked(count: int) -> int:
    """A counter beside its complement, so that a damaged one is noticed. Stored in one piece."""
    return count | (~count & WORD) << 32
