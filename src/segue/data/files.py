"""Demonstrations from a path, whatever keeps them there."""

from collections.abc import Sequence
from pathlib import Path

from segue.data import episodes, zarr
from segue.data.episodes import Episodes
from segue.data.lerobot import layout as lerobot
from segue.data.lerobot import reader
from segue.errors import DataError


def load(path: Path, *, rate: float | None = None, state: str | None = None, cameras: Sequence[str] = ()) -> Episodes:
    """Read an ``.npz`` file (`segue.data.episodes`), a Zarr store (`segue.data.zarr`) or a data set of LeRobot.

    Args:
        path: File or folder.
        rate: Control rate [Hz], for stores that do not know it.
        state: What the policy is to see, for stores with a choice.
        cameras: Whose pictures it is to see, for data sets of LeRobot; an ``.npz`` file's are always there.

    Raises:
        DataError: It cannot be used, or an option is given that a file of this kind has no use for.
    """
    if cameras and not lerobot.is_data_set(path):
        raise DataError(f"--cameras for {path}", "a data set of LeRobot", "leave it out")
    if zarr.is_store(path):
        return zarr.load(path, rate=rate, state=state)
    if lerobot.is_data_set(path):
        if rate is not None:
            raise DataError(f"--rate for {path}", "the rate that the data set itself names", "leave it out")
        return reader.load(path, state=state or lerobot.STATE, cameras=cameras)
    given = [name for name, value in (("--rate", rate), ("--state", state)) if value is not None]
    if given and path.is_file():
        raise DataError(
            got=f"{' and '.join(given)} for {path}",
            expected="them with Zarr stores, or --state with data sets of LeRobot: an .npz file says what it holds",
            change="leave them out",
        )
    return episodes.load(path)
