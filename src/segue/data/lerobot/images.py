"""Pictures of a data set of LeRobot: those that are kept as files in its tables are PNG or JPEG, decoded with pillow.

info.json   {"dtype": "image", "shape": [height, width, 3]}
table       {"bytes": a file, "path": its name}, one per frame

Those that are kept as video are read by `segue.data.lerobot.video`.
"""

import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.core.observation import Cameras, Picture
from segue.data.lerobot.layout import Layout, pyarrow_parquet
from segue.errors import DataError, MissingExtraError

KINDS = ("image", "video")
"""Types of features that are pictures: kept in the tables, or beside them."""
MOST_PIXELS = 2**24
_LARGEST = 64 * 2**20
"""Bytes of a file that is looked at."""


def cameras(info: Mapping[str, Any]) -> tuple[str, ...]:
    """List all features that are pictures, of what ``info.json`` holds."""
    features = info.get("features")
    features = features if isinstance(features, dict) else {}
    return tuple(key for key, each in features.items() if isinstance(each, dict) and each.get("dtype") in KINDS)


def coloured(info: Mapping[str, Any]) -> tuple[str, ...]:
    """List the cameras with pictures in colour; a depth camera has none."""
    return tuple(key for key in cameras(info) if _size(info["features"][key].get("shape")) is not None)


def named(info: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str, ...]:
    """Keys of the cameras that are wanted: ``front`` is ``observation.images.front``, where that is the only one."""
    there = cameras(info)

    def key(name: str) -> str:
        found = [each for each in there if each.endswith(f".{name}")]
        return found[0] if name not in there and len(found) == 1 else name

    return tuple(map(key, wanted))


def sizes(layout: Layout, keys: tuple[str, ...]) -> Cameras:
    """Height and width of each camera's pictures, as ``info.json`` says.

    Raises:
        DataError: There is no such camera, or it has no pictures in colour.
    """
    features = layout.info["features"]
    there = {name: each for name, each in features.items() if isinstance(each, dict)}
    found = {}
    for key in keys:
        kind, shape = there.get(key, {}).get("dtype"), there.get(key, {}).get("shape")
        if kind not in KINDS:
            raise DataError(
                got=f"no camera {key!r} in {layout.file}",
                expected=f"one of {', '.join(cameras(layout.info)) or 'none'}",
                change="correct the name, or leave it out to read state and action alone",
            )
        size = _size(shape)
        if size is None:
            raise DataError(
                got=f"camera {key!r} of shape {shape} in {layout.file}",
                expected="[height, width, 3], or [3, height, width]",
                change="correct the file, or leave the camera out",
            )
        found[key] = size
    return found


def _size(shape: Any) -> tuple[int, int] | None:
    """Height and width; LeRobot takes the colours last or first. None if it is no shape of a picture in colour."""
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        return None
    if shape[2] == 3:
        return shape[0], shape[1]
    return (shape[1], shape[2]) if shape[0] == 3 else None


def filmed(layout: Layout, keys: tuple[str, ...]) -> tuple[str, ...]:
    """List the cameras, of some, that are kept as video."""
    return tuple(key for key in keys if layout.info["features"][key]["dtype"] == "video")


def scratch(frames: int, cameras: Cameras) -> dict[str, NDArray[np.uint8]]:
    """Room for the decoded pictures of some cameras, in files without names that end with this process.

    Memory holds what is used. Files that are not written yet take no room on the disc: all are counted together.

    Args:
        frames: Pictures of each camera.
        cameras: Height and width of each camera's pictures.

    Raises:
        DataError: The disc has not that much room, which would otherwise end the process while it writes.
    """
    if not cameras:
        return {}
    needed = frames * sum(height * width * 3 for height, width in cameras.values())
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        shapes = ", ".join(f"{key} ({height} x {width})" for key, (height, width) in cameras.items())
        raise DataError(
            got=f"{frames} pictures each of {shapes}, decoded {needed / 1e9:.1f} GB, for {folder}",
            expected=f"at most the {free / 1e9:.1f} GB that are free there",
            change="set TMPDIR to a larger disc, name fewer cameras, or make the data set's pictures smaller",
        )
    return {key: _nameless((frames, *size, 3)) for key, size in cameras.items()}


def _nameless(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def column(file: Path, key: str) -> Any:
    """A column of pictures, still encoded.

    Raises:
        DataError: The file has no such column of files.
    """
    import pyarrow

    foreign.regular(file)
    try:
        found = pyarrow_parquet().read_table(file, columns=[key], partitioning=None)
        return found.column(key).combine_chunks().field("bytes")
    except (pyarrow.ArrowException, OSError, KeyError, AttributeError, NotImplementedError) as error:
        raise DataError(
            got=f"camera {key!r} in {file}: {' '.join(str(error).split())[:200]}",
            expected="a column of PNG or JPEG files, as LeRobot writes it",
            change="copy or download the data set again, or leave the camera out",
        ) from error


def decoded(data: bytes | None, where: str, size: tuple[int, int]) -> Picture:
    """Decode one picture. Shape (height, width, 3).

    Args:
        data: A file, PNG or JPEG.
        where: For errors.
        size: Height and width that it must have; what it says itself is looked at before it is decoded.

    Raises:
        DataError: It is missing, damaged or of another size.
        MissingExtraError: pillow is not installed.
    """
    change = "copy or download the data set again, or leave the camera out"
    if data is None or len(data) > _LARGEST:
        got = "nothing" if data is None else f"{len(data)} bytes"
        raise DataError(f"{got} as {where}", "a PNG or JPEG file", change)
    with _opened(data, ("PNG", "JPEG"), where, change) as image:
        if image.size[::-1] != size:
            got = f"{where} of {image.size[1]} x {image.size[0]} pixels"
            raise DataError(got, f"{size[0]} x {size[1]}, as info.json says", change)
        if image.mode[0] in "IF":  # would be cut off at 255
            raise DataError(f"{where} of more than 8 bits per colour", "a picture, no distances", change)
        return np.asarray(image.convert("RGB"))


@contextmanager
def _opened(data: bytes, formats: tuple[str, ...], where: str, change: str) -> Iterator[Any]:
    """Look at a picture without decoding it, with what goes wrong from then on as an error of ours."""
    pil = pillow()
    try:
        with pil.open(io.BytesIO(data), formats=formats) as image:
            yield image
    except (pil.UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        expected = f"a whole {' or '.join(formats)} file"
        raise DataError(f"{where} cannot be decoded: {str(error)[:100]}", expected, change) from error


def decoded_of_any_size(data: bytes, where: str) -> Picture:
    """Decode one JPEG file that nothing else gives the size of; at most `MOST_PIXELS`. Shape (height, width, 3).

    Raises:
        DataError: It is damaged, or larger.
        MissingExtraError: pillow is not installed.
    """
    with _opened(data, ("JPEG",), where, "leave it out") as image:
        if image.size[0] * image.size[1] > MOST_PIXELS:
            raise DataError(f"{where} of {image.size[1]} x {image.size[0]} pixels", f"at most {MOST_PIXELS}", "cut it")
        return np.asarray(image.convert("RGB"))


def encoded(picture: Picture) -> bytes:
    """Encode one picture as a PNG file.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    file = io.BytesIO()
    pillow().fromarray(picture).save(file, "PNG", compress_level=1)  # LeRobot's level too; a higher one takes longer
    return file.getvalue()


def pillow() -> ModuleType:
    """The module ``PIL.Image``.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("PIL", "lerobot", "the pictures of a data set of LeRobot") from error
    return Image
