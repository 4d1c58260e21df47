"""The same episode under several methods, side by side, as a small animated WebP."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segue.errors import DataError, MissingExtraError

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError as error:
    raise MissingExtraError("pillow", "report", "the side-by-side video") from error

Frame = NDArray[np.uint8]

CELL = 200  # [pixel] width of one method's picture: several fit beside each other and the file stays small
CAPTION = 22  # [pixel] height of the strip with the method's name
COLUMNS = 3
MAX_FPS = 12.0  # more pictures per second cost bytes and show nothing more at this size
QUALITY = 45


def side_by_side(frames: Mapping[str, Sequence[Frame]], fps: float) -> bytes:
    """One animated WebP of all methods, in step, each with its name above.

    A method that finishes early shows its last frame until the longest is over. Frames are dropped evenly above
    12 per second; the speed stays real.

    Args:
        frames: Method label to its frames, each (height, width, 3); lengths and sizes may differ between methods.
        fps: Frames per second at which they were taken.

    Raises:
        DataError: No method, a method without frames, a frame that is not an 8-bit colour picture, or no positive rate.
    """
    _check(frames, fps)
    stride = max(1, round(fps / MAX_FPS))
    length = max(len(sequence) for sequence in frames.values())
    chosen = [*range(0, length - 1, stride), length - 1]
    pictures = [_picture(frames, index) for index in chosen]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 * stride / fps),
        loop=0,
        quality=QUALITY,
        method=3,
    )
    return file.getvalue()


def _check(frames: Mapping[str, Sequence[Frame]], fps: float) -> None:
    if not frames or fps <= 0:
        raise DataError(
            got=f"{len(frames)} methods at {fps} frames per second",
            expected="at least one method and a positive rate",
            change="pass the frames of every method and the simulator's 1 / dt",
        )
    for label, sequence in frames.items():
        shapes = {frame.shape for frame in sequence}
        if len(shapes) != 1 or any(frame.dtype != np.uint8 for frame in sequence):
            raise DataError(
                got=f"{len(sequence)} frames of {label!r} with shapes {sorted(shapes)}",
                expected="at least one frame, all (height, width, 3) of one size, uint8",
                change="collect the simulator's frame() once per control step",
            )
        shape = next(iter(shapes))
        if len(shape) != 3 or shape[2] != 3:
            raise DataError(
                got=f"a frame of {label!r} with shape {shape}",
                expected="(height, width, 3)",
                change="pass red, green and blue without an alpha channel",
            )


def _picture(frames: Mapping[str, Sequence[Frame]], index: int) -> Image.Image:
    """All methods at one moment, in rows of `COLUMNS`."""
    cells = [_cell(label, sequence[min(index, len(sequence) - 1)]) for label, sequence in frames.items()]
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    height = max(cell.height for cell in cells)
    sheet = Image.new("RGB", (columns * CELL, rows * height), "black")
    for place, cell in enumerate(cells):
        sheet.paste(cell, ((place % columns) * CELL, (place // columns) * height))
    return sheet


def _cell(label: str, frame: Frame) -> Image.Image:
    height, width = frame.shape[:2]
    scaled = Image.fromarray(frame).resize((CELL, max(1, round(CELL * height / width))))
    cell = Image.new("RGB", (CELL, scaled.height + CAPTION), (24, 27, 31))
    cell.paste(scaled, (0, CAPTION))
    font = ImageFont.load_default(size=13)
    ImageDraw.Draw(cell).text((CELL // 2, CAPTION // 2), label, fill="white", font=font, anchor="mm")
    return cell
