"""Demonstrations from a path, whatever keeps them there."""

from pathlib import Path

from segue.data import episodes, zarr
from segue.data.episodes import Episodes
from segue.errors import DataError


def load(path: Path, *, rate: float | None = None, state: str | None = None) -> Episodes:
    """Read an ``.npz`` file (`segue.data.episodes`) or a Zarr store (`segue.data.zarr`).

    Args:
        path: File or folder.
        rate: Control rate [Hz], for stores that do not know it.
        state: What the policy is to see, for stores with a choice.

    Raises:
        DataError: It cannot be used, or an option is given that a file of this kind has no use for.
    """
    if zarr.is_store(path):
        return zarr.load(path, rate=rate, state=state)
    given = [name for name, value in (("--rate", rate), ("--state", state)) if value is not None]
    if given and path.is_file():
        raise DataError(
            got=f"{' and '.join(given)} for {path}",
            expected="these options with a Zarr store only: an .npz file says itself what it holds",
            change="leave them out",
        )
    return episodes.load(path)
