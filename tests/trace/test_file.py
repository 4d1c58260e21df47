"""Traces: what was written comes back, whole, also when the process is killed; what is damaged is refused."""

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.core.chunk import nothing_to_continue
from segue.errors import DataError, SpecError
from segue.plan.plan import Delivery, Event, Request, Tick
from segue.trace import file as trace
from segue.trace.file import TraceWriter, read
from segue.trace.format import DELIVERIES, EVENTS, FORMATS, MAGIC, WITHOUT_SURPRISE, Layout, checked
from segue.trace.sink import Sinks

HEADER = {"robot": {"name": "arm"}, "rate": 50.0}
REQUEST = Request(2, 7, 40, nothing_to_continue(40, 3, 8))
CHUNK = np.arange(12, dtype=np.float32).reshape(4, 3)


def writer(path: Path, **changes: Any) -> TraceWriter:
    return TraceWriter(
        path, HEADER, **({"action": 3, "observation": 2, "pose": 1, "horizon": 4, "ticks": 10, "chunks": 3} | changes)
    )


def write_tick(sink: TraceWriter | Sinks, slot: int, **changes: Any) -> None:
    tick = Tick(slot + 1, CHUNK[0], Event.SWITCHED, 7, 2, 5)
    values = {
        "epoch": 2, "time": 1.5 * slot, "lateness": 1e-5, "ladder": 3, "cause": 4, "saturated": 5,
        "request": 9, "sent": CHUNK[1] + slot,
        "observation": np.array([0.5, slot]), "pose": np.array([1 / 3]),
    }  # fmt: skip
    sink.tick(slot, tick, **(values | changes))


def write_chunk(sink: TraceWriter | Sinks, outcome: Delivery | None = Delivery.TAKEN, actions: Any = CHUNK) -> None:
    sink.chunk(REQUEST, outcome, actions, arrived=43, after_request=True, seconds=0.25, surprise=1.25)


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
        assert one.header == HEADER
        assert one.dropped == (0, 0)
        assert one.ticks["slot"].tolist() == [0, 1, 5]
        assert one.ticks["step"].tolist() == [1, 2, 6]
        assert one.ticks["time"].tolist() == [0, 1.5, 7.5]
        last = one.ticks[-1]
        assert (last["epoch"], last["lateness"], last["ladder"], last["request"]) == (2, 1e-5, 3, 9)
        assert (last["chunk"], last["index"], last["delay"], EVENTS[last["event"]]) == (7, 2, 5, Event.SWITCHED)
        assert (last["cause"], last["saturated"]) == (4, 5)
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


def test_what_is_not_there_is_marked(tmp_path: Path) -> None:
    made = writer(tmp_path / "t")
    made.tick(0, Tick(0, None, Event.HELD), epoch=0, time=0, lateness=0, ladder=0)
    made.close()
    [tick] = read(tmp_path / "t").ticks
    assert (tick["chunk"], tick["index"], tick["delay"], tick["request"]) == (-1, -1, -1, 0)
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
    write_tick(made, 4)
    made.close()
    found = read(tmp_path / "t")
    assert found.ticks["slot"].tolist() == [0, 4]
    assert found.dropped == made.dropped == (3, 1)


def test_a_closed_trace_has_the_size_of_what_is_in_it_and_takes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "t"
    made = writer(path, ticks=100_000)
    before = path.stat().st_size
    write_tick(made, 0)
    made.close()
    content = path.read_bytes()
    assert len(content) < before / 1000
    write_tick(made, 1)
    write_chunk(made)
    made.close()
    assert path.read_bytes() == content
    assert made.dropped == (1, 1)
    assert [each.name for each in tmp_path.iterdir()] == ["t"]


def test_room_for_nothing(tmp_path: Path) -> None:
    made = writer(tmp_path / "t", ticks=0, chunks=0, pose=0, observation=0)
    write_tick(made, 0)
    made.close()
    assert len(read(tmp_path / "t").ticks) == 0


