"""Camera pictures on the wire: raw, or as JPEG whose header is believed only if it says what was agreed.

A JPEG file is a list of segments; one of them, the frame header, says how large the picture is. A file of a few hundred
bytes can announce a picture of hundreds of megabytes, and one of many progressive scans can take minutes, so that
the header is read before the decoder sees the file.

    FF D8 | FF E0 length ... | FF DB length ... | FF C0 length precision height width components ... | FF DA scan
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from segue.core.observation import Cameras, Picture
from segue.errors import MissingExtraError, WireError

_BASELINE: Final = (0xC0, 0xC1)
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_LARGEST_HEADER: Final = 256


def jpeg_size(data: bytes | memoryview, field: str) -> tuple[int, int]:
    """Height and width that a JPEG file announces [pixels].

    Raises:
        WireError: No JPEG, no baseline coding, not three components of 8 bits, or no header where headers are.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        raise _not_jpeg(field, "no JPEG file")
    at = 2
    for _ in range(_LARGEST_HEADER):
        head = bytes(data[at : at + 10])
        if len(head) < 10 or head[0] != 0xFF or head[1] == _SCAN:
            break
        if head[1] in _FRAME_HEADERS:
            if head[1] not in _BASELINE or head[4] != 8 or head[9] != 3:
                raise _not_jpeg(field, "a JPEG that is progressive, or not of three components of 8 bits")
            return int.from_bytes(head[5:7], "big"), int.from_bytes(head[7:9], "big")
        length = int.from_bytes(head[2:4], "big")
        if length < 2:
            break
        at += 2 + length
    raise _not_jpeg(field, "a JPEG without a frame header before its first scan")


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
    """Picture of a file that is checked first. Shape (height, width, 3).

    Raises:
        WireError: As `check_jpeg`, or the file is damaged.
        MissingExtraError: No decoder is installed.
    """
    check_jpeg(data, field, size)
    try:
        from simplejpeg import decode_jpeg as decode
    except ImportError as error:
        raise MissingExtraError("simplejpeg", "images", "decoding pictures") from error
    try:
        picture = decode(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise _not_jpeg(field, f"a damaged JPEG: {error}") from error
    if picture.shape != (*size, 3):
        raise _not_jpeg(field, f"a JPEG that decodes to shape {picture.shape}")
    return picture


def decoded(pictures: Mapping[str, Picture | memoryview], cameras: Cameras) -> dict[str, Picture]:
    """Pictures of which some are files. Raises as `decode_jpeg`."""
    return {
        name: picture if isinstance(picture, np.ndarray) else decode_jpeg(picture, name, cameras[name])
        for name, picture in pictures.items()
    }


def encode_jpeg(picture: Picture, quality: int) -> bytes:
    """A picture (height, width, 3) as a baseline JPEG file.

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
