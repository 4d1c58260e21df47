"""Pictures: what a JPEG file says of itself is compared before a decoder sees it."""

import random
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segue.errors import MissingExtraError, WireError
from segue.links.jpeg import check_jpeg, decode_jpeg, decoded, encode_jpeg, jpeg_size

SIZE = (48, 64)


SCAN = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00"
"""Header of a scan of three components."""
LATE = b"\xff\xc0\x00\x11\x08\x00\x30\x00\x40\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
"""A frame header of the agreed size."""


def header(height: int, width: int, kind: int = 0xC0, bits: int = 8, components: int = 3) -> bytes:
    """A file's beginning, by hand."""
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    frame = bytes([bits]) + sizes + bytes([components]) + b"\x01\x11\x00" * components
    return (
        b"\xff\xd8" + b"\xff\xe0\x00\x04ab" + b"\xff\xdb\x00\x05abc"
        + b"\xff" + bytes([kind]) + (len(frame) + 2).to_bytes(2, "big") + frame + SCAN
    )  # fmt: skip


@pytest.fixture
def scene() -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([4 * rows, 3 * columns, 2 * (rows + columns)], axis=2).astype(np.uint8)


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that must not be asked."""

    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("the decoder was asked")

    decoder = SimpleNamespace(decode_jpeg=decode, decode_jpeg_header=decode)
    monkeypatch.setitem(sys.modules, "simplejpeg", decoder)


@pytest.mark.parametrize("size", [(1, 1), SIZE, (480, 640), (65535, 65535)])
def test_the_size_is_read_from_the_header(size: tuple[int, int]) -> None:
    assert jpeg_size(header(*size), "front") == size


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize(
    ("file", "code"),
    [
        (header(12000, 12000), "shape"),
        (header(SIZE[1], SIZE[0]), "shape"),
        (header(0, 0), "shape"),
        (header(*SIZE, kind=0xC2), "jpeg"),
        (header(*SIZE, kind=0xC9), "jpeg"),
        (header(*SIZE, bits=12), "jpeg"),
        (header(*SIZE, components=4), "jpeg"),
        (b"\xff\xd8\xff\xda" + header(*SIZE)[2:], "jpeg"),
        (b"\xff\xd8\x00" + header(*SIZE)[2:], "jpeg"),
        (b"\xff\xd8\xff\xe0\x00\x00" * 100, "jpeg"),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 4000 + header(*SIZE)[2:], "jpeg"),
        (header(*SIZE)[:20], "jpeg"),
        (b"", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "jpeg"),
        (header(*SIZE) + b"\x00" * 80_000, "size"),
    ],
)
def test_fault_17_a_file_that_is_not_what_was_agreed_never_reaches_the_decoder(file: bytes, code: str) -> None:
    with pytest.raises(WireError) as refused:
        decode_jpeg(file, "front", SIZE)
    assert (refused.value.code, refused.value.field) == (code, "front")


LOOKS = b"\xff\xff\xc0\x00"
"""Fill and a frame header to the decoder; a segment of 49152 bytes to who takes fill for a marker."""


def spoilt(file: bytes, before: bytes, insert: bytes) -> bytes:
    """A file with something in front of the first segment of a kind."""
    at = file.index(before)
    return file[:at] + insert + file[at:]


BOMBS = {
    "a frame header after fill": lambda f: spoilt(f, b"\xff\xc0", b"\xff" + LATE),
    "a segment that looks like one": lambda f: spoilt(f, b"\xff\xc0", LOOKS + LATE[3:] + bytes(0xC000) + LATE),
    "a restart marker": lambda f: spoilt(f, b"\xff\xc0", b"\xff\xd0"),
    "a temporary marker": lambda f: spoilt(f, b"\xff\xc0", b"\xff\x01"),
    "another beginning": lambda f: spoilt(f, b"\xff\xc0", b"\xff\xd8"),
    "an end": lambda f: spoilt(f, b"\xff\xc0", b"\xff\xd9"),
    "rubbish": lambda f: spoilt(f, b"\xff\xc0", b"\x00\x00"),
    "a stuffed byte": lambda f: spoilt(f, b"\xff\xc0", b"\xff\x00"),
    "a number of lines": lambda f: spoilt(f, b"\xff\xc0", b"\xff\xdc\x00\x04\xff\xff"),
    "two frame headers": lambda f: spoilt(f, b"\xff\xc0", LATE),
    "a frame header after the agreed one": lambda f: spoilt(f, b"\xff\xda", b"\xff\xc2" + LATE[2:]),
    "a hierarchical frame": lambda f: spoilt(f, b"\xff\xc0", b"\xff\xde" + LATE[2:]),
    "a scan of one component": lambda f: f.replace(SCAN[:5], b"\xff\xda\x00\x08\x01"),
    "a scan before its frame": lambda f: spoilt(f, b"\xff\xc0", SCAN),
    "a segment beyond the end": lambda f: spoilt(f, b"\xff\xc0", b"\xff\xfe\xff\xff"),
    "fill without end": lambda f: spoilt(f, b"\xff\xc0", b"\xff" * 60_000),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.usefixtures("no_decoder")
def test_fault_17_what_the_decoder_could_read_otherwise_never_reaches_it(bomb: str) -> None:
    file = BOMBS[bomb](header(*SIZE))
    with pytest.raises(WireError) as refused:
        decode_jpeg(file, "front", SIZE)
    assert refused.value.code == "jpeg"


@pytest.mark.faults
def test_picture_bombs_check_and_decoder_see_the_same_picture_whatever_is_put_into_a_header(scene: np.ndarray) -> None:
    """Markers, fill, lengths and headers of other sizes anywhere between the segments: refused, or of one size."""
    simplejpeg = pytest.importorskip("simplejpeg")
    file, chance = encode_jpeg(scene, 80), random.Random(30)
    pieces = [b"\xff", b"\xff\xff", b"\xff\xd0", b"\xff\x01", b"\xff\xfe\x00\x04ab", b"\xff\xc0\x00", b"\x00",
              LATE, SCAN, LATE[:5] + b"\x20\x00\x20\x00" + LATE[9:], b"\xff\xc2" + LATE[2:],
              b"\xff\xd8", b"\xff\xd9"]  # fmt: skip
    passed = 0
    for _ in range(20_000):
        bomb = bytearray(file)
        for _ in range(chance.choice((1, 1, 2, 3))):
            at = chance.choice([place for place in range(len(bomb)) if bomb[place] == 0xFF])
            bomb[at : at + chance.choice((0, 0, 0, 1, 2))] = chance.choice(pieces)
        try:
            size = jpeg_size(bytes(bomb), "front")
        except WireError:
            continue
        passed += 1
        with suppress(ValueError):  # the decoder may read no header at all
            assert simplejpeg.decode_jpeg_header(bytes(bomb))[:2] == size
    assert passed > 1000


def test_fill_that_is_legal_is_read_as_the_decoder_reads_it(scene: np.ndarray) -> None:
    pytest.importorskip("simplejpeg")
    file = encode_jpeg(scene, 95)
    filled = spoilt(spoilt(file, b"\xff\xc0", b"\xff" * 40), b"\xff\xda", b"\xff")
    assert np.array_equal(decode_jpeg(filled, "front", SIZE), decode_jpeg(file, "front", SIZE))


def test_fault_17_the_decoders_own_reading_of_the_header_is_compared_before_it_decodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a decoder of tomorrow reads into a file that passed."""

    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("the decoder made room")

    decoder = SimpleNamespace(decode_jpeg=decode, decode_jpeg_header=lambda _: (20_000, 20_000, "YCbCr", "420"))
    monkeypatch.setitem(sys.modules, "simplejpeg", decoder)
    with pytest.raises(WireError, match="20000 x 20000"):
        decode_jpeg(header(*SIZE), "front", SIZE)


