"""Reads what a data set says about itself in ``meta/info.json``, and checks it before anything else is read."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from segue.core import foreign
from segue.core.dimensions import LINEAR, Dimensions
from segue.data.lerobot.features import ACTION, ACTIONS, STATE, STATES, Feature, find
from segue.errors import DataError, MissingExtraError, SpecError

__all__ = ["ACTION", "INDICES", "INFO", "OURS", "STATE", "TASK", "Feature", "Layout", "is_data_set", "read_layout"]

INFO = Path("meta/info.json")
OURS = Path("meta/segue.json")
"""Has what LeRobot has no word for: ``{"state_of_action": [0, null, ...]}``, an index into `STATE` per action, and
the words of ``"action_kinds"`` and ``"observation_kinds"`` (`segue.core.dimensions`), all optional. It lets a file of
ours be; unknown entries of ``info.json`` are dropped when it goes on recording."""
KINDS = ("action_kinds", "observation_kinds")
VERSIONS = ("v2.0", "v2.1", "v3.0")
"""v2.0 and v2.1 differ in statistics alone, which are not read."""
INDICES = ("timestamp", "frame_index", "episode_index", "index")
"""Columns of every frame that its place is checked by."""
TASK = "task_index"
_LONGEST = 500
"""Characters of a template of paths."""
_PLAIN = re.compile(r"(0?[0-9]{1,2})?d?")
"""A format in which a template may ask for a number: to a width, and not to one that fills the memory."""


@dataclass(frozen=True)
class Layout:
    """The parts of ``info.json`` that reading needs.

    Attributes:
        root: Folder of the data set.
        version: One of `VERSIONS`.
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

    @property
    def in_tables(self) -> bool:
        """Say whether episodes are listed as in version 3.0: by the lists that there are, whatever the version says."""
        lists = [name for name in ("episodes", "episodes.jsonl") if (self.root / "meta" / name).exists()]
        return self.version == "v3.0" if len(lists) != 1 else lists == ["episodes"]

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
        """Path of a file after a template of ``info.json``, which may not lead out of the data set.

        Links in the folder are followed: a download of the hub consists of them, and they are the user's own.

        Args:
            template: ``data_path`` or ``video_path``.
            parts: What is put into it.

        Raises:
            DataError: There is no such template, it does not fit, or it leads out.
        """
        given = self.info.get(template)
        if not isinstance(given, str) or not _fits(given, parts):
            raise DataError(
                f"{template} {str(given)[:_LONGEST]!r} in {self.file}",
                f"a template over {', '.join(parts)}",
                "correct the file",
            )
        path = PurePosixPath(given.format(**parts))
        if path.is_absolute() or ".." in path.parts or "\\" in str(path) or "\0" in str(path):
            raise DataError(f"{template} {given!r} in {self.file}", "files inside of the data set", "correct the file")
        return self.root / path


def _fits(template: str, parts: Mapping[str, int | str]) -> bool:
    """Say whether a template asks for nothing but parts, written to a width."""
    try:
        fields = [each for each in string.Formatter().parse(template) if each[1] is not None]
    except ValueError:
        return False
    plain = all(name in parts and not how and _PLAIN.fullmatch(form or "") for _, name, form, how in fields)
    if not plain or len(template) > _LONGEST:
        return False
    return not any(isinstance(parts[str(name)], str) and form for _, name, form, _ in fields)


def is_data_set(path: Path) -> bool:
    """Say whether a folder is a data set of LeRobot."""
    return (path / INFO).is_file()


def read_info(root: Path) -> Mapping[str, Any]:
    """All of ``info.json``.

    Raises:
        DataError: The file is missing or broken, or it is of another version.
    """
    file = root / INFO
    info = foreign.read_json(file)
    if not isinstance(info, dict):
        raise DataError(f"{file} holds {type(info).__name__}", "a JSON object", "copy or download it again")
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise DataError(
            got=f"codebase_version {str(version)[:40]!r} in {file}",
            expected=f"one of {', '.join(VERSIONS)}",
            change=_other_version(version),
        )
    return info


def read_layout(root: Path, state: str | None = None, action: str | None = None) -> Layout:
    """Read and check ``info.json``.

    Args:
        root: Folder of the data set.
        state: Key of the observation, or several with commas; None for the first of `STATES` that is there.
        action: The same of the action, and of `ACTIONS`.

    Raises:
        DataError: The file is missing or broken, the version is another one, or a feature cannot be used.
    """
    file, info = root / INFO, read_info(root)
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not 0 < fps <= 1e6:
        raise DataError(f"fps {str(fps)[:40]} in {file}", "a positive rate [Hz]", "correct the file")
    of_action = find(file, info, action, ACTIONS, "--action")
    return Layout(
        root, info["codebase_version"], float(fps), of_action, find(file, info, state, STATES, "--state"), info
    )


def _other_version(version: Any) -> str:
    if version is None:
        return "this is no data set of LeRobot, whatever its folder looks like; docs/data.md says what is read"
    if str(version).startswith("v1."):
        return "convert it with the scripts of LeRobot 0.1 (convert_dataset_v1_to_v2.py), which wrote that version"
    return "convert it with the LeRobot that wrote it, or look for a newer Segue"


def state_of_action(layout: Layout) -> tuple[int | None, ...]:
    """Find for each action dimension the state that measures the same: by `OURS`, else by its name.

    Raises:
        DataError: `OURS` is broken, or does not fit.
    """
    file, names = layout.root / OURS, layout.state.names
    of_their_names = tuple(names.index(name) if name in names else None for name in layout.action.names)
    if layout.state.keys != (STATE,) or layout.action.keys != (ACTION,) or not file.is_file():
        return of_their_names
    content = foreign.read_json(file)
    told = content.get("state_of_action") if isinstance(content, dict) else None
    if isinstance(content, dict) and told is None and content.keys() & set(KINDS):
        return of_their_names
    if told is None:
        raise DataError(
            f"{file} cannot be read", '{"state_of_action": [...]}', "remove it, or write the data set again"
        )
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
    """Read the kinds of action and state from `OURS`; linear where it says nothing.

    Raises:
        DataError: There are no such kinds.
    """
    file = layout.root / OURS
    try:
        told = foreign.read_json(file) if file.is_file() else {}
        action, state = (Dimensions.of(*told.get(key, ())) for key in KINDS)
    except (OSError, ValueError, AttributeError, TypeError, SpecError) as error:
        raise DataError(
            f"{file} with kinds that cannot be used: {error}", "a word per dimension", "see docs/dimensions.md"
        ) from error
    return action if layout.action.keys == (ACTION,) else LINEAR, state if layout.state.keys == (STATE,) else LINEAR


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
