"""Kinds of dimensions that a user says of demonstrations which do not say them: ``--kind "wrist=angle"``."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from segue.core.dimensions import Dimensions, Kind, kind
from segue.data.episodes import Episodes
from segue.errors import DataError, SpecError

EXAMPLE = '--kind "wrist=angle" --kind "jaw*=binary" --kind "action:base_x=velocity"'


def declared(episodes: Episodes, said: Sequence[str]) -> Episodes:
    """Demonstrations whose dimensions are what is said of them; what nothing is said of stays what it was.

    Args:
        episodes: Demonstrations.
        said: ``NAME=KIND`` each, a kind being a word of `segue.core.dimensions.kind`. A name may be a pattern with *, ?
            and [...], and means actions and observations alike unless ``action:`` or ``observation:`` stands before it.
            Of several that fit a dimension the last one counts.

    Raises:
        DataError: A name that no dimension has, no such kind, or a rotation of a wrong size.
    """
    if not said:
        return episodes
    names = {what: each for what, _, each, _ in episodes.sides}
    found = {what: list(kinds.each(len(each))) for what, _, each, kinds in episodes.sides}
    for each in said:
        parts, pattern, of = _read(each)
        places = [
            (part, i)
            for part in parts
            for i, name in enumerate(names[part])
            if name == pattern or fnmatchcase(name, pattern)
        ]
        if not places:
            raise DataError(
                got=f"--kind {each!r}, which fits none of the {' or '.join(parts)} dimensions",
                expected="; ".join(f"{part}: {', '.join(map(repr, names[part]))}" for part in parts),
                change=f"correct the name, such as {EXAMPLE}",
            )
        for part, i in places:
            found[part][i] = of
    try:
        kinds = {f"{what}_kinds": Dimensions(tuple(each)) for what, each in found.items()}
    except SpecError as error:
        raise DataError(error.got, error.expected, error.change) from error
    return replace(episodes, **kinds)


def _read(said: str) -> tuple[tuple[str, ...], str, Kind]:
    """Read which part is meant, the pattern of names, and the kind."""
    name, equals, word = said.rpartition("=")
    part, colon, rest = name.partition(":")
    alone = bool(colon) and part in ("action", "observation")
    try:
        if not equals or not name:
            raise SpecError(f"{said!r}", "NAME=KIND", f"write it so: {EXAMPLE}")
        return ((part,) if alone else ("action", "observation")), (rest if alone else name), kind(word.strip())
    except SpecError as error:
        raise DataError(f"--kind {said!r}: {error.got}", error.expected, error.change) from error
