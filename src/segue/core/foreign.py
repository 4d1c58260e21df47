"""Files that somebody else has written: looked at before they are read, and read up to a bound.

    path --> an ordinary file of a bounded size --> a text --> JSON of a bounded depth

A data set, a checkpoint or a results file may come from anywhere. An entry of it may be a device or a pipe that never
ends, a text may be nested deeper than the parser goes, and a number longer than it takes. Whatever is wrong is an error
of Segue's that names the file, of the class that the reader asks for.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from segue.errors import DataError, SegueError

LARGEST = 64 * 2**20
"""Bytes of a text that is read whole."""
_DEEPEST = 32  # levels of a text; whoever walks through it may then do so by calling itself
_ROOM, _DENSEST = 2**30, 64  # bytes that anything may take unpacked, and beyond them so many times those in the file
POINTER = b"version https://git-lfs.github.com/spec/"
"""Beginning of a file that stands for another one, which Git LFS has not brought yet."""
_WHOLE, _AGAIN = "the whole file as it was written", "copy or download it again"


def regular(file: Path, kind: type[SegueError] = DataError, largest: int | None = None) -> int:
    """Return the bytes of an ordinary file, or of what a link leads to.

    Raises:
        SegueError: Of class ``kind``: it is missing, has more than ``largest`` bytes, is a folder, a device or a pipe,
            or stands for a file that was not downloaded.
    """
    try:
        found = file.stat()
    except (OSError, ValueError) as error:
        raise kind(f"{file} cannot be read: {str(error)[:200]}", _WHOLE, f"check the path, or {_AGAIN}") from error
    if not stat.S_ISREG(found.st_mode):
        raise kind(f"{file} cannot be read: it is no ordinary file", "a file", f"check the path, or {_AGAIN}")
    if largest is not None and found.st_size > largest:
        raise kind(f"{file} of {found.st_size} bytes", f"at most {largest}", f"it is damaged: {_AGAIN}")
    if begins(file, len(POINTER), kind) == POINTER:
        raise kind(
            got=f"{file} cannot be read: it is a pointer of Git LFS, not the file itself",
            expected="the file that it stands for",
            change="git lfs install, then git lfs pull in the clone; or download it with `hf download`",
        )
    return found.st_size


def check_claim(what: str, claimed: int, stored: int) -> None:
    """Raise `DataError` where ``stored`` bytes of a file claim to be far more when unpacked than a recording can be.

    Recordings do not shrink so far; what does is small, such as a dimension that stands still.
    """
    if claimed > _ROOM and claimed > _DENSEST * stored:
        raise DataError(
            got=f"{what}: {claimed / 1e9:.1f} GB in {stored} bytes of the file",
            expected=f"at most {_DENSEST} times as much, as recordings have",
            change=f"it is damaged, or made to fill a memory: {_AGAIN}",
        )


def begins(file: Path, count: int, kind: type[SegueError] = DataError) -> bytes:
    """Read the first bytes of an ordinary file, and none of any other, which might keep its reader waiting."""
    try:
        with open(file, "rb", opener=_at_once) as content:
            found = os.fstat(content.fileno())
            return content.read(min(count, found.st_size)) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise unreadable(file, error, kind) from error


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever may write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def content(file: Path, largest: int = LARGEST, kind: type[SegueError] = DataError) -> bytes:
    """Read all bytes of an ordinary file; raises what `regular` raises."""
    regular(file, kind, largest)
    return begins(file, largest, kind)


def text(file: Path, largest: int = LARGEST, kind: type[SegueError] = DataError) -> str:
    """Read a text, with or without a byte-order mark; raises what `regular` raises, also where it is no UTF-8."""
    try:
        return content(file, largest, kind).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(file, error, kind) from error


def parsed(line: str | bytes) -> Any:
    """Parse JSON; raises `ValueError` where it is none, is nested too deeply, or has a number that is too long."""
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError(f"nested deeper than {_DEEPEST} levels") from None
    level = [found]  # one level at a time: a walk that calls itself could itself go too deep
    for _ in range(_DEEPEST):
        parts = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [inner for part in parts for inner in part]
        if not level:
            return found
    raise ValueError(f"nested deeper than {_DEEPEST} levels")


def read_json(file: Path, kind: type[SegueError] = DataError) -> Any:
    """Read a file of JSON; raises an error of class ``kind`` where `text` or `parsed` refuses it."""
    try:
        return parsed(text(file, kind=kind))
    except ValueError as error:
        raise unreadable(file, ValueError(f"not JSON: {error}"), kind) from error


def read_json_lines(file: Path) -> list[Any]:
    """Read a file with JSON on each line, skipping empty ones; raises `DataError` where `text` or `parsed` refuses."""
    try:
        return [parsed(line) for line in text(file).split("\n") if line.strip()]
    except ValueError as error:
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception, kind: type[SegueError] = DataError) -> SegueError:
    """Make the error that says that a file is damaged."""
    return kind(
        got=f"{file} cannot be read: {' '.join(str(error).split())[:200]}",
        expected=_WHOLE,
        change=f"it is missing or truncated: {_AGAIN}",
    )
