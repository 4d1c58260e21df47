"""Traces that were damaged, mixed up, or made to deceive: they are refused, whatever is wrong with them."""

import io
import json
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.written_traces import CHUNK, FILES, RUN, content, put, write_chunk, write_tick, writer
from segue.errors import DataError
from segue.trace import file as trace
from segue.trace.file import CHUNKS, DROPPED, TICKS, TraceWriter, checked, read
from segue.trace.records import NAMES, record_types


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = writer(tmp_path_factory.mktemp("trace") / "t")
    for slot in range(3):
        write_tick(made, slot)
    write_chunk(made)
    made.close()
    return content(made.path)


@pytest.mark.parametrize("name", FILES)
def test_truncation_is_refused_wherever_it_is(whole: dict[str, bytes], tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "t", whole)
    for length in range(len(whole[name])):
        (path / name).write_bytes(whole[name][:length])
        with pytest.raises(DataError):
            read(path)
    (path / name).write_bytes(whole[name] + b"0")
    with pytest.raises(DataError):
        read(path)
    (path / name).unlink()
    with pytest.raises(DataError):
        read(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_was_in_no_record(
    whole: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(FILES))
    place = data.draw(st.integers(0, 8 * len(whole[name]) - 1))
    damaged = bytearray(whole[name])
    damaged[place // 8] ^= 1 << place % 8
    same = read(put(tmp_path / "whole", whole))
    try:
        found = read(put(tmp_path / "t", whole | {name: bytes(damaged)}))
    except DataError:
        return
    assert name.endswith(".npy")  # whose header has spaces, and orders of one axis, that say nothing
    assert place // 8 < whole[name].index(b"\n")
    assert found.header == same.header
    assert found.dropped == same.dropped
    assert found.ticks.tobytes() == same.ticks.tobytes()
    assert found.chunks.tobytes() == same.chunks.tobytes()


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_runs_are_no_trace(whole: dict[str, bytes], tmp_path: Path, name: str) -> None:
    other = TraceWriter(tmp_path / "t", RUN | {"rate": 60.0}, action=3, observation=2, pose=1, horizon=4)
    write_tick(other, 0)
    write_chunk(other)
    other.close()
    mixed = content(other.path) | {name: whole[name]}
    if name == DROPPED:  # the same in both
        assert len(read(put(tmp_path / "mixed", mixed)).ticks) == 1
        return
    with pytest.raises(DataError, match="record 0 of"):
        read(put(tmp_path / "mixed", mixed))


SIZES = [0, 1, 3, 10, 2**16, 2**31, 2**32 - 1, 2**70, -1, 1.5, True, "3", None]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.dictionaries(
        st.sampled_from(["action", "observation", "pose", "horizon", "more"]), st.sampled_from(SIZES), min_size=3
    )
    | st.fixed_dictionaries({name: st.sampled_from(SIZES[:4]) for name in ("action", "observation", "pose", "horizon")})
    | st.sampled_from([[], 7, None]),
    header=st.sampled_from(["{}", "[]", "7", "{", "[" * 20_000, '{}, "more": 1', '{}, "schema": "segue/trace/2"']),
    counts=st.tuples(*2 * [st.sampled_from([0, 1, 3, 2**32, 2**62, -1])]),
    rest=st.binary(max_size=500),
)
def test_a_trace_that_is_meant_to_deceive_is_refused_or_harmless(
    tmp_path: Path, sizes: Any, header: str, counts: tuple[int, int], rest: bytes
) -> None:
    """It has the names of a trace; sizes and counts are whatever."""
    text = json.dumps(NAMES | {"sizes": sizes})[:-1] + f', "header": {header}}}'
    try:
        made = record_types(**sizes)
    except (ArithmeticError, TypeError, ValueError):
        made = record_types(action=1, observation=1, pose=1, horizon=1)
    files = {trace.HEADER: text.encode(), DROPPED: npy(np.dtype("<u8"), 2, np.array([checked(5)] * 2).tobytes())}
    for name, kind, count in zip((TICKS, CHUNKS), made, counts, strict=True):
        files[name] = npy(kind, count, bytes(count * kind.itemsize) if 0 < count * kind.itemsize < 1000 else rest)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = read(put(tmp_path / "t", files))
        except DataError:
            assert not told  # such as of sizes that overflow
            return
    assert (found.header, found.dropped, len(found.ticks), len(found.chunks)) == ({}, (5, 5), 0, 0)


def npy(kind: np.dtype, count: int, records: bytes) -> bytes:
    made = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(made, about)  # type: ignore[arg-type]
    return made.getvalue() + records


def test_a_trace_of_other_records_is_refused(whole: dict[str, bytes], tmp_path: Path) -> None:
    path = put(tmp_path / "t", whole)
    others = [np.load(path / TICKS)["time"], np.load(path / CHUNKS), np.load(path / TICKS).reshape(3, 1)]
    for other in [*others, np.array([None, {}], object)]:  # what would have to be unpickled, too
        np.save(path / TICKS, other)
        with pytest.raises(DataError, match=r"ticks\.npy: other records"):
            read(path)


def endless(file: Path) -> None:
    with file.open("wb") as made:
        made.truncate(2**35)  # takes no room


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [lambda file: file.symlink_to("/dev/zero"), os.mkfifo, Path.mkdir, endless])
def test_what_has_no_end_is_not_read(whole: dict[str, bytes], tmp_path: Path, name: str, make: Any) -> None:
    path = put(tmp_path / "t", whole)
    (path / name).unlink()
    make(path / name)
    with pytest.raises(DataError):
        read(path)


@pytest.mark.parametrize(("name", "field"), [(TICKS, "event"), (CHUNKS, "outcome")])
def test_a_code_that_does_not_exist_is_refused(whole: dict[str, bytes], tmp_path: Path, name: str, field: str) -> None:
    path = put(tmp_path / "t", whole)
    records = np.load(path / name, mmap_mode="r+")
    records[field][0] = 200
    body = records[:1].view(np.uint8)[4:]
    records["crc"][0] = zlib.crc32(body, zlib.crc32(whole[trace.HEADER]))  # what a record's checksum is of
    with pytest.raises(DataError, match="does not exist"):
        read(path)


def test_the_damaged_record_is_named(whole: dict[str, bytes], tmp_path: Path) -> None:
    damaged = bytearray(whole[CHUNKS])
    damaged[damaged.index(CHUNK.tobytes())] ^= 1
    with pytest.raises(DataError, match=r"chunks\.npy: record 0 of 1"):
        read(put(tmp_path / "t", whole | {CHUNKS: bytes(damaged)}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and so on", b"Segue" + bytes(200)])
def test_another_file_is_not_a_trace(tmp_path: Path, content: bytes) -> None:
    for path, file in ((tmp_path / "t", tmp_path / "t"), (tmp_path / "folder", tmp_path / "folder" / trace.HEADER)):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        assert not trace.is_trace(path)
        with pytest.raises(DataError, match="not a trace"):
            read(path)


def test_nothing_there(tmp_path: Path) -> None:
    assert not trace.is_trace(tmp_path / "t")
    with pytest.raises(DataError, match="check the path"):
        read(tmp_path / "t")
