"""Where a run's ticks and chunks go while it runs: a trace, a live view, several, none."""

from typing import Protocol

from typing_extensions import override

from segue.trace.records import ChunkRecord, TickRecord


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
