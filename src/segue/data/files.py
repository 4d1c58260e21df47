"""Demonstrations from a path, whatever keeps them there."""

import re
from collections.abc import Sequence
from pathlib import Path

from segue.data import episodes as archives
from segue.data import hdf5, minari, zarr
from segue.data.declaration import declared
from segue.data.episodes import Episodes
from segue.data.kept import hub
from segue.data.lerobot import images, reader
from segue.data.lerobot import layout as lerobot
from segue.errors import DataError

READ = "an .npz file, a Zarr store, HDF5 files or a data set of LeRobot or Minari"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_CONVERT = "write it as a data set of LeRobot with the project's own converter, or as .npz (docs/data.md has a recipe)"
_FOREIGN = {
    ".tfrecord": ("RLDS (TFRecord)", "openpi's and LeRobot's examples convert RLDS with tensorflow_datasets; or "),
    ".mcap": ("an MCAP log", "resample its topics to one rate with the package mcap; or "),
    ".bag": ("a ROS bag", "resample its topics to one rate with the package rosbags; or "),
    ".db3": ("a ROS 2 bag", "resample its topics to one rate with the package rosbags; or "),
    ".csv": ("a table of text", "np.loadtxt reads it; or "),
    ".parquet": ("a Parquet file alone", "give the folder of its data set, the one with meta/info.json; or "),
    ".pkl": ("a pickle, which may run anything when it is opened", "open it yourself where you trust it; or "),
    ".mp4": ("a video alone", "give the folder of its data set, the one with meta/info.json; or "),
}
"""Formats that demonstrations come in and that are not read here: what to call them, and what to do."""


def load(
    path: Path,
    *,
    rate: float | None = None,
    state: str | None = None,
    action: str | None = None,
    cameras: Sequence[str] = (),
    episodes: Sequence[int] | None = None,
    skip_bad: bool = False,
    fill_missing: bool = False,
    kind: Sequence[str] = (),
) -> Episodes:
    """Read an ``.npz`` file (`segue.data.episodes`), a Zarr store, HDF5 files or a data set of LeRobot or Minari.

    Args:
        path: File or folder, or hf:USER/NAME of a data set of the hub.
        rate: Control rate [Hz], for recordings that do not know it.
        state: Observation of the policy, for recordings with a choice; several names, separated by commas, are joined.
        action: Action of the policy, the same.
        cameras: Whose pictures it is to see, for data sets of LeRobot and HDF5; an ``.npz`` file's are always there.
        episodes: Indices of those that are wanted; None for all.
        skip_bad: Leave out episodes that cannot be used; the notes of the result's origin name them.
        fill_missing: Chunks that a Zarr store does not have are what it fills with.
        kind: What dimensions are, beside what the recording says itself: see `segue.data.declaration.declared`.

    Raises:
        DataError: It cannot be used, or an option is given that a file of this kind has no use for.
    """
    path, chosen = hub.local(path, hub.DATA), {"episodes": episodes, "skip_bad": skip_bad}
    named = {"state": state, "action": action}
    if zarr.is_store(path):
        _no_use(path, "a data set of LeRobot, or HDF5", cameras=cameras)
        return declared(zarr.load(path, rate=rate, fill_missing=fill_missing, **named, **chosen), kind)
    _no_use(path, "Zarr stores", fill_missing=fill_missing)
    if lerobot.is_data_set(path):
        _no_use(path, "recordings without a rate of their own: this data set names its rate", rate=rate)
        return declared(reader.load(path, cameras=cameras, **named, **chosen), kind)
    if minari.is_data_set(path):
        return declared(minari.load(path, rate=rate, cameras=cameras, **named, **chosen), kind)
    if hdf5.is_hdf5(path):
        return declared(hdf5.load(path, rate=rate, cameras=cameras, **named, **chosen), kind)
    _check_kind(path)
    _no_use(path, "other files: an .npz file says what it holds", rate=rate, cameras=cameras, **named)
    return declared(archives.load(path, **chosen), kind)


def cameras(path: Path) -> tuple[str, ...]:
    """Cameras whose pictures `load` reads where they are named; those of an ``.npz`` file need not be."""
    path = hub.local(path, hub.DATA)
    if lerobot.is_data_set(path):
        return images.coloured(lerobot.read_info(path))
    if minari.is_data_set(path):
        return minari.cameras(path)
    return hdf5.cameras(path) if hdf5.is_hdf5(path) else ()


def _no_use(path: Path, expected: str, **options: object) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value not in (None, (), [], False)]
    if given:
        raise DataError(f"{' and '.join(given)} for {path}", f"{given[0]} with {expected}", "leave it out")


def _check_kind(path: Path) -> None:
    """Raise `DataError` for what is no file of ours, with what it is and what to do about it."""
    if not path.exists():
        name = _HUB_NAME.fullmatch(str(path)) is not None and not path.suffix
        raise DataError(got=f"no file {path}", expected=READ, change=_of_the_hub(path) if name else "check the path")
    inside = sorted(path.iterdir())[:1000] if path.is_dir() else [path]
    kinds = {_suffix(each) for each in inside}
    for suffix, (what, how) in _FOREIGN.items():
        if suffix in kinds:
            raise DataError(f"{path} is {what}" if path.is_file() else f"{path} holds {what}", READ, how + _CONVERT)
    if path.is_dir():
        deeper = [each for each in inside if each.is_dir() and (lerobot.is_data_set(each) or zarr.is_store(each))]
        listed = ", ".join(each.name for each in inside[:6]) or "nothing"
        raise DataError(
            got=f"{path} is a folder that holds {listed}{' ...' if len(inside) > 6 else ''}",
            expected=f"{READ}; a data set of LeRobot has meta/info.json",
            change=f"give {deeper[0]}"
            if deeper
            else "give the folder or file of the recording; docs/data.md says more",
        )


def _of_the_hub(path: Path) -> str:
    return (
        f"check the path; a data set of the hub is hf:{path}, which is downloaded, or a folder that is here already: "
        f"hf download --repo-type dataset {path} --local-dir {path.name} "
        f"(LeRobot's own downloads are in ~/.cache/huggingface/lerobot)"
    )


def _suffix(path: Path) -> str:
    """Read the kind of a file off its name; shards of TFRecord have it in the middle."""
    return ".tfrecord" if ".tfrecord" in path.name else path.suffix.lower()
