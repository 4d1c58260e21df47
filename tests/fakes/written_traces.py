"""What the tests of the files of a trace write and damage."""

from pathlib import Path
from typing import Any

import numpy as np

from segue.core.chunk import nothing_to_continue
from segue.plan.plan import Delivery, Event, Request, Tick
from segue.trace.file import CHUNKS, DROPPED, HEADER, TICKS, TraceWriter
from segue.trace.records import ChunkRecord, TickRecord
from segue.trace.sink import Sinks

RUN = {"robot": {"name": "arm"}, "rate": 50.0}
REQUEST = Request(2, 7, 40, nothing_to_continue(40, 3, 8))
CHUNK = np.arange(12, dtype=np.float32).reshape(4, 3)
FILES = (HEADER, TICKS, CHUNKS, DROPPED)


def writer(path: Path, **changes: Any) -> TraceWriter:
    return TraceWriter(
        path, RUN, **({"action": 3, "observation": 2, "pose": 1, "horizon": 4, "ticks": 10, "chunks": 3} | changes)
    )


def write_tick(sink: TraceWriter | Sinks, slot: int, **changes: Any) -> None:
    values = {
        "epoch": 2, "time": 1.5 * slot, "lateness": 1e-5, "ladder": 3, "cause": 4, "saturated": 5,
        "request": 9, "sent": CHUNK[1] + slot,
        "observation": np.array([0.5, slot]), "pose": np.array([1 / 3]),
    }  # fmt: skip
    sink.tick(TickRecord(slot, Tick(slot + 1, CHUNK[0], Event.SWITCHED, 7, 2, 5), **(values | changes)))


def write_chunk(sink: TraceWriter | Sinks, outcome: Delivery | None = Delivery.TAKEN, actions: Any = CHUNK) -> None:
    sink.chunk(ChunkRecord(REQUEST, outcome, actions, arrived=43, after_request=True, seconds=0.25, surprise=1.25))


def content(path: Path) -> dict[str, bytes]:
    """Of all files of a folder."""
    return {file.name: file.read_bytes() for file in path.iterdir()}


def put(path: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    path.mkdir(exist_ok=True)
    for name, each in files.items():
        (path / name).write_bytes(each)
    return path
