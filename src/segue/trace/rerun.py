"""A run to look at while it runs, in the Rerun viewer; the package ``rerun-sdk`` of the extra ``rerun``.

The control loop only appends to a queue; a thread hands it on ten times a second. That thread shares the interpreter
with the loop: use it to look, and a trace alone where every tick has to be on time.
"""

import importlib
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from segue.core.chunk import Array
from segue.errors import MissingExtraError
from segue.trace.records import ChunkRecord, TickRecord
from segue.trace.sink import Sink

ROOM: Final = 10_000
"""Ticks that wait for the viewer before the oldest are forgotten."""


class RerunSink(Sink):
    """Shows commands, what the plan wanted, lateness and the ladder over time.

    Args:
        action_names: One per action dimension.
        ladder: Names of the ladder's states, by code.
        save: A ``.rrd`` file to write instead of opening a viewer.
        period: Between two hand-overs [s].

    Raises:
        MissingExtraError: ``rerun-sdk`` is not installed.
    """

    def __init__(
        self, action_names: Sequence[str], ladder: Sequence[str], *, save: Path | None = None, period: float = 0.1
    ) -> None:
        try:
            rerun: Any = importlib.import_module("rerun")
        except ImportError as error:
            raise MissingExtraError("rerun", "rerun", "the live view") from error
        self._rerun = rerun
        self._stream: Any = rerun.RecordingStream("segue")
        if save is None:
            self._stream.spawn()
        else:
            self._stream.save(str(save))
        for name in ("sent", "wanted"):
            self._stream.log(name, rerun.SeriesLines(names=list(action_names)), static=True)
        self._actions, self._states = len(action_names), list(ladder)
        self._state: int | None = None
        self._ticks: deque[tuple[float, float, int, Array, Array]] = deque(maxlen=ROOM)
        self._texts: deque[tuple[float, str]] = deque(maxlen=ROOM)
        self._time = 0.0
        self._end = threading.Event()
        self._period = period
        self._thread = threading.Thread(target=self._pump, name="rerun", daemon=True)
        self._thread.start()

    @override
    def tick(self, record: TickRecord) -> None:
        self._time = record.time
        self._ticks.append(
            (record.time, record.lateness, record.ladder, self._row(record.sent), self._row(record.tick.action))
        )

    def _row(self, action: NDArray[np.floating] | None) -> Array:
        return np.full(self._actions, np.nan, np.float32) if action is None else np.array(action, np.float32)

    @override
    def chunk(self, record: ChunkRecord) -> None:
        became = "given up" if record.outcome is None else record.outcome.value
        doubted = f", the robot at {record.surprise:.1f} times what is usual from its prediction"
        text = f"chunk {record.request.number} {became} after {1e3 * record.seconds:.0f} ms"
        self._texts.append((self._time, text + doubted * (record.surprise > 1)))

    @override
    def close(self) -> None:
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join()
        self._hand_over()
        self._stream.disconnect()

    def _pump(self) -> None:
        while not self._end.wait(self._period):
            self._hand_over()

    def _hand_over(self) -> None:
        """Everything that waits, in one message per line."""
        rows = [self._ticks.popleft() for _ in range(len(self._ticks))]
        if rows:
            time, lateness, ladder, sent, wanted = (np.array(column) for column in zip(*rows, strict=True))
            for name, values in (("sent", sent), ("wanted", wanted), ("lateness", lateness[:, None])):
                self._send(name, time, values)
            self._note_states(time, ladder)
        for _ in range(len(self._texts)):
            self._text("chunks", *self._texts.popleft())

    def _send(self, name: str, time: NDArray, values: NDArray) -> None:
        columns = self._rerun.Scalars.columns(scalars=values.reshape(-1)).partition([values.shape[1]] * len(values))
        self._stream.send_columns(name, [self._rerun.TimeColumn("time", duration=time)], columns)

    def _note_states(self, time: NDArray, ladder: NDArray) -> None:
        for moment, code in zip(time.tolist(), ladder.tolist(), strict=True):
            if code != self._state:
                self._state = code
                self._text("ladder", moment, self._states[code] if code < len(self._states) else f"state {code}")

    def _text(self, name: str, time: float, text: str) -> None:
        self._stream.set_time("time", duration=time)
        self._stream.log(name, self._rerun.TextLog(text))
