"""Traces: what was written comes back, whole, also when the process is killed."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.written_traces import CHUNK, FILES, RUN, content, write_chunk, write_tick, writer
from segue.errors import DataError, SpecError
from segue.plan.plan import Delivery, Event, Tick
from segue.trace import file as trace
from segue.trace.file import CHUNKS, DROPPED, TICKS, TraceWriter, checked, read
from segue.trace.records import DELIVERIES, EVENTS, TickRecord
from segue.trace.sink import Sinks


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    made = writer(tmp_path / "run.trace")
    for slot in (0, 1, 5):
        write_tick(made, slot)
    write_chunk(made)
    write_chunk(made, None, None)
    found = read(tmp_path / "run.trace")
    made.close()
    closed = read(tmp_path / "run.trace")
    for one in (found, closed):
        assert one.header == RUN
        assert one.dropped == (0, 0)
        assert one.ticks["slot"].tolist() == [0, 1, 5]
        assert one.ticks["step"].tolist() == [1, 2, 6]
        assert one.ticks["time"].tolist() == [0, 1.5, 7.5]
        last = one.ticks[-1]
        assert (last["epoch"], last["lateness"], last["ladder"], last["request"]) == (2, 1e-5, 3, 9)
        assert (last["chunk"], last["index"], last["delay"], EVENTS[last["event"]]) == (7, 2, 5, Event.SWITCHED)
        assert (last["cause"], last["saturated"], last["asked"]) == (4, 5, True)
        assert last["action"].tolist() == [8, 9, 10]
        assert last["observation"].tolist() == [0.5, 5]
        assert last["pose"].tolist() == [1 / 3]
        first, second = one.chunks
        assert (first["number"], first["epoch"], first["requested"], first["arrived"]) == (7, 2, 40, 43)
        assert (first["planned"], first["seconds"], first["after_request"]) == (0, 0.25, True)
        assert first["surprise"] == 1.25
        assert np.array_equal(first["actions"], CHUNK)
        assert [DELIVERIES[each["outcome"]] for each in one.chunks] == [Delivery.TAKEN, None]
        assert np.isnan(second["actions"]).all()


def test_numpy_reads_what_we_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lines of the page on running, in a trace that is being written and in one that is closed."""
    page = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text()
    [lines] = re.findall(r"```python\n(import numpy as np\n\nticks = .*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    made = writer(tmp_path / "runs" / "door.trace", pose=0)
    for slot in range(3):
        write_tick(made, slot)
    write_chunk(made)
    write_tick(made, 3, ladder=-1)  # dropped half-way
    for finish in (lambda: None, made.close):
        finish()
        seen: dict[str, Any] = {}
        exec(lines, seen)
        found = read(made.path)
        assert seen["ticks"].dtype == found.ticks.dtype
        for name in found.ticks.dtype.names or ():
            np.testing.assert_array_equal(seen["ticks"][name], found.ticks[name])
    assert np.load(made.path / CHUNKS)["actions"].tolist() == [CHUNK.tolist()]
    about = json.loads((made.path / trace.HEADER).read_text())
    assert about["events"][seen["ticks"]["event"][0]] == "switched"
    assert (np.load(made.path / DROPPED) & 0xFFFFFFFF).tolist() == [1, 0]


def test_what_is_not_there_is_marked(tmp_path: Path) -> None:
    made = writer(tmp_path / "t")
    made.tick(TickRecord(0, Tick(0, None, Event.HELD), epoch=0, time=0, lateness=0, ladder=0, asked=False))
    made.close()
    [tick] = read(tmp_path / "t").ticks
    assert (tick["chunk"], tick["index"], tick["delay"], tick["request"], tick["asked"]) == (-1, -1, -1, -1, False)
    assert np.isnan([*tick["action"], *tick["observation"], *tick["pose"]]).all()


def test_fault_24_a_full_trace_drops_and_counts(tmp_path: Path) -> None:
    made = writer(tmp_path / "t", ticks=4, chunks=1)
    for slot in range(7):
        write_tick(made, slot)
        write_chunk(made)
    assert made.dropped == read(tmp_path / "t").dropped == (3, 6)
    made.close()
    found = read(tmp_path / "t")
    assert found.dropped == (3, 6)
    assert found.ticks["slot"].tolist() == [0, 1, 2, 3]
    assert len(found.chunks) == 1


def test_what_does_not_fit_is_dropped_and_the_rest_is_whole(tmp_path: Path) -> None:
    made = writer(tmp_path / "t")
    write_tick(made, 0)
    write_tick(made, 1, sent=np.zeros(5))
    write_tick(made, 2, ladder=-1)
    write_tick(made, 3, time="now")
    write_chunk(made, actions=np.zeros((2, 2)))
    half_way = read(tmp_path / "t")
    write_tick(made, 4)
    made.close()
    found = read(tmp_path / "t")
    assert half_way.ticks["slot"].tolist() == [0]
    assert found.ticks["slot"].tolist() == [0, 4]
    assert half_way.dropped == found.dropped == made.dropped == (3, 1)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 3), begun=st.binary(min_size=1, max_size=100))
