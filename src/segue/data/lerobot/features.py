"""The vectors of a data set: which columns make the action and the state, and what their dimensions are called."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.data.choice import separated
from segue.errors import DataError

ACTION, STATE = "action", "observation.state"
ACTIONS, STATES = (ACTION, "actions"), (STATE, "state")
"""Keys that are looked for when none is named: LeRobot's own, then that of openpi's converters."""
_MOST = 10_000
"""Dimensions of a vector."""


@dataclass(frozen=True)
class Feature:
    """One vector per frame: a column, or several side by side.

    Attributes:
        keys: Columns.
        sizes: Dimensions of each.
        names: One per dimension of all.
        notes: What was decided about the names, a sentence each.
    """

    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find(file: Path, info: Mapping[str, Any], given: str | None, usual: Sequence[str], option: str) -> Feature:
    """Find the vector that is named, or the first of the usual ones.

    Args:
        file: ``info.json``, for errors.
        info: What it holds.
        given: A key, or several separated by commas, whose columns are joined; None for the first of ``usual``.
        usual: Keys to look for.
        option: Of the command line, for errors.

    Raises:
        DataError: There is no such column, or it is no vector of numbers.
    """
    features = info.get("features")
    features = features if isinstance(features, dict) else {}
    default = next((key for key in usual if key in features), usual[0])
    named = separated(given, option) if given else (default,)
    vectors = [_vector(file, features, key, option) for key in named]
    names = [name for each in vectors for name in each.names]
    if len(set(names)) != len(names):  # the joints of two arms
        names = [f"{each.keys[0]} {name}" for each in vectors for name in each.names]
    sizes, notes = [each.sizes[0] for each in vectors], [note for each in vectors for note in each.notes]
    return Feature(named, tuple(sizes), tuple(names), tuple(notes))


def _vector(file: Path, features: Mapping[str, Any], key: str, option: str) -> Feature:
    if not isinstance(features.get(key), dict):
        vectors = [name for name, each in features.items() if isinstance(each, dict) and length(each)]
        raise DataError(
            got=f"no feature {key!r} in {file}",
            expected=f"an action and a state; vectors there: {', '.join(vectors) or 'none'}",
            change="name them with --action and --state; several, separated by commas, are joined",
        )
    feature, size = features[key], length(features[key])
    if not size:
        raise DataError(
            got=f"feature {key!r} of type {feature.get('dtype')!r}, shape {str(feature.get('shape'))[:60]} in {file}",
            expected=f"a vector of numbers, at most {_MOST}, such as float32 of shape [7]",
            change=f"name another one with {option}; images are not read here",
        )
    given = feature.get("names")
    names = _labels(given, size)
    if names is not None:
        return Feature((key,), (size,), names)
    told = f"names {str(given)[:60]} of {key!r} do not name {size} dimensions: they are numbered"
    return Feature((key,), (size,), tuple(f"{key} {i}" for i in range(size)), () if given is None else (told,))


def length(feature: Mapping[str, Any]) -> int:
    """Dimensions of a vector feature, further axes laid out flat; 0 for anything else."""
    shape, kind = feature.get("shape"), feature.get("dtype")
    numbers = isinstance(kind, str) and kind.startswith(("float", "int", "uint", "bool"))
    if not (numbers and isinstance(shape, list) and len(shape) < 8 and all(type(n) is int for n in shape)):
        return 0
    return math.prod(shape) if all(0 < n <= _MOST for n in shape) and math.prod(shape) <= _MOST else 0


def _labels(given: Any, size: int) -> tuple[str, ...] | None:
    """A label per dimension, all different, whatever shape they were written in; None where there are none such."""
    found = _indexed(given, size) or _flat(given)
    return tuple(found) if len(found) == size and len(set(found)) == size else None


def _indexed(given: Any, size: int) -> list[str]:
    """Labels that are given with the index of each: ``{"gripper": 2, "x": 0, "y": 1}``, or the other way round."""
    if not isinstance(given, dict) or len(given) != size:
        return []
    places = {value: str(name) for name, value in given.items() if type(value) is int}
    if not places:
        numbers = [key for key in given if key.isascii() and key.isdigit() and len(key) < 9]
        places = {int(key): str(given[key]) for key in numbers}
    return [places[index] for index in range(size)] if places.keys() == set(range(size)) else []


def _flat(given: Any) -> list[str]:
    """Labels in lists, in lists of lists, or in lists under keys: ``{"motors": [...]}``, ``{"left": [...], ...}``."""
    if isinstance(given, list):
        return [label for part in given for label in (_flat(part) if isinstance(part, list | dict) else [str(part)])]
    if not isinstance(given, dict):
        return []
    if not any(isinstance(part, list | dict) for part in given.values()):
        return [str(name) for name in given]
    groups = {name: _flat(part) for name, part in given.items()}
    plain = [label for labels in groups.values() for label in labels]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{name} {label}" for name, labels in groups.items() for label in labels]
