"""The live view: what was shown can be read back from its recording, and the loop never waits for it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.core.chunk import nothing_to_continue
from segue.errors import MissingExtraError
from segue.plan.plan import Delivery, Event, Request, Tick
from segue.trace.records import ChunkRecord, TickRecord
from segue.trace.rerun import RerunSink

TICK = Tick(0, np.array([1.0, 2.0], np.float32), Event.CONTINUED, 1, 0, 0)
REQUEST = Request(0, 4, 0, nothing_to_continue(0, 2, 8))


def test_everything_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    sink = RerunSink(("x", "y"), ("run", "hold"), save=tmp_path / "run.rrd", period=3600)
    sent: list[tuple[str, Any, Any]] = []
    sink._send = lambda name, time, values: sent.append((name, time.tolist(), values))  # type: ignore[method-assign]
    texts: list[tuple[str, float, str]] = []
    sink._text = lambda *text: texts.append(text)  # type: ignore[method-assign]
    command = np.zeros(2)
    for slot in range(4):
        command[:] = slot
        sink.tick(TickRecord(slot, TICK, 0, time=0.1 * slot, lateness=1e-3, ladder=slot // 2, sent=command))
    sink.tick(TickRecord(4, Tick(4, None, Event.HELD), 0, time=0.4, lateness=0, ladder=1))
    sink.chunk(ChunkRecord(REQUEST, Delivery.TAKEN, None, arrived=1, after_request=False, seconds=0.05))
    sink.chunk(ChunkRecord(REQUEST, None, None, arrived=1, after_request=False, seconds=1, surprise=2.5))
    sink.close()
    sink.close()
    lines = {name: values for name, _, values in sent}
    assert lines["sent"][:4].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]  # copies: the loop uses its array again
    assert np.isnan(lines["sent"][4]).all()
    assert np.isnan(lines["wanted"][4]).all()
    assert lines["wanted"][0].tolist() == [1, 2]
    assert sent[0][1] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert texts == [
        ("ladder", 0.0, "run"), ("ladder", 0.2, "hold"), ("chunks", 0.4, "chunk 4 taken after 50 ms"),
        ("chunks", 0.4, "chunk 4 given up after 1000 ms, the robot at 2.5 times what is usual from its prediction"),
    ]  # fmt: skip


def test_a_recording_is_written(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    path = tmp_path / "run.rrd"
    sink = RerunSink(("x", "y"), ("run",), save=path, period=0.001)
    for slot in range(50):
        sink.tick(TickRecord(slot, TICK, 0, time=0.1 * slot, lateness=0, ladder=0, sent=np.zeros(2)))
    sink.chunk(ChunkRecord(REQUEST, Delivery.TAKEN, None, arrived=1, after_request=False, seconds=0.05))
    sink.close()
    content = path.read_bytes()
    assert content[:4] == b"RRF2"
    assert len(content) > 1000


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[rerun\]'"):
        RerunSink(("x",), ("run",))