def test_a_record_that_was_begun_is_none(tmp_path_factory: pytest.TempPathFactory, number: int, begun: bytes) -> None:
    """Whatever a process was storing when it ended: the checksum would have come after it."""
    made = writer(tmp_path_factory.mktemp("trace") / "t")
    for slot in range(number):
        write_tick(made, slot)
    before = read(made.path)
    rest = np.load(made.path / TICKS, mmap_mode="r+")[number:].view(np.uint8)
    rest[4 : 4 + len(begun)] = np.frombuffer(begun, np.uint8)
    assert read(made.path).ticks.tobytes() == before.ticks.tobytes()
    write_tick(made, number)
    assert read(made.path).ticks["slot"].tolist() == list(range(number + 1))


def test_a_closed_trace_has_the_size_of_what_is_in_it_and_takes_nothing_more(tmp_path: Path) -> None:
    made = writer(tmp_path / "t", ticks=100_000)
    before = (tmp_path / "t" / TICKS).stat().st_size
    write_tick(made, 0)
    made.close()
    closed = content(tmp_path / "t")
    assert len(closed[TICKS]) < before / 1000
    write_tick(made, 1)
    write_chunk(made)
    made.close()
    assert content(tmp_path / "t") == closed
    assert made.dropped == (1, 1)
    assert sorted(closed) == sorted(FILES)


def test_room_for_nothing(tmp_path: Path) -> None:
    made = writer(tmp_path / "t", ticks=0, chunks=0, pose=0, observation=0)
    write_tick(made, 0)
    made.close()
    assert len(read(tmp_path / "t").ticks) == 0


