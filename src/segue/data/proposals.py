"""Proposes kinds of dimensions from the numbers of a recording, for a person to decide; names say nothing."""

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import SIZES, Dimensions
from segue.data.episodes import Episodes
from segue.data.windows import Windows

_PERIODS = {"angle": 2 * np.pi, "angle:360": 360.0}
_JUMP, _CALM = 0.8, 0.25
"""Shares of a period: a step of more than the one is a turn through the seam where all others are below the other."""
_MOVES = 1e-6
"""A dimension that moves by less than this share of its largest value does not move."""
_LENGTH = 1e-3


def proposed_kinds(episodes: Episodes) -> list[str]:
    """Write a sentence for each dimension that is declared linear, or not at all, and does not look like it.

    Steps of nearly a whole turn and none of half a turn are those of an angle; two values only, of a binary dimension;
    four numbers of length 1, of a quaternion; and what never moves is constant.
    """
    found, inside = [], Windows(episodes, 1).remaining[:-1] > 0
    for what, values, names, kinds in episodes.sides:
        for index, (word, why) in _proposed(np.asarray(values, np.float64), inside, kinds).items():
            found.append(f"{what} {names[index]!r} looks like {word}: {why}; if it is, {declare(names[index], word)}")
    return found


def declare(name: str, word: str) -> str:
    """Say how to declare a dimension to be of a kind."""
    return f'declare it: --kind "{name}={word}"'


def _proposed(values: NDArray[np.float64], inside: NDArray[np.bool_], kinds: Dimensions) -> dict[int, tuple[str, str]]:
    """By dimension, a word and why. ``inside`` says which steps are within an episode."""
    size = values.shape[1]
    open_to = [index for index, each in enumerate(kinds.each(size)) if each.name == "linear"]
    found = _quaternions(values, open_to)
    for index in open_to:
        if index not in found and (proposal := _one(values[:, index], inside)) is not None:
            found[index] = proposal
    return dict(sorted(found.items()))


def _quaternions(values: NDArray[np.float64], open_to: list[int]) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    size = SIZES["quaternion"]
    for first in range(values.shape[1] - size + 1):
        group = range(first, first + size)
        four = values[:, group]
        whole = all(index in open_to and index not in found for index in group)
        if whole and np.ptp(four, axis=0).max() > _MOVES and np.abs(np.linalg.norm(four, axis=1) - 1).max() < _LENGTH:
            why = f"with its neighbours, dimensions {first} to {first + size - 1}, always of length 1"
            found |= {index: ("quaternion", why) for index in group}
    return found


def _one(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> tuple[str, str] | None:
    span = float(np.ptp(values))
    if span <= _MOVES * max(1.0, float(np.abs(values).max())):
        return "constant", f"it is {values[0]:g} in all frames"
    distinct = np.unique(values)
    if len(distinct) == 2 and len(values) > 2:
        return "binary", f"it is {distinct[0]:g} or {distinct[1]:g} in all frames"
    steps = np.abs(np.diff(values))[inside]
    for word, period in _PERIODS.items():
        jumps = steps > _JUMP * period
        if jumps.any() and span <= 1.01 * period and steps[~jumps].max(initial=0.0) < _CALM * period:
            frame = int(np.flatnonzero(inside)[np.flatnonzero(jumps)[0]])
            return word, f"{int(jumps.sum())} steps of nearly {period:.4g}, the first after frame {frame}"
    return None
