"""Zarr replay buffers, as Diffusion Policy (arXiv 2303.04137) and data sets after it keep demonstrations.

    name.zarr/                 a folder, or the same as .zip
      data/action              (frames, action)      frames of all episodes, one episode after the other
      data/<state>             (frames, state)       what the policy sees, if the store has it
      data/<images>                                  never opened
      meta/episode_ends        (episodes,)           exclusive end frame of each episode

Only the arrays that are asked for are read. A store says nothing of its rate, unless it has an attribute ``dt`` [s],
and of the kinds of its dimensions, unless it has the attributes ``action_kinds`` and ``observation_kinds``, lists of
words (`segue.core.dimensions`) for the arrays that are read where none are named.
"""

import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.core.dimensions import LINEAR, Dimensions
from segue.data.choice import Choice, separated
from segue.data.episodes import Episodes, usable
from segue.data.origin import Origin
from segue.errors import DataError, MissingExtraError, SpecError

if TYPE_CHECKING:
    import zarr

ACTION, ENDS = "data/action", "meta/episode_ends"
PREVIOUS_ACTION = "previous-action"
"""In place of a state: each frame sees the action of the frame before."""
STATES = ("data/state", "data/left_robot_tcp_pose")
"""States that are looked for when none is named: the first that the store has."""
# Reading an array runs what its metadata asks for, and one of the codecs of the ecosystem unpickles.
CODECS = frozenset(
    (
        *("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "delta", "shuffle", "bytes", "transpose", "crc32c"),
        *("fixedscaleoffset", "quantize", "astype"),
    )
)
# What the codecs above, and an archive of chunks, say of bytes that they cannot make sense of.
_DAMAGED = (
    *(RuntimeError, ValueError, OSError, EOFError, MemoryError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)


def is_store(path: Path) -> bool:
    """Say whether a path looks like a Zarr store rather than another kind of demonstrations."""
    metadata = (".zgroup", "zarr.json")
    if path.is_dir():
        return any((path / name).is_file() for name in metadata) or path.suffix == ".zarr"
    if not (path.is_file() and path.suffix == ".zip"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name in metadata for name in archive.namelist())
    except zipfile.BadZipFile:
        return True  # `load` says what is wrong with it


def load(
    path: str | Path,
    *,
    rate: float | None = None,
    state: str | None = None,
    action: str | None = None,
    episodes: Sequence[int] | None = None,
    skip_bad: bool = False,
    fill_missing: bool = False,
) -> Episodes:
    """Read a replay buffer.

    Args:
        path: The folder, or the .zip of one.
        rate: Control rate [Hz]; may be left out where the store has an attribute ``dt``.
        state: Key of the observation, such as ``data/state``, or `PREVIOUS_ACTION`; None for the first of `STATES`
            that the store has; several keys, separated by commas, are joined. With the previous action each episode
            loses its first frame, before which there was none, and a policy steers without seeing anything: enough
            for autoencoders and open-loop studies.
        action: Key of what is commanded, the same; None for ``data/action``.
        episodes: Indices of those that are wanted; None for all.
        skip_bad: Leave out episodes with values that are not finite; the notes of the result's origin name them.
        fill_missing: Chunks that are not there are what the store fills with. zarr-python 3 leaves out chunks of zeros
            unless it is told otherwise, and a copy that was broken off looks the same: only the user knows which it is.

    Raises:
        DataError: Something is missing, incomplete, inconsistent or unsafe to read.
        MissingExtraError: The package zarr is not installed.
    """
    path = Path(path)
    root = _open(path)
    try:
        dt = _period(path, root, rate)
        ends = _ends(path, root)
        acted = separated(action, "--action") if action else (ACTION,)
        commands = _vector(path, root, acted, fill_missing)
        seen = separated(state, "--state") if state else tuple(each for each in STATES if each in root)[:1]
        if not seen:
            raise DataError(
                got=f"{path} without a state under {', '.join(STATES)}; it has {_arrays(root)}",
                expected="the key of what the policy is to see",
                change=f"name it with --state data/..., or learn without one: --state {PREVIOUS_ACTION}",
            )
        if seen == (PREVIOUS_ACTION,):
            observation, commands, ends = _after_previous_action(path, commands, ends)
            names = tuple(f"previous action {i}" for i in range(observation.shape[1]))
        else:
            observation = _vector(path, root, seen, fill_missing)
            names = _names(root, seen)
        action_names = _names(root, acted)
        action_kinds = _kinds(path, root, "action_kinds") if action is None else LINEAR
        observation_kinds = _kinds(path, root, "observation_kinds") if state is None else LINEAR
        origin = _origin(root, {*acted, *seen, ENDS})
    finally:
        root.store.close()
    parts = {
        "action_kinds": action_kinds,
        "observation_kinds": observation_kinds,
        "observation": observation,
        "action": commands,
        "ends": ends,
        "dt": dt,
        "observation_names": names,
        "action_names": action_names,
        "state_of_action": (None,) * commands.shape[1],
        "source": f"Zarr store {path.name}",
        "origin": origin,
    }
    return usable(parts, Choice(episodes, skip_bad), str(path))


def _vector(path: Path, root: "zarr.Group", named: Sequence[str], filled: bool) -> NDArray[np.float32]:
    """Arrays side by side, one row per frame."""
    parts = [_rows(path, root, key, filled) for key in named]
    if len({len(part) for part in parts}) > 1:
        raise DataError(
            got=f"{', '.join(named)} of {', '.join(str(len(part)) for part in parts)} rows in {path}",
            expected="as many rows of each",
            change="name arrays of the same frames",
        )
    return np.concatenate(parts, axis=1)


def _names(root: "zarr.Group", named: Sequence[str]) -> tuple[str, ...]:
    """A store has no names: dimensions are numbered behind the key of their array."""
    sizes = [(key.removeprefix("data/"), int(np.prod(root[key].shape[1:], dtype=np.int64))) for key in named]  # type: ignore[union-attr]
    return tuple(f"{key} {i}" for key, size in sizes for i in range(size))


def _origin(root: "zarr.Group", read: set[str]) -> Origin:
    """List what the store has beside the arrays that are read: arrays of pictures, and others."""
    others = [(key, shape) for key, shape in _listed(root) if key not in read and not key.startswith("meta/")]
    return Origin(
        unseen=tuple(key for key, shape in others if len(shape) >= 4),
        unread=tuple(key for key, shape in others if len(shape) < 4),
    )


def _listed(root: "zarr.Group") -> list[tuple[str, tuple[int, ...]]]:
    """Every array of the store and its shape, groups within groups too; those that cannot be listed are left out."""
    import zarr

    found = list[tuple[str, tuple[int, ...]]]()
    try:
        for name, member in root.members(max_depth=4):
            if isinstance(member, zarr.Array):
                found.append((name, tuple(member.shape)))
    except (ValueError, TypeError, KeyError, OSError):  # an array under a codec that is not installed here
        pass
    return sorted(found)


def _open(path: Path) -> "zarr.Group":
    try:
        import zarr
        from zarr.storage import ZipStore
    except ImportError as error:
        raise MissingExtraError("zarr", "zarr", f"reading {path}") from error
    if not path.exists():
        raise DataError(f"no folder or file {path}", "a Zarr store, folder or .zip", "check the path")
    _check_ordinary(path, ("*", "*/*", "*/.z*"))
    try:
        store = str(path) if path.is_dir() else ZipStore(path, mode="r")
        return zarr.open_group(store, mode="r", path=_inside(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            got=f"{path} cannot be opened: {error}",
            expected=f"a Zarr group with {ACTION} and {ENDS}",
            change="pass the folder that holds .zgroup, or copy the store again",
        ) from error


def _check_ordinary(folder: Path, patterns: Sequence[str]) -> None:
    """Raise `DataError` where a part of a store is a device or a pipe, which would be read without an end."""
    for pattern in patterns if folder.is_dir() else ():
        for file in folder.glob(pattern):
            if not file.is_dir():
                foreign.regular(file)


def _inside(path: Path) -> str:
    """Find where in an archive its store begins: whoever packs a folder often packs it with its name."""
    if path.is_dir():
        return ""
    with zipfile.ZipFile(path) as archive:
        roots = [Path(name).parent for name in archive.namelist() if Path(name).name in (".zgroup", "zarr.json")]
    return min(roots, key=lambda each: len(each.parts)).as_posix() if roots and Path() not in roots else ""


def _period(path: Path, root: "zarr.Group", rate: float | None) -> float:
    """Control period [s]."""
    stored: Any = root.attrs.get("dt")
    if rate is None and stored is None:
        raise DataError(
            got=f"{path}, which does not say at which rate it was recorded",
            expected="the control rate in Hz",
            change="add --rate 10 with the rate of the recording, or store the attribute dt [s]",
        )
    value = stored if rate is None else rate
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise DataError(
            got=f"{'rate' if rate is not None else 'attribute dt'} = {value!r} for {path}",
            expected="a positive number: the rate in Hz, the attribute in seconds",
            change="correct it",
        )
    return float(value) if rate is None else 1.0 / rate


def _kinds(path: Path, root: "zarr.Group", key: str) -> Dimensions:
    """Words of an attribute, one per dimension of the arrays that are read where none are named."""
    words: Any = root.attrs.get(key, ())
    try:
        return Dimensions.of(*words)
    except (SpecError, TypeError, AttributeError) as error:
        raise DataError(
            f"attribute {key} of {path}: {error}", "a list of a word per dimension", "see docs/dimensions.md"
        ) from error


def _ends(path: Path, root: "zarr.Group") -> NDArray[np.int64]:
    ends = _read(path, root, ENDS)
    if ends.ndim != 1 or ends.dtype.kind not in "iu":
        raise DataError(
            got=f"{ENDS} of shape {ends.shape} and type {ends.dtype} in {path}",
            expected="(episodes,) whole numbers: the exclusive end frame of each episode",
            change="store cumulative ends",
        )
    return ends.astype(np.int64)


def _rows(path: Path, root: "zarr.Group", key: str, filled: bool) -> NDArray[np.float32]:
    """An array with one row per frame, further axes laid out flat."""
    values = _read(path, root, key, filled)
    if values.ndim < 1 or values.dtype.kind not in "fiu":
        raise DataError(
            got=f"{key} of shape {values.shape} and type {values.dtype} in {path}",
            expected="numbers, one row per frame",
            change="name another array",
        )
    return np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)


def _read(path: Path, root: "zarr.Group", key: str, filled: bool = False) -> NDArray:
    import zarr

    if ".." in Path(key).parts or Path(key).is_absolute():
        raise DataError(f"{key!r} for {path}", "the key of an array in the store", "name it as the store does")
    _check_ordinary(path / key, ("**/*",))
    try:
        array = root[key]
    except KeyError as error:
        raise DataError(
            f"{path} without {key!r}; it has {_arrays(root)}",
            f"an array {key!r}",
            "name another with --action or --state; several, separated by commas, are joined",
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise DataError(f"{key!r} of {path}: {error}", "an array that zarr can read", "store it again") from error
    if not isinstance(array, zarr.Array):
        raise DataError(f"{key!r} of {path} is a group", "an array", f"it has {_arrays(root)}")
    # before a byte is decoded: a codec is code that the metadata chooses
    unknown = _codecs(array.metadata.to_dict()) - CODECS
    if unknown or array.dtype.kind == "O":
        raise DataError(
            got=f"{key!r} of {path} stored with {', '.join(sorted(unknown)) or 'objects'}",
            expected=f"numbers under one of the codecs {', '.join(sorted(CODECS))}",
            change="store it again as plain numbers; nothing is ever unpickled here",
        )
    # zarr reads a chunk that is missing as the fill value, without a word
    if array.nchunks_initialized < array.nchunks and not filled:
        raise DataError(
            got=f"{key!r} of {path} with {array.nchunks_initialized} of {array.nchunks} chunks",
            expected="all of them: what is missing would be read as zeros",
            change="copy the store again; where zeros are meant, add --fill-missing",
        )
    try:
        foreign.check_claim(f"{key!r} of {path}", array.nbytes, array.nbytes_stored())
        return np.asarray(array[:])
    except _DAMAGED as error:
        raise DataError(
            f"{key!r} of {path} cannot be read: {error}", "a whole array", "copy the store again"
        ) from error


def _codecs(metadata: dict[str, Any]) -> set[str]:
    """Names of everything that decoding an array would run."""
    stages = [*(metadata.get("filters") or ()), *(metadata.get("codecs") or ())]
    stages += [metadata["compressor"]] if metadata.get("compressor") else []
    return {str(stage.get("id") or stage.get("name")).removeprefix("numcodecs.") for stage in stages}


def _arrays(root: "zarr.Group") -> str:
    """List the arrays of the store, for people."""
    return ", ".join(key for key, _ in _listed(root)) or "nothing that can be listed"


def _after_previous_action(
    path: Path, action: NDArray[np.float32], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Frames with the action before each as observation; the first frame of every episode is gone."""
    lengths = np.diff(ends, prepend=0)
    if len(ends) == 0 or lengths.min() < 2 or ends[-1] != len(action):
        raise DataError(
            got=f"{path} with {len(action)} actions and episodes of {lengths.tolist()[:8]} frames",
            expected="episodes of at least two frames that end where the actions end",
            change="remove the shorter ones, or name a state",
        )
    # all frames but the first of each episode; the action before each is one row up
    later = np.delete(np.arange(len(action)), ends - lengths)
    return action[later - 1], action[later], ends - np.arange(1, len(ends) + 1)
