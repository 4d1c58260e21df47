"""Pictures of demonstrations: bytes, gathered when they are asked for; a recording may be larger than memory."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Picture
from segue.errors import DataError

PREFIX = "pictures/"
"""Prefix of the names of arrays of pictures in a file."""
_PART = 256


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one camera, one per frame. Selecting frames copies nothing.

    Attributes:
        store: Shape (any, height, width, 3), uint8; an array, or a memory map of a file.
        rows: Shape (frames,): where in the store the picture of each frame is.

    Raises:
        DataError: Of another shape or type.
    """

    store: NDArray[np.uint8]
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.store.ndim != 4 or self.store.shape[3] != 3 or self.store.dtype != np.uint8 or 0 in self.store.shape:
            raise DataError(
                got=f"pictures of shape {self.store.shape} and type {self.store.dtype}",
                expected="(frames, height, width, 3) of uint8, red green blue",
                change="stack the pictures of all frames, the channels last",
            )

    @classmethod
    def of(cls, store: NDArray[np.uint8]) -> "Pictures":
        """A picture per frame, in order."""
        return cls(store, np.arange(len(np.atleast_1d(store))))  # a single number is refused with what it is

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        return self.store.shape[1], self.store.shape[2]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.rows)

    def __getitem__(self, index: Any) -> Picture:
        """Pictures of frames, or of one frame, read now."""
        return self.store[self.rows[index]]

    def select(self, frames: NDArray[np.integer]) -> "Pictures":
        """Take the pictures of some frames, in that order; none is read."""
        return Pictures(self.store, self.rows[frames])

    def parts(self) -> Iterator[NDArray[np.uint8]]:
        """All pictures, some hundred at a time."""
        return (self[start : start + _PART] for start in range(0, len(self), _PART))


def together(parts: Sequence[Pictures]) -> Pictures:
    """Join pictures one after the other; those of one store are not copied."""
    if all(part.store is parts[0].store for part in parts):
        return Pictures(parts[0].store, np.concatenate([part.rows for part in parts]))
    return Pictures.of(np.concatenate([part[:] for part in parts]))


def mapped(path: Path, key: str) -> NDArray[np.uint8] | None:
    """Map an array of an ``.npz`` file into memory; None if it is compressed, so that it has to be read.

    A member that is stored as it is lies in the archive after its local header: 30 bytes, a name, an extra field.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo(f"{key}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        file.seek(member.header_offset + 26)
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
        file.seek(member.header_offset + 30 + name + extra)
        shape, order, dtype = _header(file)
        if order or dtype.hasobject:
            return None
        return np.memmap(path, dtype, "r", file.tell(), shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def add(file: IO[bytes], pictures: dict[str, Pictures]) -> None:
    """Append pictures to an ``.npz`` archive as they are: it can then be mapped, and pictures hardly shrink."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        for name, each in pictures.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(each), *each.size, 3)}
            with archive.open(f"{PREFIX}{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)  # type: ignore[arg-type]
                for part in each.parts():
                    member.write(part.tobytes())
