"""Arrays in msgpack as openpi's clients and servers write them, read without believing anything.

    frame    one msgpack map with text keys
    array    {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [50, 14]}
    number   {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}

Also read: the same with text keys, and the markers of vLLM and of the package msgpack-numpy,
``{"nd": True, "type": "<f4", "kind": ..., "shape": [50, 14], "data": bytes}`` with keys of either kind.

A peer's text never becomes a dtype: it is looked up among six. Its sizes are compared with the bytes that are there
before anything is allocated, and its nesting and number of values are counted before anything is decoded, so that
what a bad frame costs does not depend on its size.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Raw
from msgspec.msgpack import Decoder, Encoder
from numpy.typing import NDArray

from segue.core.spec import LARGEST
from segue.errors import WireError

MAX_FRAME: Final = 16 * 2**20
"""Bound of the bytes of a frame, unless told otherwise."""
LARGEST_FRAME: Final = 64 * 2**20
"""Bound beyond which nobody can raise `MAX_FRAME` [bytes]."""
MAX_VALUES: Final = 512
"""Bound of the keys, values and elements in a frame; the content of an array is one of them."""
MAX_DEPTH: Final = 6
MAX_RANK: Final = 4
MAX_DIMENSION: Final = LARGEST

CHECKSUM: Final = "segue/crc"
_SEAL: Final = b"\xa9segue/crc\xce"  # the key and the type of a four-byte integer, as they lie in a frame

_TYPES: Final = {
    name: np.dtype(code)
    for code, names in {
        "u1": ("|u1", "u1", "uint8"),
        "<i4": ("<i4", "i4", "int32"),
        "<i8": ("<i8", "i8", "int64"),
        "<f4": ("<f4", "f4", "float32"),
        "<f8": ("<f8", "f8", "float64"),
        "|b1": ("|b1", "b1", "?", "bool"),
    }.items()
    for name in names
}
_WRITTEN: Final = frozenset(_TYPES.values())

T = TypeVar("T")

_ENTRIES = Decoder(dict[str, Raw])
_TEXT_KEYS = Decoder(dict[str, Raw])
_BYTE_KEYS = Decoder(dict[bytes, Raw])
_SHAPE = Decoder(Annotated[list[Annotated[int, Meta(ge=0, le=MAX_DIMENSION)]], Meta(max_length=MAX_RANK)])
_DATA = Decoder(memoryview)
_TEXT = Decoder(str)
_NUMBER = Decoder(int | float)
_ENCODER = Encoder()


def _layouts() -> list[tuple[int, int, int] | None]:
    """Tabulate what the first byte of a msgpack value announces: bytes of its length, length, values per unit of it."""
    found: list[tuple[int, int, int] | None] = [None] * 256
    for low in range(16):
        found[0x80 + low], found[0x90 + low] = (0, low, 2), (0, low, 1)
    for low in range(32):
        found[0xA0 + low], found[0xE0 + low] = (0, low, 0), (0, 0, 0)
    for first in (*range(0x80), 0xC0, 0xC2, 0xC3):
        found[first] = (0, 0, 0)
    for first, size in {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.items():
        found[first] = (0, size, 0)
    for power in range(4):
        found[0xD0 + power] = (0, 2**power, 0)
    for first, width, values in ((0xC4, 1, 0), (0xD9, 1, 0), (0xDC, 2, 1), (0xDE, 2, 2)):
        steps = 3 if values == 0 else 2
        for step in range(steps):
            found[first + step] = (width * 2**step, 0, values)
    return found  # extension types stay None: nobody needs them here


_LAYOUTS: Final = _layouts()


def check_structure(frame: bytes, values: int = MAX_VALUES) -> None:
    """Walk over a frame without decoding it.

    Raises:
        WireError: Truncated, not msgpack, more than one value, extension types, too deep, or more than ``values`` keys,
            values and elements.
    """
    # Values still to come at each open level: a recursion could be made as deep by a peer as it likes
    at, end, open_ = 0, len(frame), [1]
    while open_:
        if not open_[-1]:
            open_.pop()
            continue
        open_[-1] -= 1
        layout = _LAYOUTS[frame[at]] if at < end else None
        if layout is None:
            raise _malformed("a frame that is cut off" if at >= end else f"byte {frame[at]:#x} at {at}")
        width, length, per_unit = layout
        at += 1 + width
        if width:
            length = int.from_bytes(frame[at - width : at], "big")
        if not per_unit:  # what has no values inside is skipped, however many bytes it says: the end is compared below
            at += length
            continue
        values -= length * per_unit
        if values < 0:
            raise WireError(
                "too-many", "", "more values than any message has", f"{MAX_VALUES}", "send arrays, not lists"
            )
        open_.append(length * per_unit)
        if len(open_) > MAX_DEPTH + 1:
            raise WireError("too-deep", "", "maps in maps in maps", f"a depth up to {MAX_DEPTH}", "send a flat map")
    if at != end:
        raise _malformed(f"{end} bytes that say they are {at}")


def _malformed(got: str) -> WireError:
    return WireError("malformed", "", got, "one msgpack value", "send whole frames, as openpi's client does")


def entries(frame: bytes | str, *, limit: int = MAX_FRAME, values: int = MAX_VALUES) -> dict[str, Raw]:
    """Split a frame into its entries, each still undecoded, after a look at its checksum if it has one.

    Raises:
        WireError: Too long, text, malformed, not a map with text keys, or damaged.
    """
    if isinstance(frame, str):
        raise _malformed("a text frame")
    if len(frame) > min(limit, LARGEST_FRAME):
        raise WireError("size", "", f"{len(frame)} bytes", f"at most {limit}", "send smaller or fewer pictures")
    check_structure(frame, values)
    found = read(_ENTRIES, frame, "")
    if CHECKSUM in found:
        _check_seal(frame)
    return found


def _check_seal(frame: bytes) -> None:
    if frame[-15:-4] != _SEAL or zlib.crc32(memoryview(frame)[:-4]) != int.from_bytes(frame[-4:], "big"):
        raise WireError(
            "checksum", CHECKSUM, "a frame that is not what its checksum says",
            "the CRC-32 of all bytes before it, as the last four bytes of the frame",
            "ask again; if it happens again, suspect the network",
        )  # fmt: skip


def encode(message: Mapping[str, Any], *, checksum: bool) -> bytes:
    """Write a message as a frame; arrays in it become markers.

    With a checksum the frame's last entry is ``segue/crc``: the CRC-32 of all bytes before its own four.

    Raises:
        WireError: An array of a type that is not sent.
    """
    plain = {key: marker(value) if isinstance(value, np.ndarray) else value for key, value in message.items()}
    if not checksum:
        return _ENCODER.encode(plain)
    frame = _ENCODER.encode(plain | {CHECKSUM: 0xFFFFFFFF})
    return frame[:-4] + zlib.crc32(memoryview(frame)[:-4]).to_bytes(4, "big")


def marker(array: NDArray[Any]) -> dict[bytes, Any]:
    """Write an array as openpi does; raises `WireError` for another type than the six that are sent."""
    if array.dtype not in _WRITTEN:
        names = ", ".join(str(each) for each in sorted(_WRITTEN, key=str))
        raise WireError("dtype", "", f"an array of {array.dtype}", f"one of {names}", "convert it")
    content = np.ascontiguousarray(array).data
    return {b"__ndarray__": True, b"data": content, b"dtype": array.dtype.str, b"shape": array.shape}


def read(decoder: "Decoder[T]", raw: Raw | bytes | memoryview, field: str) -> T:
    """Decode a value of a known type; raises `WireError` where it is of another."""
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("type", field, str(error), "the type that the field has", "see segue.links.messages") from error


def fields_of(raw: Raw, field: str) -> dict[str, Raw]:
    """Decode a marker, with keys of text or bytes; raises `WireError` unless it is a map of at most 15 entries."""
    head = bytes(memoryview(raw)[:2])
    if len(head) < 2 or head[0] & 0xF0 != 0x80:
        raise WireError("type", field, "no array", "a map that marks one", "pack it as openpi's msgpack_numpy does")
    if head[1] != 0xC4:  # the first key is not of bytes
        return read(_TEXT_KEYS, raw, field)
    return {key.decode("latin-1"): value for key, value in read(_BYTE_KEYS, raw, field).items()}


def array(raw: Raw, field: str) -> NDArray[Any]:
    """Read an array from its marker: a view of the frame that cannot be written to.

    Raises:
        WireError: No marker, a type that is not read, a shape that is not plausible, or not as many bytes as it says.
    """
    fields = fields_of(raw, field)
    dtype = _TYPES.get(_text(fields, "dtype" if "__ndarray__" in fields else "type", field))
    if dtype is None:
        raise WireError("dtype", field, "another dtype", "u1, i4, i8, f4, f8 or bool, little-endian", "convert it")
    if "shape" not in fields or "data" not in fields:
        raise WireError("type", field, "half an array", "dtype, shape and data", "send all three")
    try:
        shape = _SHAPE.decode(fields["shape"])
    except msgspec.MsgspecError as error:
        expected = f"up to {MAX_RANK} sizes from 0 to {MAX_DIMENSION}"
        raise WireError("shape", field, str(error), expected, "send it in the shape that it has") from error
    content = data(fields["data"], field)
    if len(content) != math.prod(shape) * dtype.itemsize:
        got = f"{len(content)} bytes for {dtype} of shape {shape}"
        raise WireError("size", field, got, "as many as that has", "send whole arrays")
    return np.frombuffer(content, dtype).reshape(shape) if len(content) else np.zeros(shape, dtype)


def data(raw: Raw, field: str) -> memoryview:
    """Return bytes as a view of the frame."""
    return read(_DATA, raw, field)


def _text(fields: Mapping[str, Raw], key: str, field: str) -> str:
    if key not in fields:
        raise WireError("type", field, f"an array without its {key}", "an array's marker", "pack it as openpi does")
    try:
        return _TEXT.decode(fields[key])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""  # a structured type is a list; no such dtype is known


def floats(raw: Raw, field: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """Read a finite array of floating point of a shape, in which None fits any size, as 32 bits.

    Raises:
        WireError: As `array`; not of floating point; of another shape; or not finite, also once it has 32 bits.
    """
    found = array(raw, field)
    if found.dtype.kind != "f":
        raise WireError("dtype", field, str(found.dtype), "float32 or float64", "convert it")
    check_shape(found, field, shape)
    with np.errstate(over="ignore"):
        found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise WireError("not-finite", field, "NaN or infinity", "finite numbers", "find out where it comes from")
    return found


def check_shape(found: NDArray[Any], field: str, shape: tuple[int | None, ...]) -> None:
    """Raise `WireError` unless an array has a shape; None fits any size."""
    fits = len(shape) == found.ndim and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
    if not fits:
        expected = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
        raise WireError("shape", field, f"shape {found.shape}", expected, "send what the specification says")


def number(raw: Raw, field: str) -> int | float:
    """Read a number, plain or as NumPy's; raises `WireError` for anything else."""
    if memoryview(raw)[0] & 0xF0 == 0x80:
        fields = fields_of(raw, field)
        if "data" not in fields or _text(fields, "dtype" if "__npgeneric__" in fields else "type", field) not in _TYPES:
            raise WireError("type", field, "no number", "a number", "send a plain number")
        raw = fields["data"]
    return read(_NUMBER, raw, field)
