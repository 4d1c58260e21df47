"""Demonstrations in HDF5, as ALOHA's recorders and robomimic keep them.

    episode_0.hdf5, episode_1.hdf5, ...           ALOHA: a folder of files, an episode each
      action                                      (frames, action)
      observations/qpos, observations/qvel        (frames, joints)
      observations/images/NAME                    (frames, height, width, 3) uint8, or (frames, bytes) uint8: JPEG

    NAME.hdf5                                     robomimic, and LIBERO and robosuite after it: a file of episodes
      data/demo_0/actions                         (frames, action)
      data/demo_0/obs/NAME                        (frames, ...), pictures (frames, height, width, 3) uint8

    main_data.hdf5                                Minari (see `segue.data.minari`): a file of episodes
      episode_0/actions                           (frames, action)
      episode_0/observations                      (frames + 1, observation), or a group of such arrays

A key is one inside of an episode: ``observations/qpos``, ``obs/robot0_eef_pos``. Neither says its rate, except that
robomimic's files often have it in ``env_args``. Only the arrays that are asked for are read; links to other files are
not followed.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.core.observation import Cameras
from segue.data.choice import Choice, separated
from segue.data.episodes import Episodes
from segue.data.lerobot import images
from segue.data.origin import Origin
from segue.data.pictures import Pictures
from segue.errors import DataError, MissingExtraError

SUFFIXES = (".hdf5", ".h5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ACTIONS = ("action", "actions")
STATES = (
    ("observations/qpos",),
    ("obs/robot0_eef_pos", "obs/robot0_eef_quat", "obs/robot0_gripper_qpos"),
    ("obs/ee_states", "obs/gripper_states"),
)
"""States that are looked for when none is named: the first of which an episode has all arrays."""
_MINARI = re.compile("episode_[0-9]+")
"""Groups at the top of a file of Minari."""
_DENSEST = 1100
"""Numbers take at most this many times their room in the file; deflate reaches 1032. More is a claim, not data."""
_DEEPEST = 4
_AGAIN = "copy or record it again"


def is_hdf5(path: Path) -> bool:
    """Say whether a path is an HDF5 file, or a folder of some."""
    if path.is_dir():
        return bool(_files(path))
    if not path.is_file():
        return False
    return path.suffix.lower() in SUFFIXES or foreign.begins(path, len(_SIGNATURE)) == _SIGNATURE


def _files(path: Path) -> list[Path]:
    """The files, by the numbers in their names: episode_2 comes before episode_10."""
    if not path.is_dir():
        return [path]
    return sorted(
        (each for each in path.iterdir() if each.suffix.lower() in SUFFIXES), key=lambda each: _order(each.name)
    )


def _order(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part[:18]), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts]


@dataclass(frozen=True)
class _Episode:
    """Place of one episode: a group of a file, with so many observations beyond its actions, which are not read."""

    file: Path
    group: str
    beyond: int = 0

    @property
    def where(self) -> str:
        return f"{self.file}" if self.group == "/" else f"{self.group} of {self.file}"


def load(
    path: str | Path, *, rate: float | None = None, state: str | None = None, action: str | None = None,
    cameras: Sequence[str] = (), episodes: Sequence[int] | None = None, skip_bad: bool = False,
) -> Episodes:  # fmt: skip
    """Read the episodes of a file, or of all files of a folder, in the order of the numbers in their names.

    Args:
        path: The file, or the folder.
        rate: May be left out where the file says it; the other arguments are as in `segue.data.files.load`.
        state: A key, or several with commas; None for the first of `STATES`.
        action: The same; None for the first of `ACTIONS`.
        cameras: Keys of the arrays of pictures.
        episodes: Indices.
        skip_bad: See there.

    Raises:
        DataError: Something is missing, damaged or inconsistent, or the file does not say its rate.
        MissingExtraError: The package h5py is not installed.
    """
    path, choice = Path(path), Choice(episodes, skip_bad)
    there = [each for file in _files(path) for each in _episodes_of(file)]
    chosen = choice.of(range(len(there)), str(path))
    choice.some(chosen, str(path))
    keys = _keys(there[chosen[0]], state, action)
    period = _period(there[chosen[0]], rate)
    parts = dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]()
    sizes = dict[str, list[int]]()
    for index in chosen:
        with choice.trying([index]), _group(there[index]) as group:
            read = [[_array(group, key, there[index]) for key in side] for side in keys]
            parts[index] = _fitting(read[0], read[1], there[index], sizes, keys)
    kept = [index for index in chosen if index not in choice.left_out]
    choice.some(kept, str(path))
    first = parts[kept[0]]
    found = Episodes(
        observation=np.concatenate([parts[index][0] for index in kept]),
        action=np.concatenate([parts[index][1] for index in kept]),
        ends=np.cumsum([len(parts[index][1]) for index in kept], dtype=np.int64),
        dt=period,
        observation_names=_numbered(keys[0], sizes["state"]),
        action_names=_numbered(keys[1], sizes["action"]),
        state_of_action=_anchors(keys, first),
        source=f"HDF5 {path.name}",
        pictures=_pictures([there[index] for index in kept], cameras, [len(parts[index][1]) for index in kept]),
    )
    return replace(found, origin=_origin(there[kept[0]], keys, cameras, choice.notes()))


def cameras(path: Path) -> tuple[str, ...]:
    """Keys of the arrays of pictures in the first episode."""
    with _group(_episodes_of(_files(path)[0])[0]) as group:
        return tuple(key for key, shape in _arrays(group).items() if _pictured(key, shape))


def _episodes_of(file: Path) -> list[_Episode]:
    """The episodes of a file: itself, or the groups under ``data``, or Minari's."""
    with _opened(file) as content:
        data = content.get("data", getlink=True) and content.get("data")
        if hasattr(data, "keys"):
            groups = sorted((name for name in data if hasattr(data.get(name), "keys")), key=_order)
            if groups:
                return [_Episode(file, f"/data/{name}") for name in groups]
        if groups := sorted((name for name in content if _MINARI.fullmatch(name)), key=_order):
            return [_Episode(file, f"/{name}", beyond=1) for name in groups]
        return [_Episode(file, "/")]


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    h5py = _h5py()
    foreign.regular(file)
    try:
        with h5py.File(file, "r", locking=False) as content:
            yield content
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            got=f"{file} cannot be read: {' '.join(str(error).split())[:200]}",
            expected="a whole HDF5 file",
            change=_AGAIN,
        ) from error


