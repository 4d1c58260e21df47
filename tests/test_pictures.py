"""Pictures: what a JPEG file says of itself is compared before a decoder sees it."""

import random
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segue.errors import MissingExtraError, WireError
from segue.runtime.pictures import check_jpeg, decode_jpeg, decoded, encode_jpeg, jpeg_size

SIZE = (48, 64)


def header(height: int, width: int, kind: int = 0xC0, bits: int = 8, components: int = 3) -> bytes:
    """A file's beginning, by hand."""
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    frame = bytes([bits]) + sizes + bytes([components]) + b"\x01\x11\x00" * components
    return (
        b"\xff\xd8" + b"\xff\xe0\x00\x04ab" + b"\xff\xdb\x00\x05abc"
        + b"\xff" + bytes([kind]) + (len(frame) + 2).to_bytes(2, "big") + frame + b"\xff\xda"
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

    monkeypatch.setitem(sys.modules, "simplejpeg", SimpleNamespace(decode_jpeg=decode))


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
