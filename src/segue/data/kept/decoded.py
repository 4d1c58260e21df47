"""Decoded pictures by content, kept in ``~/.cache/segue/pictures`` (``$SEGUE_CACHE/pictures``) up to a bound.

Beside them what frozen encoders have made of pictures, in the same way.

    what decides them --> SHA-256 --> pictures/<key>/0.raw, a file per camera, mapped into memory

They are written aside, and renamed when all of them are there; what a killed process leaves aside is removed a day
later. Those that were not used for longest give way to new ones. ``$SEGUE_PICTURES_GB`` is the bound, 50 unless it says
otherwise; 0 keeps none.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.errors import DataError

_WRITING, _DAY = ".writing-", 86_400


def folder() -> Path:
    """Say where they are kept."""
    return Path(os.environ.get("SEGUE_CACHE") or Path.home() / ".cache" / "segue") / "pictures"


def bound() -> float:
    """Say how many bytes all of them may have.

    Raises:
        DataError: ``$SEGUE_PICTURES_GB`` is no number.
    """
    said = os.environ.get("SEGUE_PICTURES_GB", "50")
    try:
        return float(said) * 1e9
    except ValueError as error:
        raise DataError(
            f"SEGUE_PICTURES_GB = {said!r:.40}", "a number of gigabytes", "correct it, or unset it"
        ) from error


def key_of(files: Iterable[Path], **decides: Any) -> str:
    """Compute the name of what is decoded from these files, of their content and of what else decides it."""
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode())
    for file in files:
        each = hashlib.sha256()
        with file.open("rb") as content:
            while part := content.read(1 << 20):
                each.update(part)
        digest.update(each.digest())
    return digest.hexdigest()


class Room:
    """Room for arrays, such as the decoded pictures of some cameras, which may be full already.

    Args:
        key: Of `key_of`.
        shapes: Of each array, such as (frames, height, width, 3).
        kind: Of their numbers.

    Attributes:
        whole: Whether they are there already.
        stores: The arrays by name; None where there is no room within the bound, or on the disc.
    """

    def __init__(self, key: str, shapes: Mapping[str, tuple[int, ...]], kind: type[np.generic] = np.uint8) -> None:
        self._place = folder() / key
        self.whole, self._aside = False, None
        self.stores: dict[str, NDArray[Any]] | None = None
        needed = sum(int(np.prod(shape)) for shape in shapes.values()) * np.dtype(kind).itemsize
        try:
            self.stores = {
                name: np.memmap(self._place / f"{n}.raw", kind, "r", shape=shape)
                for n, (name, shape) in enumerate(shapes.items())
            }
            self.whole = True
            os.utime(self._place)
        except (OSError, ValueError):  # not there, or cut
            if _made_room(needed):
                self._aside = Path(tempfile.mkdtemp(prefix=_WRITING, dir=folder()))
                weakref.finalize(self, shutil.rmtree, self._aside, ignore_errors=True)  # what is mapped by then stays
                self.stores = {
                    name: np.memmap(self._aside / f"{n}.raw", kind, "w+", shape=shape)
                    for n, (name, shape) in enumerate(shapes.items())
                }

    def keep(self) -> None:
        """Put what has been decoded where it is found again; on a disc that is full by now it is not kept."""
        if self._aside is None or self.stores is None:
            return
        with contextlib.suppress(OSError):
            for store in self.stores.values():
                store.flush()  # type: ignore[attr-defined]
            shutil.rmtree(self._place, ignore_errors=True)
            self._aside.rename(self._place)


def _made_room(needed: int) -> bool:
    """Remove what was not used for longest until there is room; says whether there is."""
    most = bound()
    if needed > most:
        return False
    try:
        folder().mkdir(parents=True, exist_ok=True)
        for left in folder().glob(f"{_WRITING}*"):
            if left.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(left, ignore_errors=True)
        there = sorted(
            (each for each in folder().iterdir() if len(each.name) == 64), key=lambda each: each.stat().st_mtime
        )
        sizes: Mapping[Path, int] = {each: sum(file.stat().st_size for file in each.iterdir()) for each in there}
        total = sum(sizes.values())
        for each in there:
            if total + needed <= most:
                break
            shutil.rmtree(each, ignore_errors=True)
            total -= sizes[each]
        return os.access(folder(), os.W_OK) and needed <= shutil.disk_usage(folder()).free
    except OSError:
        return False
