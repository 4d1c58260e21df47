"""A tick and a chunk, as values that sinks are given and as records in the files of a trace."""

import struct
from math import nan
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Array
from segue.plan.plan import Delivery, Event, Request, Tick

EVENTS: Final = tuple(Event)
"""Code of an event in a record is its place here."""
DELIVERIES: Final = (*Delivery, None)
"""Code of an outcome in a record is its place here; None is a request that was given up."""

NAMES: Final = {
    "schema": "segue/trace/3",
    "events": [event.value for event in EVENTS],
    "outcomes": ["given up" if outcome is None else outcome.value for outcome in DELIVERIES],
}
"""The entries of header.json about codes."""
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


class TickRecord(msgspec.Struct, frozen=True, eq=False):
    """One control tick.

    Attributes:
        slot: Place in the schedule; slots that were skipped leave a gap.
        tick: The plan's tick.
        epoch: The plan's.
        time: Monotonic clock when the command was sent [s].
        lateness: How much later than scheduled the tick began [s].
        ladder: State of the safety ladder, an index into the header's ``ladder`` names.
        cause: Why it is in that state, an index into the header's ``causes``.
        saturated: Joints whose command the limits have changed.
        asked: Whether the plan was asked if a request is due.
        request: Number of the request made in this tick; None when none was.
        sent: Shape (action,): the command after all limits; None when none was sent.
        observation: Shape (observation,), or None: not read in this tick.
        pose: Shape (pose,), measured before the command; None: not measured.
        ages: Shape (cameras,): how old each picture of the observation was [s]; None: not read, or not said.
    """

    slot: int
    tick: Tick
    epoch: int
    time: float
    lateness: float
    ladder: int
    cause: int = 0
    saturated: int = 0
    asked: bool = True
    request: int | None = None
    sent: NDArray[np.floating] | None = None
    observation: NDArray[np.floating] | None = None
    pose: NDArray[np.floating] | None = None
    ages: NDArray[np.floating] | None = None

    def row(self) -> Row:
        """Return the numbers that are packed as `TICK`, -1 for None, and the arrays behind them."""
        tick = self.tick
        numbers = (
            0, -1 if tick.chunk is None else tick.chunk, -1 if tick.index is None else tick.index,
            -1 if tick.delay is None else tick.delay, self.slot, tick.step, self.epoch,
            -1 if self.request is None else self.request, self.time, self.lateness, self.ladder, self.cause,
            _EVENT_CODES[tick.event], self.asked, self.saturated,
        )  # fmt: skip
        return numbers, (self.pose, self.sent, self.observation, self.ages)


class ChunkRecord(msgspec.Struct, frozen=True, eq=False):
    """An answer to a request, or that it was given up.

    Attributes:
        request: The request.
        outcome: Fate of the chunk; None: given up, there is no answer.
        actions: Shape (horizon, action), as delivered; None without an answer.
        arrived: The plan's step at the delivery.
        after_request: Whether the plan had already been asked for a request in that step.
        seconds: Time from asking to the answer [s].
        surprise: Surprise of the robot at the request, see `segue.links.link.Answer`.
    """

    request: Request
    outcome: Delivery | None
    actions: Array | None
    arrived: int
    after_request: bool
    seconds: float
    surprise: float = nan

    def row(self) -> Row:
        """Return the numbers that are packed as `CHUNK`, and the array behind them."""
        request = self.request
        numbers = (
            0, request.continuation.delay, request.number, request.epoch, request.step, self.arrived, self.seconds,
            self.surprise, _DELIVERY_CODES[self.outcome], self.after_request,
        )  # fmt: skip
        return numbers, (self.actions,)


def record_types(
    *, action: int, observation: int, pose: int, horizon: int, cameras: int = 0
) -> tuple[np.dtype, np.dtype]:
    """Return the types of the records of ticks and of chunks; raises `ValueError` for sizes that there cannot be.

    -1 and NaN stand where there is nothing to say. Without cameras there is no field for them.
    """
    tick: Any = (("pose", "<f8", (pose,)), ("action", "<f8", (action,)), ("observation", "<f4", (observation,)))
    tick += (("ages", "<f4", (cameras,)),) if cameras else ()
    chunk: Any = (("actions", "<f4", (horizon, action)),)
    ticks, chunks = ([(name, f"<{code}") for name, code in fields] for fields in (_TICK_FIELDS, _CHUNK_FIELDS))
    return np.dtype([*ticks, *tick], align=True), np.dtype([*chunks, *chunk], align=True)