def test_a_disk_that_fills_up_under_way_costs_a_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All room was taken before; in the end nothing is left lying about but the long files."""
    made = writer(tmp_path / "t")
    before = {name: len(each) for name, each in content(tmp_path / "t").items()}
    for name in (TICKS, CHUNKS):
        (tmp_path / "t" / f".{name}.part").symlink_to("/dev/full")
    with monkeypatch.context() as patch:
        for name in ("open", "write", "ftruncate", "posix_fallocate"):
            patch.setattr(trace.os, name, _full)
        for slot in range(3):
            write_tick(made, slot)
            write_chunk(made)
    made.close()
    found = read(tmp_path / "t")
    assert (len(found.ticks), len(found.chunks), found.dropped) == (3, 3, (0, 0))
    assert {name: len(each) for name, each in content(tmp_path / "t").items()} == before


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_fault_24_a_full_disk_is_known_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace.os, "posix_fallocate", _full)
    with pytest.raises(DataError, match="No space left") as caught:
        writer(tmp_path / "t")
    assert "fewer ticks" in caught.value.change
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Not a directory"):
        writer(tmp_path / "file" / "t")


def test_a_trace_is_never_written_over_another(tmp_path: Path) -> None:
    writer(tmp_path / "t").close()
    (tmp_path / "file").write_text("")
    before = content(tmp_path / "t")
    for name in ("t", "file"):
        with pytest.raises(DataError, match="exists"):
            writer(tmp_path / name)
    assert content(tmp_path / "t") == before


@pytest.mark.parametrize("header", [{"rate": float("nan")}, {"robot": object()}])
def test_a_header_that_is_not_json_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="header"):
        TraceWriter(tmp_path / "t", header, action=1, observation=1, horizon=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["action", "observation", "pose", "horizon", "ticks", "chunks"])
def test_sizes_below_zero_are_refused(tmp_path: Path, size: str) -> None:
    with pytest.raises(SpecError, match="2\\^32"):
        writer(tmp_path / "t", **{size: -1})


def test_several_sinks_and_none(tmp_path: Path) -> None:
    one, other = writer(tmp_path / "a"), writer(tmp_path / "b")
    for sink in (Sinks(one, other), Sinks()):
        write_tick(sink, 3)
        write_chunk(sink)
        sink.close()
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert len(read(tmp_path / "a").ticks) == len(read(tmp_path / "a").chunks) == 1


@pytest.mark.parametrize("magic", [b"SegueTr1", b"SegueTr2"])
def test_a_trace_of_an_earlier_version_is_named(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "t").write_bytes(magic + bytes(200))
    assert trace.is_trace(tmp_path / "t")  # so that nobody reads it as something else
    with pytest.raises(DataError, match="earlier version"):
        read(tmp_path / "t")


def test_the_counter_and_its_complement_are_one_word() -> None:
    for count in (0, 1, 255, 256, 2**32 - 1):
        assert checked(count) & 0xFFFFFFFF == count
        assert checked(count) < 2**64
        assert (checked(count) >> 32) ^ count == 0xFFFFFFFF


ENDLESS = """
import itertools, sys
import numpy as np
from segue.core.chunk import nothing_to_continue
from segue.plan.plan import Event, Request, Tick
from segue.trace.file import TraceWriter
from segue.trace.records import ChunkRecord, TickRecord
made = TraceWriter(sys.argv[1], {}, action=3, observation=2, horizon=1, ticks=20_000, chunks=20_000)
print("ready", flush=True)
for slot in itertools.count():
    sent = np.full(3, slot, np.float32)
    request = Request(0, slot, slot, nothing_to_continue(slot, 3, 8))
    made.chunk(ChunkRecord(request, None, sent[None], arrived=slot, after_request=False, seconds=0))
    made.tick(TickRecord(slot, Tick(slot, sent, Event.CONTINUED, 1, slot, 0), 0, slot, 0, ladder=0, sent=sent))
"""


def test_a_killed_process_leaves_every_record_that_it_finished(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for kill in range(4):
        path = tmp_path / str(kill)
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        with process, process.stdout:
            try:
                assert process.stdout.readline() == "ready\n"
                while len(read(path).ticks) < 50 * kill + 1:  # also: a trace can be read while it is written
                    assert process.poll() is None  # it never ends by itself
            finally:
                process.send_signal(signal.SIGKILL)
        found = read(path)
        ticks, chunks = len(found.ticks), len(found.chunks)
        assert ticks > 50 * kill
        assert 0 <= chunks - ticks <= 1
        assert np.array_equal(found.ticks["slot"], np.arange(ticks))
        assert np.array_equal(found.ticks["action"], np.repeat(np.arange(ticks, dtype=np.float32), 3).reshape(-1, 3))
        assert np.array_equal(found.chunks["actions"][:, 0, 0], np.arange(chunks))
        every = np.load(path / TICKS, mmap_mode="r")
        assert np.array_equal(np.flatnonzero(every["crc"]), np.arange(ticks))
