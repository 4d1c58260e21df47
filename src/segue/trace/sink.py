"""Where a run's ticks and chunks go while it runs: a file, a live view, several, none."""

from math import nan
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Array
from segue.plan.plan import Delivery, Request, Tick

NOT_ASKED: Final = -1
"""`Sink.tick`'s request in a tick in which the plan was not asked whether one is due."""


class Sink(Protocol):
    """Takes what happens in a run. No call blocks or raises: the control loop makes them."""

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
        """One control tick.

        Args:
            slot: Place in the schedule; slots that were skipped leave a gap.
            tick: What the plan said.
            epoch: The plan's.
            time: Monotonic clock when the command was sent [s].
            lateness: How much later than scheduled the tick began [s].
            ladder: State of the safety ladder, an index into the header's ``ladder`` names.
            cause: Why it is in that state, an index into the header's ``causes``.
            saturated: Joints whose command the limits have changed.
            request: Number of the request made in this tick; 0 when none was due, `NOT_ASKED` when nobody asked.
            sent: Shape (action,): the command after all limits; None when none was sent.
            observation: Shape (observation,), or None: not read in this tick.
            pose: Shape (pose,), measured before the command; None: not measured.
        """
        ...

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
        """An answer to a request, or that it was given up; before the tick of the step in which it came.

        Args:
            request: What was asked.
            outcome: What the plan said to it; None: given up, there is no answer.
            actions: Shape (horizon, action), as delivered; None without an answer.
            arrived: The plan's step at the delivery.
            after_request: Whether the plan had already been asked for a request in that step.
            seconds: From asking to the answer [s].
            surprise: Of the robot at the request, see `segue.links.link.Answer`.
        """
        ...

    def close(self) -> None:
        """The run is over; may be called twice."""
        ...


class Sinks:
    """Several sinks, or none, as one."""

    def __init__(self, *sinks: Sink) -> None:
        self.sinks = sinks

    def tick(self, slot: int, tick: Tick, **values: Any) -> None:
        """To each. See `Sink.tick`."""
        for sink in self.sinks:
            sink.tick(slot, tick, **values)

    def chunk(self, request: Request, outcome: Delivery | None, actions: Array | None, **values: Any) -> None:
        """To each. See `Sink.chunk`."""
        for sink in self.sinks:
            sink.chunk(request, outcome, actions, **values)

    def close(self) -> None:
        """Each."""
        for sink in self.sinks:
            sink.close()
