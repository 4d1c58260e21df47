"""The ``.npz`` archive of demonstrations, read without unpickling; `segue.data.episodes` says what is in it."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.data.pictures import PREFIX, mapped
from segue.errors import DataError

REQUIRED = ("observation", "action", "episode_ends", "dt")
_KINDS = ("action_kinds", "observation_kinds")
OPTIONAL = ("observation_names", "action_names", "state_of_action", *_KINDS, "source", "instructions", "robot_type")
INSTRUCTION = "instruction"
_SINGLE = b"\x93NUMPY"
_WORDS = ("observation_names", "action_names", *_KINDS, "source", "instructions", "robot_type")


def _check_keys(path: Path, keys: Sequence[str]) -> None:
    missing = [key for key in REQUIRED if key not in keys]
    if missing:
        raise DataError(
            f"{path} without {', '.join(map(repr, missing))}; it has {', '.join(sorted(keys)) or 'nothing'}",
            "the keys " + ", ".join(REQUIRED),
            "add what is missing, or write the file with segue.data.episodes.save",
        )


def check_types(path: str | Path, arrays: Mapping[str, NDArray]) -> None:
    """Raise `DataError` for an array that is of another type than the layout says; its shape is `Episodes`'s matter."""
    for key, array in arrays.items():
        if key in (*REQUIRED, "state_of_action", INSTRUCTION) and array.dtype.kind not in "fiu":
            raise DataError(f"{key!r} of type {array.dtype} in {path}", "numbers", "store a numeric array")
        if key in _WORDS and array.dtype.kind != "U":
            raise DataError(f"{key!r} of type {array.dtype} in {path}", "text", "store an array of str")
        if key in ("dt", "source", "robot_type") and array.size != 1:
            raise DataError(f"{key} of shape {array.shape} in {path}", "a single value", "store one")
        if key in OPTIONAL and array.ndim > 1:
            raise DataError(f"{key} of shape {array.shape} in {path}", "one value per dimension", "store a vector")
    for key in ("episode_ends", "state_of_action", INSTRUCTION):
        values = arrays.get(key, np.zeros(1))
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise DataError(f"fractional {key} in {path}", "whole numbers", "store integers")


def read(path: Path) -> dict[str, NDArray]:
    """Read the known arrays of an archive, decompressed; pictures that are not compressed stay where they are."""
    if not path.exists():
        raise DataError(f"no file {path}", "a file of demonstrations (.npz)", "check the path")
    foreign.regular(path)
    if foreign.begins(path, len(_SINGLE)) == _SINGLE:
        raise DataError(f"{path} is a single array", "an .npz archive", "write it with np.savez")
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is no .npz archive", "an .npz archive, an HDF5 file, a Zarr store or a data set of LeRobot",
            "see docs/data.md",
        )  # fmt: skip
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_keys(path, archive.files)
            kept = {key: mapped(path, key) for key in archive.files if key.startswith(PREFIX)}
            known = [key for key in archive.files if key in (*REQUIRED, *OPTIONAL, INSTRUCTION) or key in kept]
            for key in known:
                member = archive.zip.getinfo(f"{key}.npy")
                foreign.check_claim(f"{key!r} of {path}", member.file_size, member.compress_size)
            return {key: found if (found := kept.get(key)) is not None else archive[key] for key in known}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path} holds pickled objects", "plain numeric and text arrays", "store no dtype=object arrays"
            ) from error
        raise DataError(f"{path} cannot be read: {error}", "a complete .npz archive", "copy it again") from error
    except MemoryError as error:
        raise DataError(f"{path} says it is larger than the memory", "arrays that fit in", "copy it again") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError) as error:
        raise DataError(
            f"{path} is truncated or no .npz archive ({error})", "a complete .npz archive", "copy or record it again"
        ) from error


def columns(values: NDArray) -> int:
    """Count the dimensions of an array of rows; 0 for another one, which is refused later."""
    return values.shape[1] if values.ndim == 2 else 0


def names(arrays: dict[str, NDArray], key: str, kind: str, size: int) -> tuple[str, ...]:
    """Read the names of dimensions, numbered where the archive has none."""
    if key not in arrays:
        return tuple(f"{kind} {i}" for i in range(size))
    return tuple(str(name) for name in np.atleast_1d(arrays[key]))
