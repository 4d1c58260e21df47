"""Where a run's ticks and chunks go while it runs: a trace, a live view, several, none."""

from math import nan
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from segue.core.chunk import Array
from segue.plan.plan import Delivery, Request, Tick


class TickRecord(msgspec.Struct, frozen=True, eq=False):
    """One control tick.

    Attributes:
        slot: Place in the schedule; slots that were skipped leave a gap.
        tick: What the plan said.
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


class ChunkRecord(msgspec.Struct, frozen=True, eq=False):
    """An answer to a request, or that it was given up.

    Attributes:
        request: What was asked.
        outcome: What the plan said to it; None: given up, there is no answer.
        actions: Shape (horizon, action), as delivered; None without an answer.
        arrived: The plan's step at the delivery.
        after_request: Whether the plan had already been asked for a request in that step.
        seconds: From asking to the answer [s].
        surprise: Of the robot at the request, see `segue.links.link.Answer`.
    """

    request: Request
    outcome: Delivery | None
    actions: Array | None
    arrived: int
    after_request: bool
    seconds: float
    surprise: float = nan


class Sink(Protocol):
    """Takes what happens in a run. No call blocks or raises: the control loop makes them."""

    def tick(self, record: TickRecord) -> None:
        """Take a tick. Its arrays are the loop's, which uses them again: what is kept of them is copied."""
        ...

    def chunk(self, record: ChunkRecord) -> None:
        """Take an answer; before the tick of the step in which it came."""
        ...

    def close(self) -> None:
        """The run is over; may be called twice."""
        ...


class Sinks(Sink):
    """Several sinks, or none, as one."""

    def __init__(self, *sinks: Sink) -> None:
        self.sinks = sinks

    @override
    def tick(self, record: TickRecord) -> None:
        for sink in self.sinks:
            sink.tick(record)

    @override
    def chunk(self, record: ChunkRecord) -> None:
        for sink in self.sinks:
            sink.chunk(record)

    @override
    def close(self) -> None:
        for sink in self.sinks:
            sink.close()