@contextmanager
def _group(episode: _Episode) -> Iterator[Any]:
    with _opened(episode.file) as content:
        yield content[episode.group]


def _arrays(group: Any, prefix: str = "", met: set[int] | None = None) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of all arrays; links to other files, and groups that were met before, are left out."""
    h5py, found, met = _h5py(), dict[str, tuple[int, ...]](), set() if met is None else met
    met.add(h5py.h5o.get_info(group.id).addr)  # a group may be a member of itself
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        member = group[name]
        if isinstance(member, h5py.Dataset):
            found[prefix + name] = member.shape or ()
        elif prefix.count("/") < _DEEPEST and h5py.h5o.get_info(member.id).addr not in met:
            found |= _arrays(member, f"{prefix}{name}/", met)
    return found


def _keys(episode: _Episode, state: str | None, action: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Arrays of state and action, named or usual."""
    with _group(episode) as group:
        there = _arrays(group)
    commands = separated(action, "--action") if action else next(((key,) for key in ACTIONS if key in there), ())
    usual = (*STATES, *([_all_observed(there)] if episode.beyond else []))
    observed = separated(state, "--state") if state else next((each for each in usual if set(each) <= there.keys()), ())
    missing = [key for key in (*observed, *commands) if key not in there]
    if missing or not commands or not observed:
        vectors = ", ".join(f"{key} {shape}" for key, shape in there.items() if not _pictured(key, shape))
        what = (
            f"without {missing[0]!r}"
            if missing
            else f"without {'a state' if commands else 'an action'} of a usual name"
        )
        raise DataError(
            got=f"{episode.where} {what}",
            expected=f"keys of its arrays: {vectors[:600] or 'none'}",
            change="name them with --state and --action; several, separated by commas, are joined",
        )
    return observed, commands


