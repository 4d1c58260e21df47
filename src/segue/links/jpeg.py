"""Camera pictures on the wire: raw, or as JPEG whose header is believed only if it says what was agreed.

A JPEG file is a list of segments; one of them, the frame header, says how large the picture is. A file of a few hundred
bytes can announce a picture of hundreds of megabytes, and one of many scans can take minutes, so that the header is
read before the decoder sees the file.

    FF D8 | FF E0 length ... | FF DB length ... | FF C0 length precision height width components ... | FF DA scan

What is read here is of use only if the decoder reads the same: every segment up to the scan is walked over, whatever a
camera's file does not need is refused rather than skipped, and the decoder's own reading of the header is compared too.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from segue.core.observation import Cameras, Picture
from segue.errors import MissingExtraError, WireError

_FRAME: Final = frozenset({0xC0, 0xC1})
"""Headers of frames of one pass over the picture; all others (progressive, lossless, arithmetic) are refused."""
_SCAN: Final = 0xDA
_TABLES_AND_NOTES: Final = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_COMPONENTS: Final = 3
_MOST_SEGMENTS: Final = 256
_MOST_FILL: Final = 64


def jpeg_size(data: bytes | memoryview, field: str) -> tuple[int, int]:
    """Read the height and width that a JPEG file announces [pixels].

    Raises:
        WireError: No JPEG, no baseline coding, not three components of 8 bits in one scan, or other than one frame
            header, tables and notes before that scan.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        raise _not_jpeg(field, "no JPEG file")
    at, size = 2, None
    for _ in range(_MOST_SEGMENTS):
        marker, at = _marker(data, at, field)
        length = int.from_bytes(data[at : at + 2], "big")
        segment = bytes(data[at + 2 : at + min(length, 18)])
        if length < 2 or at + length > len(data):
            break
        if marker == _SCAN:
            # A scan of one component is followed by others, of which there may be thousands, each over all pixels.
            if size is None or segment[:1] != bytes([_COMPONENTS]):
                break
            return size
        if marker in _FRAME and size is None:
            if length != 8 + 3 * _COMPONENTS or segment[0] != 8 or segment[5] != _COMPONENTS:
                raise _not_jpeg(field, "a JPEG that is not of three components of 8 bits")
            size = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
        elif marker not in _TABLES_AND_NOTES:
            raise _not_jpeg(
                field, f"a JPEG with a marker {marker:#04x} in its header: progressive, or several pictures"
            )
        at += length
    raise _not_jpeg(field, "a JPEG without one frame header before one scan of all components")


def _marker(data: bytes | memoryview, at: int, field: str) -> tuple[int, int]:
    """Read the marker at a place of a file, and where what belongs to it begins.

    Bytes FF may stand before it to fill up: the decoder skips them, and so do we, as long as they are few.
    """
    head = bytes(data[at : at + _MOST_FILL])
    rest = head.lstrip(b"\xff")
    if rest in (head, b""):
        raise _not_jpeg(field, "a JPEG whose header is cut off, or has something else between its segments")
    return rest[0], at + len(head) - len(rest) + 1


def check_jpeg(data: bytes | memoryview, field: str, size: tuple[int, int]) -> None:
    """Raise `WireError` unless a file says that it is a picture of this height and width, and is no longer than one."""
    if len(data) > 3 * size[0] * size[1] + 65536:
        raise WireError("size", field, f"{len(data)} bytes of JPEG", "no more than the picture has", "compress it")
    found = jpeg_size(data, field)
    if found != size:
        raise WireError(
            "shape", field, f"a JPEG of {found[0]} x {found[1]} pixels", f"{size[0]} x {size[1]}", "resize it first"
        )


def decode_jpeg(data: bytes | memoryview, field: str, size: tuple[int, int]) -> Picture:
    """Check a file and decode it. Shape (height, width, 3).

    Raises:
        WireError: As `check_jpeg`, or the file is damaged.
        MissingExtraError: No decoder is installed.
    """
    check_jpeg(data, field, size)
    try:
        from simplejpeg import decode_jpeg as decode
        from simplejpeg import decode_jpeg_header as decode_header
    except ImportError as error:
        raise MissingExtraError("simplejpeg", "images", "decoding pictures") from error
    try:
        read = decode_header(data)[:2]  # costs a microsecond, and is what the decoder makes room for
        if read != size:
            raise _not_jpeg(field, f"a JPEG whose header the decoder reads as {read[0]} x {read[1]} pixels")
        picture = decode(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise _not_jpeg(field, f"a damaged JPEG: {error}") from error
    if picture.shape != (*size, 3):
        raise _not_jpeg(field, f"a JPEG that decodes to shape {picture.shape}")
    return picture


def decoded(pictures: Mapping[str, Picture | memoryview], cameras: Cameras) -> dict[str, Picture]:
    """Decode those pictures that are files; raises what `decode_jpeg` raises."""
    return {
        name: picture if isinstance(picture, np.ndarray) else decode_jpeg(picture, name, cameras[name])
        for name, picture in pictures.items()
    }


def encode_jpeg(picture: Picture, quality: int) -> bytes:
    """Write a picture (height, width, 3) as a baseline JPEG file.

    Colour has half the resolution of brightness (4:2:0), as in videos and in most cameras' own files: that halves the
    time at both ends.

    Raises:
        MissingExtraError: No encoder is installed.
    """
    try:
        from simplejpeg import encode_jpeg as encode
    except ImportError as error:
        raise MissingExtraError("simplejpeg", "images", "compressing pictures") from error
    return encode(np.ascontiguousarray(picture), quality=quality, colorspace="RGB", colorsubsampling="420")


def _not_jpeg(field: str, got: str) -> WireError:
    return WireError("jpeg", field, got, "a whole baseline JPEG in colour", "encode it with any common library")
