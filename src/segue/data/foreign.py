"""Files that somebody else has written: looked at before they are read, and read up to a bound.

A data set is a folder that may come from anywhere. An entry of it may be a device or a pipe that never ends, a text may
be nested deeper than the parser goes, and a number longer than it takes.
"""

import json
import stat
from pathlib import Path
from typing import Any

from segue.errors import DataError

LARGEST = 64 * 2**20
"""Bytes of a text that is read whole."""
_DEEPEST = 32
"""Levels of a text; whoever walks through it may then do so by calling itself."""
POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for another one, which Git LFS has not brought yet."""


def regular(file: Path) -> int:
    """Bytes of an ordinary file, or of what a link leads to.

    Raises:
        DataError: It is missing, is something else, such as a folder, a device or a pipe, or stands for a file that was
            not downloaded.
    """
    try:
        found = file.stat()
    except (OSError, ValueError) as error:
        raise DataError(
            got=f"{file} cannot be read: {str(error)[:200]}",
            expected="the whole file as it was written",
            change="it is missing: copy or download it again",
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{file} cannot be read: it is no ordinary file", "a file", "copy or download it again")
    if begins(file, len(POINTER)) == POINTER:
        raise DataError(
            got=f"{file} cannot be read: it is a pointer of Git LFS, not the file itself",
            expected="the file that it stands for",
            change="git lfs install, then git lfs pull in the clone; or download the data set with `hf download`",
        )
    return found.st_size


def begins(file: Path, count: int) -> bytes:
    """The first bytes of a file."""
    try:
        with file.open("rb") as content:
            return content.read(count)
    except OSError as error:
        raise unreadable(file, error) from error


def text(file: Path, largest: int = LARGEST) -> str:
    """A text, with or without a byte-order mark.

    Raises:
        DataError: As `regular`; it is larger than ``largest`` bytes, or no UTF-8.
    """
    size = regular(file)
    if size > largest:
        raise DataError(f"{file} of {size} bytes", f"at most {largest}", "it is damaged: copy or download it again")
    try:
        with file.open("rb") as content:
            return content.read(largest).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error) from error


def parsed(file: Path, line: str) -> Any:
    """A text as JSON.

    Raises:
        DataError: It is none, is nested beyond what is read, or has a number beyond what is read.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise unreadable(file, error) from error
    level = [found]
    for _ in range(_DEEPEST):
        parts = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [inner for part in parts for inner in part]
        if not level:
            return found
    raise unreadable(file, ValueError(f"nested deeper than {_DEEPEST} levels"))


def unreadable(file: Path, error: Exception) -> DataError:
    """What is said of a file that is damaged."""
    return DataError(
        got=f"{file} cannot be read: {' '.join(str(error).split())[:200]}",
        expected="the whole file as it was written",
        change="it is missing or truncated: copy or download it again",
    )