def test_pictures_go_there_and_back(scene: np.ndarray) -> None:
    pytest.importorskip("simplejpeg")
    file = encode_jpeg(scene, 95)
    check_jpeg(file, "front", SIZE)
    assert np.abs(decode_jpeg(file, "front", SIZE).astype(int) - scene).mean() < 3
    seen = decoded({"a": memoryview(file), "b": scene}, {"a": SIZE, "b": SIZE})
    assert seen["b"] is scene
    assert seen["a"].shape == (*SIZE, 3)


def test_fault_17_a_file_that_is_damaged_is_refused_or_has_the_agreed_size(scene: np.ndarray) -> None:
    pytest.importorskip("simplejpeg")
    file, chance = encode_jpeg(scene, 80), random.Random(6)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(file[: chance.choice((len(file), chance.randrange(len(file))))])
        for _ in range(chance.randrange(4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            assert decode_jpeg(bytes(damaged), "front", SIZE).shape == (*SIZE, 3)
        except WireError:
            refused += 1
    assert refused > 400


def test_without_a_decoder_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, scene: np.ndarray) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(MissingExtraError, match="extra 'images'"):
        decode_jpeg(header(*SIZE), "front", SIZE)
    with pytest.raises(MissingExtraError, match="extra 'images'"):
        encode_jpeg(scene, 90)
