"""Arrays on the wire: openpi's layout both ways, and everything else refused before it costs anything."""

import tracemalloc
from typing import Any

import hypothesis.extra.numpy as arrays
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import encode

from fakes.served_policies import openpi_array, openpi_frame, openpi_read
from segue.errors import WireError
from segue.links import frames

DTYPES = ("u1", "<i4", "<i8", "<f4", "<f8", "?")
ANY_ARRAY = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


def received(value: Any) -> np.ndarray:
    """An array out of a frame that holds it, already as what stands in the message."""
    return frames.array(frames.entries(encode({"x": value}))["x"], "x")


def code(frame: bytes | str, **limits: Any) -> str:
    """Why a frame with one array is refused."""
    with pytest.raises(WireError) as refused:
        frames.array(frames.entries(frame, **limits)["x"], "x")
    return refused.value.code


@given(ANY_ARRAY, st.booleans())
def test_arrays_go_there_and_back(array: np.ndarray, checksum: bool) -> None:
    back = frames.array(frames.entries(frames.encode({"x": array}, checksum=checksum))["x"], "x")
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not len(back.tobytes()) or not back.flags.writeable


@given(ANY_ARRAY)
def test_openpi_reads_what_is_written_and_the_other_way_round(array: np.ndarray) -> None:
    theirs = openpi_read(frames.encode({"x": array}, checksum=False))["x"] if array.size else array
    assert theirs.tobytes() == array.tobytes()
    assert theirs.shape == array.shape
    assert received(openpi_array(array)).tobytes() == array.tobytes()


def test_a_frame_is_what_openpi_documents_to_the_byte() -> None:
    by_hand = (
        b"\x81" + b"\xa7actions"
        + b"\x84" + b"\xc4\x0b__ndarray__" + b"\xc3"
        + b"\xc4\x04data" + b"\xc4\x08" + b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
        + b"\xc4\x05dtype" + b"\xa3<f4"
        + b"\xc4\x05shape" + b"\x92\x02\x01"
    )  # fmt: skip
    assert frames.encode({"actions": np.array([[1], [-2]], np.float32)}, checksum=False) == by_hand
    assert frames.array(frames.entries(by_hand)["actions"], "").tolist() == [[1], [-2]]


def test_rows_of_a_larger_array_arrive_as_they_are() -> None:
    array = np.arange(24, dtype=np.int64).reshape(4, 6)[::2, ::-3]
    assert received(frames.marker(array)).tolist() == array.tolist()


NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)
DIALECTS = {
    "openpi": openpi_array(NUMBERS),
    "text keys": {key.decode(): value for key, value in openpi_array(NUMBERS).items()},
    "msgpack-numpy": {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": (2, 3), b"data": NUMBERS.tobytes()},
    "vLLM": {"nd": True, "type": "<f4", "kind": "f", "shape": [2, 3], "data": NUMBERS.tobytes()},
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_four_dialects_are_read(dialect: str) -> None:
    assert received(DIALECTS[dialect]).tolist() == NUMBERS.tolist()


@pytest.mark.parametrize(
    "value", [7, {b"__npgeneric__": True, b"data": 7, b"dtype": "<i8"}, {"nd": False, "type": "<i8", "data": 7}]
)
def test_numbers_are_read_plain_and_as_numpy_s(value: Any) -> None:
    assert frames.number(frames.entries(encode({"x": value}))["x"], "x") == 7


@pytest.mark.parametrize("value", [True, "7", None, [7], {}, {b"__npgeneric__": True, b"data": 7, b"dtype": "O"}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(WireError):
        frames.number(frames.entries(encode({"x": value}))["x"], "x")


OBJECTS = ("O", "|O", "|O8", "object", [["a", "<f4"]], [["a", "|O"]] * 100, "V8", "|V8", "M8[ns]", "<m8[s]", "<c16",
           "S8", "<U2", ">f4", "<f2", "<u8", "", "float", "f4, f4", "\x00", "(2,)f4", None, 4, b"<f4")  # fmt: skip


@pytest.mark.parametrize("dtype", OBJECTS, ids=repr)
def test_fault_17_a_dtype_that_is_not_listed_never_reaches_numpy(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames.np, "frombuffer", lambda *_: pytest.fail("the bytes of a peer as objects"))
    assert code(encode({"x": {b"__ndarray__": True, b"data": b"\x01" * 8, b"dtype": dtype, b"shape": [1]}})) == "dtype"


@pytest.mark.parametrize("shape", [[-1], [2**40], [4097], [1] * 5, [1.5], "1", None, [True], [[1]], [2**64 - 1]])
def test_fault_17_a_shape_that_is_not_plausible_is_refused(shape: Any) -> None:
    marked = {b"__ndarray__": True, b"data": b"\x00" * 8, b"dtype": "<f8", b"shape": shape}
    assert code(encode({"x": marked})) == "shape"


@pytest.mark.parametrize("shape", [[], [2], [0], [4096, 4096, 4096, 4096]])
def test_as_many_bytes_as_the_shape_says(shape: list[int]) -> None:
    marked = {b"__ndarray__": True, b"data": b"\x00" * 4, b"dtype": "<f8", b"shape": shape}
    assert code(encode({"x": marked})) == "size"


def test_half_a_marker_is_none() -> None:
    whole = openpi_array(NUMBERS)
    for missing in whole.keys() - {b"__ndarray__"}:
        code(encode({"x": {key: value for key, value in whole.items() if key != missing}}))
    for value in (None, 1, "x", b"x", [1.0, 2.0], {}, {1: 2}, {b"a": 1, "b": 2}):
        code(encode({"x": value}))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_fault_6_what_is_not_finite_as_32_bits_is_refused(bad: float) -> None:
    raw = frames.entries(openpi_frame({"x": np.array([0, bad])}))["x"]
    with pytest.raises(WireError, match="NaN or infinity") as refused:
        frames.floats(raw, "x", (2,))
    assert (refused.value.code, refused.value.field) == ("not-finite", "x")


@pytest.mark.parametrize(("shape", "fits"), [((2, 3), True), ((None, 3), True), ((3, 2), False), ((6,), False)])
def test_fault_8_shapes_are_compared(shape: tuple[int | None, ...], fits: bool) -> None:
    if fits:
        return frames.check_shape(NUMBERS, "x", shape)
    with pytest.raises(WireError, match=r"shape \(2, 3\)"):
        frames.check_shape(NUMBERS, "x", shape)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=30,
)  # fmt: skip


def depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth, inside), default=0)


def count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(1 + 1 + count(each) for each in value.values())
    return sum(1 + count(each) for each in value) if isinstance(value, list) else 0


@given(PLAIN)
def test_the_walk_agrees_with_the_decoder(value: Any) -> None:
    frame = encode(value)
    if depth(value) <= frames.MAX_DEPTH and count(value) <= frames.MAX_VALUES:
        frames.check_structure(frame)
        for wrong in (frame + b"\x00", frame[:-1]):
            with pytest.raises(WireError):
                frames.check_structure(wrong)
    else:
        with pytest.raises(WireError, match=r"more values|maps in maps"):
            frames.check_structure(frame)


@given(st.binary(max_size=60))
def test_what_the_walk_lets_through_is_one_value(frame: bytes) -> None:
    try:
        frames.check_structure(frame)
    except WireError:
        return
    try:
        msgspec.msgpack.decode(frame)
    except UnicodeDecodeError:
        return  # broken text and maps as keys are for the decoder to refuse
    except msgspec.DecodeError as error:
        complaint = str(error)
    else:
        return
    assert "hashable" in complaint or "UTF-8" in complaint  # what is said of broken text depends on the decoder


def test_a_frame_that_is_cut_off_is_refused_wherever_that_is() -> None:
    frame = frames.encode({"x": NUMBERS, "prompt": "push", "n": 300}, checksum=True)
    for length in range(len(frame)):
        with pytest.raises(WireError):
            frames.entries(frame[:length])


MIB = 2**20
BOMBS = {
    "empty lists": b"\x81\xa1x\xdd\x00\xff\xff\xff" + b"\x90" * (16 * MIB - 8),
    "entries": b"\xdf\x00\x7f\xff\xff" + b"\xa0\x01" * (8 * MIB - 1),
    "lists in lists": b"\x81\xa1x" + b"\x91" * (16 * MIB - 3),
    "a list of 4 GB": b"\x81\xa1x\xdd\xff\xff\xff\xff",
    "bytes of 4 GB": b"\x81\xa1x\xc6\xff\xff\xff\xff",
    "text of 4 GB": b"\x81\xa1x\xdb\xff\xff\xff\xff",
    "a map of 4 G": b"\xdf\xff\xff\xff\xff",
    "extension": b"\x81\xa1x\xd4\x05\x00",
    "time": b"\x81\xa1x\xd6\xff\x00\x00\x00\x01",
    "unused": b"\xc1",
    "nothing": b"",
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "no map": b"\x93\x01\x02\x03",
    "a number as key": b"\x81\x01\x02",
    "broken text": b"\x81\xa2\xff\xfe\x01",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_fault_17_a_bomb_costs_next_to_nothing(bomb: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            frames.entries(BOMBS[bomb])
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_frames_have_a_limit_that_cannot_be_raised_at_will() -> None:
    large = encode({"x": b"\x00" * 1000})
    assert code(large, limit=1000) == "size"
    assert "x" in frames.entries(large, limit=2000)
    assert code(b"\x00" * (frames.LARGEST_FRAME + 1), limit=2**40) == "size"
    assert code("text") == "malformed"


def test_with_a_checksum_no_bit_can_flip_unnoticed() -> None:
    frame = frames.encode({"x": NUMBERS, "n": 5}, checksum=True)
    content = {key: bytes(value) for key, value in frames.entries(frame).items() if key != frames.CHECKSUM}
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = frames.entries(bytes(damaged))
        except WireError:
            continue
        kept = {key: bytes(value) for key, value in found.items() if key in content}
        assert kept == content, "only the name of the checksum itself may be hit, and no content then"


def test_a_checksum_stands_last() -> None:
    frame = msgspec.msgpack.encode({frames.CHECKSUM: 0, "x": 1})
    assert code(frame) == "checksum"


def test_only_six_types_are_sent() -> None:
    for array in (np.array([None]), np.zeros(2, np.float16), np.zeros(2, ">f4"), np.zeros(2, "M8[s]"), np.array(["a"])):
        with pytest.raises(WireError, match="one of bool, float32"):
            frames.marker(array)
