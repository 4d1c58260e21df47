"""Local data sets of Minari, without its package.

    NAME/data/metadata.json      total_episodes, data_format, observation_space and action_space as JSON in a text
    NAME/data/main_data.hdf5     see `segue.data.hdf5`

Minari writes the observation after the last action too; it is left out here. A data set does not say its rate.
(The layout is that of Minari 0.5, https://minari.farama.org/content/dataset_standards)
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segue.core import foreign
from segue.data import hdf5
from segue.data.episodes import Episodes
from segue.errors import DataError

METADATA, MAIN = "metadata.json", "main_data.hdf5"
_AGAIN = "download or record the data set again"


def _home(path: Path) -> Path:
    """The folder of the two files: the one given, or its ``data``."""
    return path / "data" if (path / "data" / METADATA).is_file() else path


def is_data_set(path: Path) -> bool:
    """Whether a path is the folder of a data set, or the ``data`` inside of it."""
    home = _home(path)
    return (home / METADATA).is_file() and ((home / MAIN).exists() or (home / "0").is_dir())


def load(path: Path, *, episodes: Sequence[int] | None = None, skip_bad: bool = False, **how: Any) -> Episodes:
    """Read a data set.

    Args:
        path: Its folder.
        episodes: Indices of those that are wanted; None for all.
        skip_bad: Leave out episodes that cannot be used.
        how: Rate, state, action and cameras as `segue.data.hdf5.load`; unless it is named, the state is all numbers
            that are observed, those of a Dict in alphabetical order of their keys.

    Raises:
        DataError: It is stored in another format, its actions are not continuous, an episode is missing, or as
            `segue.data.hdf5.load`.
        MissingExtraError: The package h5py is not installed.
    """
    home = _home(path)
    said = _metadata(home)
    stored = said.get("data_format", "hdf5")
    if stored != "hdf5":
        raise DataError(f"{path}, stored as {str(stored)[:40]!r}", "Minari's HDF5", 'make it with data_format="hdf5"')
    kind = _kind(said.get("action_space"))
    if kind not in (None, "Box"):
        raise DataError(
            got=f"{path} with {kind} actions",
            expected="continuous ones, a Box: chunks are paths, and these have none",
            change="take another data set",
        )
    found = hdf5.load(home / MAIN, episodes=episodes, skip_bad=skip_bad, **how)
    total = said.get("total_episodes")
    if episodes is None and not skip_bad and total is not None and total != len(found):
        raise DataError(f"{len(found)} episodes in {path}", f"{str(total)[:20]}, as its metadata says", _AGAIN)
    return replace(found, source=f"Minari {home.parent.name if home.name == 'data' else home.name}")


def cameras(path: Path) -> tuple[str, ...]:
    """Keys of the arrays of pictures in the first episode."""
    return hdf5.cameras(_home(path) / MAIN)


def _metadata(home: Path) -> dict[str, Any]:
    found = foreign.read_json(home / METADATA)
    if not isinstance(found, dict):
        raise DataError(f"{home / METADATA} without entries", "the metadata of a data set of Minari", _AGAIN)
    return found


def _kind(space: Any) -> str | None:
    """The kind of a space that the metadata describes in a text; None where it describes none."""
    try:
        found = foreign.parsed(space)
    except (TypeError, ValueError):
        return None
    return str(found.get("type"))[:40] if isinstance(found, dict) else None