def _all_observed(there: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Keys of all numbers under ``observations``, in alphabetical order."""
    keys = (key for key, shape in there.items() if key.split("/")[0] == "observations" and not _pictured(key, shape))
    return tuple(sorted(keys, key=lambda key: key.split("/")))


def _array(group: Any, key: str, episode: _Episode) -> NDArray[Any]:
    """An array of numbers, refused before it is read where it is not in the file, or not as large as it claims."""
    dataset = _dataset(group, key, episode)
    if dataset.dtype.kind not in "fiub" or not dataset.shape:
        raise DataError(
            got=f"{key!r} of type {dataset.dtype} and shape {dataset.shape} in {episode.where}",
            expected="numbers, one row per frame",
            change="name another array",
        )
    values = dataset[()]
    with np.errstate(over="ignore"):
        found = np.asarray(values.reshape(len(values), -1), np.float32)
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        raise DataError(
            got=f"{key!r} is not finite at step {wrong[0][0]}, dimension {wrong[0][1]}, in {episode.where}",
            expected="finite numbers",
            change="remove or mend that episode",
        )
    return found


def _dataset(group: Any, key: str, episode: _Episode) -> Any:
    h5py, member = _h5py(), group
    # Step by step, for `group[key]` would follow a link into another file on the way.
    for name in key.split("/"):
        link = member.get(name, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise DataError(f"{episode.where} without {key!r}", "the same arrays in each episode", "name another array")
        member = member[name]
    if not isinstance(member, h5py.Dataset):
        raise DataError(f"{key!r} of {episode.where} is a group", "an array", "name an array in it")
    if member.external or member.is_virtual:
        raise DataError(f"{key!r} of {episode.where} lies in other files", "an array in this file", "store it there")
    # An array that was never written takes no room, and would be read as zeros.
    if member.nbytes > _DENSEST * member.id.get_storage_size() + 4096:
        raise DataError(
            got=f"{key!r} of {episode.where}, {member.nbytes} bytes in {member.id.get_storage_size()} of the file",
            expected="an array that was written",
            change=_AGAIN,
        )
    foreign.check_claim(f"{key!r} of {episode.where}", member.nbytes, member.id.get_storage_size())
    return member


def _fitting(
    states: list[NDArray], actions: list[NDArray], episode: _Episode, sizes: dict[str, list[int]], keys: Sequence[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """State and action of an episode, as many rows of each and as wide as those before."""
    states = [each[: len(each) - episode.beyond] for each in states]
    rows = {len(each) for each in (*states, *actions)}
    if len(rows) > 1 or 0 in rows:
        raise DataError(
            got=f"{' and '.join(map(str, sorted(rows)))} rows in {episode.where}",
            expected="one row per frame in each array",
            change="drop the last observation if it was recorded after the last action",
        )
    for name, side, arrays in zip(("state", "action"), keys, (states, actions), strict=True):
        widths = [each.shape[1] for each in arrays]
        if sizes.setdefault(name, widths) != widths:
            raise DataError(
                got=f"{', '.join(side)} of {widths} dimensions in {episode.where}",
                expected=f"{sizes[name]}, as in the episodes before",
                change="do not mix robots in one recording",
            )
    return np.concatenate(states, axis=1), np.concatenate(actions, axis=1)


def _numbered(keys: Sequence[str], sizes: list[int]) -> tuple[str, ...]:
    """A file has no names: dimensions are numbered behind the last part of their key."""
    short = [key.rsplit("/", 1)[-1] for key in keys]
    plain = short if len(set(short)) == len(short) else list(keys)
    return tuple(f"{key} {i}" for key, size in zip(plain, sizes, strict=True) for i in range(size))


def _anchors(keys: tuple[Any, Any], parts: tuple[NDArray, NDArray]) -> tuple[int | None, ...]:
    """ALOHA commands the positions of the joints that it measures, in their order; of others nothing is known."""
    size = parts[1].shape[1]
    alike = keys == (("observations/qpos",), ("action",)) and parts[0].shape[1] == size
    return tuple(range(size)) if alike else (None,) * size


def _period(episode: _Episode, rate: float | None) -> float:
    """Control period [s]."""
    told = _told_rate(episode) if rate is None else rate
    if told is None:
        raise DataError(
            got=f"{episode.file}, which does not say at which rate it was recorded",
            expected="the control rate in Hz",
            change="add --rate with the rate of the recording; ALOHA's recorders run at 50",
        )
    if not 0 < told < float("inf"):
        raise DataError(f"rate {told} for {episode.file}", "a positive rate in Hz", "correct it")
    return 1 / told


def _told_rate(episode: _Episode) -> float | None:
    """The control rate in robomimic's ``env_args``, if the file has it."""
    told: Any
    with _opened(episode.file) as content:
        data = content.get("data")
        told = None if data is None else data.attrs.get("env_args")
    try:
        found = foreign.parsed(told)["env_kwargs"]["control_freq"]
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
    except (TypeError, ValueError, KeyError, OverflowError):
        return None


def _pictured(key: str, shape: tuple[int, ...]) -> bool:
    """Say whether an array has pictures; rows of bytes under ``images`` are JPEG files."""
    return (len(shape) == 4 and shape[3] == 3) or (len(shape) == 2 and "images/" in key)


def _pictures(episodes: list[_Episode], keys: Sequence[str], lengths: list[int]) -> dict[str, Pictures]:
    """Pictures of all frames, in files without names."""
    if not keys:
        return {}
    sizes: Cameras = {}
    for key in keys:
        with _group(episodes[0]) as group:
            sizes = {**sizes, key: _decoded(_dataset(group, key, episodes[0]), 0, key).shape[:2]}
    stores, first = images.scratch(sum(lengths), sizes), 0
    for episode, length in zip(episodes, lengths, strict=True):
        with _group(episode) as group:
            for key, store in stores.items():
                dataset = _dataset(group, key, episode)
                if len(dataset) != length + episode.beyond:
                    raise DataError(f"{len(dataset)} pictures of {key!r} in {episode.where}", f"{length}", _AGAIN)
                for frame in range(length):
                    picture = _decoded(dataset, frame, key)
                    if picture.shape != store.shape[1:]:
                        raise DataError(
                            got=f"a picture of {key!r} of shape {picture.shape} in {episode.where}",
                            expected=f"{store.shape[1:]}, as in the first episode",
                            change=_AGAIN,
                        )
                    store[first + frame] = picture
        first += length
    return {key: Pictures.of(store) for key, store in stores.items()}


def _decoded(dataset: Any, frame: int, key: str) -> NDArray[np.uint8]:
    """Decode one picture. Shape (height, width, 3); a row of bytes is a JPEG file, filled up with zeros."""
    if dataset.dtype != np.uint8 or not _pictured(key, dataset.shape):
        raise DataError(
            got=f"{key!r} of type {dataset.dtype} and shape {dataset.shape}",
            expected="(frames, height, width, 3) of uint8, or rows of JPEG files",
            change="name another camera",
        )
    values = dataset[frame]
    return values if values.ndim == 3 else images.decoded_of_any_size(values.tobytes(), f"frame {frame} of {key!r}")


def _origin(episode: _Episode, keys: tuple[Any, Any], cameras: Sequence[str], notes: tuple[str, ...]) -> Origin:
    with _group(episode) as group:
        there = _arrays(group)
    read = {*keys[0], *keys[1], *cameras}
    return Origin(
        unseen=tuple(key for key, shape in there.items() if _pictured(key, shape) and key not in read),
        unread=tuple(key for key, shape in there.items() if not _pictured(key, shape) and key not in read),
        notes=notes,
    )


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "hdf5", "an HDF5 file") from error
    return h5py