def test_no_room_to_cut_the_file_leaves_the_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = writer(tmp_path / "t")
    write_tick(made, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", _full)
        made.close()
    assert read(tmp_path / "t").ticks["slot"].tolist() == [0]


def test_a_disk_that_fills_up_under_way_costs_a_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All room was taken before; in the end nothing is left lying about but the long file."""
    made, parts = writer(tmp_path / "t"), tmp_path / ".t.part"
    parts.symlink_to("/dev/full")
    with monkeypatch.context() as patch:
        for name in ("open", "write", "ftruncate", "posix_fallocate"):
            patch.setattr(trace.os, name, _full)
        for slot in range(3):
            write_tick(made, slot)
            write_chunk(made)
    made.close()
    found = read(tmp_path / "t")
    assert (len(found.ticks), len(found.chunks), found.dropped) == (3, 3, (0, 0))
    assert [each.name for each in tmp_path.iterdir()] == ["t"]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_fault_24_a_full_disk_is_known_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace.os, "posix_fallocate", _full)
    with pytest.raises(DataError, match="No space left") as caught:
        writer(tmp_path / "t")
    assert "fewer ticks" in caught.value.change
    assert not list(tmp_path.iterdir())


def test_a_trace_is_never_written_over_another(tmp_path: Path) -> None:
    writer(tmp_path / "t").close()
    with pytest.raises(DataError, match="exists"):
        writer(tmp_path / "t")


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
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len(read(tmp_path / "a").ticks) == len(read(tmp_path / "a").chunks) == 1


def before_surprises(path: Path, actions: list[np.ndarray]) -> bytes:
    """A trace of the format before, written by hand: chunks are numbers, flags, actions and a CRC in 8-byte words."""
    text = json.dumps(HEADER).encode()
    preamble = struct.Struct("<8s QQQ IIII I 4x")
    sizes = (len(text), 0, len(actions), 3, 2, 1, 4)
    crc = zlib.crc32(text, zlib.crc32(preamble.pack(b"SegueTr1", *sizes, 0)))
    content = preamble.pack(b"SegueTr1", *sizes, crc)
    content += b"".join(struct.pack("<II", count, ~count & 0xFFFFFFFF) for count in (0, len(actions), 0, 0)) + text
    content += bytes(-len(content) % 64)
    for number, each in enumerate(actions):
        record = struct.pack("<qqqqdiHH", number, 2, 40, 43, 0.25, 3, 0, 1) + each.astype("<f4").tobytes()
        record += bytes(-(len(record) + 4) % 8)
        content += record + struct.pack("<I", zlib.crc32(record))
    path.write_bytes(content)
    return content


def test_a_trace_of_the_format_before_is_read_and_knows_no_surprise(tmp_path: Path) -> None:
    before_surprises(tmp_path / "t", [CHUNK, CHUNK + 1])
    assert trace.is_trace(tmp_path / "t")
    found = read(tmp_path / "t")
    assert found.header == HEADER
    assert found.chunks.dtype == Layout(0, 0, 0, 3, 2, 1, 4).chunk
    assert found.chunks["number"].tolist() == [0, 1]
    assert (found.chunks["planned"].tolist(), found.chunks["after_request"].tolist()) == ([3, 3], [1, 1])
    assert np.array_equal(found.chunks["actions"], [CHUNK, CHUNK + 1])
    assert np.isnan(found.chunks["surprise"]).all()


def test_a_trace_is_of_the_format_that_it_says(tmp_path: Path) -> None:
    """The checksum of the preamble covers it, so that no record is read as one of another length."""
    old = before_surprises(tmp_path / "t", [CHUNK])
    (tmp_path / "t").write_bytes(MAGIC + old[len(WITHOUT_SURPRISE) :])
    with pytest.raises(DataError, match="whole trace"):
        read(tmp_path / "t")


def test_the_counter_and_its_complement_are_one_word() -> None:
    for count in (0, 1, 255, 256, 2**32 - 1):
        assert checked(count) & 0xFFFFFFFF == count
        assert checked(count) < 2**64
        assert (checked(count) >> 32) ^ count == 0xFFFFFFFF


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("trace") / "t"
    made = writer(path)
    for slot in range(3):
        write_tick(made, slot)
    write_chunk(made)
    made.close()
    return path.read_bytes()


def test_truncation_is_refused_wherever_it_is(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_was_in_no_record(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place // 8] ^= 1 << place % 8
    (tmp_path / "t").write_bytes(damaged)
    (tmp_path / "whole").write_bytes(whole)
    try:
        found = read(tmp_path / "t")
    except DataError:
        return
    same = read(tmp_path / "whole")  # only the gap between header and records says nothing
    assert found.header == same.header
    assert found.dropped == same.dropped
    assert found.ticks.tobytes() == same.ticks.tobytes()
    assert found.chunks.tobytes() == same.chunks.tobytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.sampled_from([0, 1, 3, 10, 2**16, 2**31, 2**32 - 1]), min_size=6, max_size=6),
    text=st.sampled_from([b"{}", b"[]", b"7", b"{", b"\xff", b"[" * 20_000]),
    counts=st.lists(st.sampled_from([0, 1, 3, 2**32 - 1]), min_size=4, max_size=4),
    rest=st.binary(max_size=500),
    magic=st.sampled_from(FORMATS),
)
def test_a_file_that_is_meant_to_deceive_is_refused_or_harmless(
    tmp_path: Path, sizes: list[int], text: bytes, counts: list[int], rest: bytes, magic: bytes
) -> None:
    """Its checksums are right, its sizes are whatever."""
    layout = Layout(len(text), *sizes, magic=magic)
    words = np.array([checked(count) for count in counts], "<u8").tobytes()
    (tmp_path / "t").write_bytes(layout.preamble(text) + words + text + rest)
    try:
        found = read(tmp_path / "t")
    except DataError:
        return
    assert found.header == {}
    assert len(found.ticks) + len(found.chunks) <= 64 + len(rest)


def test_an_event_that_does_not_exist_is_refused(whole: bytes, tmp_path: Path) -> None:
    layout = Layout(len(json.dumps(HEADER)), 3, 1, 3, 2, 1, 4)
    content = bytearray(whole)
    record = slice(layout.first_tick, layout.first_tick + layout.tick.itemsize)
    tick = np.frombuffer(whole[record], layout.tick).copy()
    tick["event"] = 200
    tick["crc"] = zlib.crc32(tick.tobytes()[:-4])
    content[record] = tick.tobytes()
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "t")


def test_the_damaged_record_is_named(whole: bytes, tmp_path: Path) -> None:
    damaged = bytearray(whole)
    damaged[whole.index(CHUNK.tobytes())] ^= 1
    (tmp_path / "t").write_bytes(damaged)
    with pytest.raises(DataError, match="chunk record 0 of 1"):
        read(tmp_path / "t")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and so on", b"SegueTr0" + bytes(200)])
def test_another_file_is_not_a_trace(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    assert not trace.is_trace(path)
    with pytest.raises(DataError, match="not a trace"):
        read(path)


def test_nothing_there(tmp_path: Path) -> None:
    assert not trace.is_trace(tmp_path / "t")
    with pytest.raises(DataError, match="check the path"):
        read(tmp_path / "t")


ENDLESS = """
import itertools, sys
import numpy as np
from segue.plan.plan import Event, Tick
from segue.trace.file import TraceWriter
made = TraceWriter(sys.argv[1], {}, action=3, observation=2, horizon=1, ticks=100_000, chunks=0)
print("ready", flush=True)
for slot in itertools.count():
    sent = np.full(3, slot, np.float32)
    made.tick(slot, Tick(slot, sent, Event.CONTINUED, 1, slot, 0), epoch=0, time=slot, lateness=0, ladder=0, sent=sent)
"""


def test_a_killed_process_leaves_every_tick_that_it_finished(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for kill in range(3):
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
        ticks = len(found.ticks)
        assert ticks > 50 * kill
        assert np.array_equal(found.ticks["slot"], np.arange(ticks))
        assert np.array_equal(found.ticks["action"], np.repeat(np.arange(ticks, dtype=np.float32), 3).reshape(-1, 3))
