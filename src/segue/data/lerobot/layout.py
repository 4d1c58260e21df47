"""What a data set says about itself in ``meta/info.json``, checked before anything else is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import DataError, MissingExtraError, SpecError

INFO = Path("meta/info.json")
OURS = Path("meta/segue.json")
"""What LeRobot has no word for: ``{"state_of_action": [0, null, ...]}``, an index into `STATE` per action, and the words
of ``"action_kinds"`` and ``"observation_kinds"`` (`segue.core.dimensions`), all optional. It lets a file of ours be;
unknown entries of ``info.json`` are dropped when it goes on recording."""
ACTION, STATE = "action", "observation.state"
KINDS = ("action_kinds", "observation_kinds")
INDICES = ("timestamp", "frame_index", "episode_index", "index")
"""Columns of every frame that its place is checked by."""


@dataclass(frozen=True)
class Feature:
    """One vector per frame.

    Attributes:
        key: Column.
        names: One per dimension.
    """

    key: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What reading needs of ``info.json``.

    Attributes:
        root: Folder of the data set.
        version: ``v2.1`` or ``v3.0``.
        fps: Frames per second.
        action: The action.
        state: What the policy is to see.
        info: All of the file.
    """

    root: Path
    version: str
    fps: float
    action: Feature
    state: Feature
    info: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """The file that this was read from."""
        return self.root / INFO

    def count(self, key: str, default: int) -> int:
        """A whole number that ``info.json`` may name, at least 1.

        Raises:
            DataError: It is something else.
        """
        found = self.info.get(key, default)
        if type(found) is not int or found < 1:
            raise DataError(f"{key} {found!r} in {self.file}", "a whole number, at least 1", "correct the file")
        return found

    def place(self, template: str, parts: Mapping[str, int | str]) -> Path:
        """Path of a file after a template of ``info.json``; never outside of the data set.

        Args:
            template: ``data_path`` or ``video_path``.
            parts: What is put into it.

        Raises:
            DataError: There is no such template, it does not fit, or it leads out.
        """
        given = self.info.get(template)
        try:
            path = self.root / str(given).format(**parts)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise DataError(
                f"{template} {given!r} in {self.file}", f"a template over {', '.join(parts)}", "correct the file"
            ) from error
        if given is None or not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(f"{template} {given!r} in {self.file}", "files inside of the data set", "correct the file")
        return path


def is_data_set(path: Path) -> bool:
    """Whether a folder is a data set of LeRobot."""
    return (path / INFO).is_file()


def read_layout(root: Path, state: str) -> Layout:
    """Read and check ``info.json``.

    Args:
        root: Folder of the data set.
        state: Key of the observation.

    Raises:
        DataError: The file is missing or broken, the version is another one, or a feature cannot be used.
    """
    file = root / INFO
    try:
        info = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{file} cannot be read: {error}", "the JSON file that LeRobot writes", "copy or download it again"
        ) from error
    if not isinstance(info, dict):
        raise DataError(f"{file} holds {type(info).__name__}", "a JSON object", "copy or download it again")
    version = info.get("codebase_version")
    if version not in ("v2.1", "v3.0"):
        raise DataError(
            got=f"codebase_version {version!r} in {file}",
            expected="'v2.1' or 'v3.0'",
            change="convert the data set with LeRobot's own scripts",
        )
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not fps > 0:
        raise DataError(f"fps {fps!r} in {file}", "a positive rate [Hz]", "correct the file")
    return Layout(root, version, float(fps), _feature(file, info, ACTION), _feature(file, info, state), info)


def _feature(file: Path, info: Mapping[str, Any], key: str) -> Feature:
    features = info.get("features")
    features = features if isinstance(features, dict) else {}
    if not isinstance(features.get(key), dict):
        vectors = [name for name, each in features.items() if isinstance(each, dict) and _length(each)]
        raise DataError(
            got=f"no feature {key!r} in {file}",
            expected=f"an action and a state; vectors there: {', '.join(vectors) or 'none'}",
            change="name the state with --state, or record it",
        )
    feature, size = features[key], _length(features[key])
    if not size:
        raise DataError(
            got=f"feature {key!r} of type {feature.get('dtype')!r} and shape {feature.get('shape')} in {file}",
            expected="a vector of numbers, such as float32 of shape [7]",
            change="name another state with --state; images are not read here",
        )
    names = _names(feature.get("names"), key, size)
    if names is None or len(names) != size or len(set(names)) != size:
        raise DataError(
            got=f"names {feature.get('names')!r} of feature {key!r} in {file}",
            expected=f"{size} different names, one per dimension",
            change="correct the names: joints that were renamed or left out cannot be told apart",
        )
    return Feature(key, names)


def _length(feature: Mapping[str, Any]) -> int:
    """Dimensions of a vector feature, 0 for anything else."""
    shape, kind = feature.get("shape"), feature.get("dtype")
    numbers = isinstance(kind, str) and kind.startswith(("float", "int", "uint"))
    if not (numbers and isinstance(shape, list) and len(shape) == 1 and isinstance(shape[0], int)):
        return 0
    return shape[0]


def _names(given: Any, key: str, size: int) -> tuple[str, ...] | None:
    """Names come as a list, as a list under one key (``motors``, ``axes``), or not at all; None for anything else."""
    if isinstance(given, dict):
        lists = list(given.values())
        given = lists[0] if len(lists) == 1 and isinstance(lists[0], list) else list(given)
    if given is None:
        return tuple(f"{key} {i}" for i in range(size))
    return tuple(str(name) for name in given) if isinstance(given, list) else None


def state_of_action(layout: Layout) -> tuple[int | None, ...]:
    """Of each action dimension the state that measures the same: what `OURS` says, else the one of its name.

    Raises:
        DataError: `OURS` is broken, or does not fit.
    """
    file, names = layout.root / OURS, layout.state.names
    if layout.state.key != STATE or not file.is_file():
        return tuple(names.index(name) if name in names else None for name in layout.action.names)
    try:
        content = json.loads(file.read_text())
        if isinstance(content, dict) and "state_of_action" not in content and content.keys() & set(KINDS):
            return tuple(names.index(name) if name in names else None for name in layout.action.names)
        told = content["state_of_action"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} cannot be read: {error!r}", '{"state_of_action": [...]}', "remove it, or write the data set again"
        ) from error
    known = range(len(names))
    fits = isinstance(told, list) and all(each is None or (type(each) is int and each in known) for each in told)
    if not fits or len(told) != len(layout.action.names):
        raise DataError(
            got=f"state_of_action {str(told)[:100]} in {file}",
            expected=f"{len(layout.action.names)} entries, each an index below {len(names)} or null",
            change="correct it, or remove the file: actions are then relative to the states of their names",
        )
    return tuple(told)


def declared_kinds(layout: Layout) -> tuple[Dimensions, Dimensions]:
    """Those of the action and of the state, as `OURS` says them; linear where it says nothing.

    Raises:
        DataError: There are no such kinds.
    """
    file = layout.root / OURS
    try:
        told = json.loads(file.read_text()) if file.is_file() else {}
        action, state = (Dimensions.of(*told.get(key, ())) for key in KINDS)
    except (OSError, ValueError, AttributeError, TypeError, SpecError) as error:
        raise DataError(
            f"{file} with kinds that cannot be used: {error}", "a word per dimension", "see docs/dimensions.md"
        ) from error
    return action, state if layout.state.key == STATE else LINEAR


def pyarrow_parquet() -> ModuleType:
    """The module ``pyarrow.parquet``.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "lerobot", "a data set of LeRobot") from error
    return pyarrow.parquet
