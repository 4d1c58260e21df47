"""Fields of the records of ticks and chunks in the files of a trace, which `segue.trace.file` writes and reads."""

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from segue.plan.plan import Delivery, Event
from segue.trace.sink import ChunkRecord, TickRecord

EVENTS: Final = tuple(Event)
"""Code of an event in a record is its place here."""
DELIVERIES: Final = (*Delivery, None)
"""Code of an outcome in a record is its place here; None is a request that was given up."""

NAMES: Final = {
    "schema": "segue/trace/3",
    "events": [event.value for event in EVENTS],
    "outcomes": ["given up" if outcome is None else outcome.value for outcome in DELIVERIES],
}
"""What header.json says of the codes."""
_EVENT_CODES: Final = {event: code for code, event in enumerate(EVENTS)}
_DELIVERY_CODES: Final = {outcome: code for code, outcome in enumerate(DELIVERIES)}
_TICK_FIELDS: Final = (
    *(("crc", "I"), ("chunk", "i"), ("index", "i"), ("delay", "i")),
    *(("slot", "q"), ("step", "q"), ("epoch", "q"), ("request", "q"), ("time", "d"), ("lateness", "d")),
    *(("ladder", "B"), ("cause", "B"), ("event", "B"), ("asked", "?"), ("saturated", "I")),
)
_CHUNK_FIELDS: Final = (
    *(("crc", "I"), ("planned", "i"), ("number", "q"), ("epoch", "q"), ("requested", "q"), ("arrived", "q")),
    *(("seconds", "d"), ("surprise", "d"), ("outcome", "B"), ("after_request", "?")),
)
TICK: Final = struct.Struct("<" + "".join(code for _, code in _TICK_FIELDS))
CHUNK: Final = struct.Struct("<" + "".join(code for _, code in _CHUNK_FIELDS))

Row = tuple[tuple[Any, ...], tuple[NDArray | None, ...]]


def tick_row(record: TickRecord) -> Row:
    """What `TICK` packs, and the arrays behind it; -1 for None."""
    tick = record.tick
    numbers = (
        0, -1 if tick.chunk is None else tick.chunk, -1 if tick.index is None else tick.index,
        -1 if tick.delay is None else tick.delay, record.slot, tick.step, record.epoch,
        -1 if record.request is None else record.request, record.time, record.lateness, record.ladder, record.cause,
        _EVENT_CODES[tick.event], record.asked, record.saturated,
    )  # fmt: skip
    return numbers, (record.pose, record.sent, record.observation)


def chunk_row(record: ChunkRecord) -> Row:
    """What `CHUNK` packs, and the array behind it."""
    request = record.request
    numbers = (
        0, request.continuation.delay, request.number, request.epoch, request.step, record.arrived, record.seconds,
        record.surprise, _DELIVERY_CODES[record.outcome], record.after_request,
    )  # fmt: skip
    return numbers, (record.actions,)


def record_types(*, action: int, observation: int, pose: int, horizon: int) -> tuple[np.dtype, np.dtype]:
    """Of a tick and of a chunk; -1 and NaN where there is nothing to say.

    Raises:
        ValueError: Sizes of which there are no records.
    """
    tick = (("pose", "<f8", (pose,)), ("action", "<f8", (action,)), ("observation", "<f4", (observation,)))
    chunk = (("actions", "<f4", (horizon, action)),)
    fields = ((_TICK_FIELDS, tick), (_CHUNK_FIELDS, chunk))
    made = [np.dtype([*((name, f"<{code}") for name, code in head), *rest], align=True) for head, rest in fields]
    return made[0], made[1]
