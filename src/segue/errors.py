"""The exceptions of Segue. Every message says what was got, what was expected, and what to change."""

import copyreg
import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class SegueError(Exception):
    """Root of all errors that Segue raises on purpose."""

    def __init__(self, got: str, expected: str, change: str) -> None:
        self.got, self.expected, self.change = got, expected, change
        super().__init__(f"{got}\n  expected: {expected}\n  change:   {change}")

    def __reduce__(self) -> tuple[Any, ...]:
        # By content, to come out of another process: an exception's own way calls the class with the message alone
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class SpecError(SegueError):
    """Two parts disagree about shapes, rates, names or limits."""


class TimingError(SegueError):
    """Delay, execution horizon and horizon violate ``d <= s <= H - d``."""


class DataError(SegueError):
    """Demonstrations that cannot be used as they are."""


class CheckpointError(SegueError):
    """A checkpoint that is truncated, foreign, or made for something else."""


class TrainingError(SegueError):
    """A training whose loss is not a finite number, or whose processes do not see each other."""


class WorkerError(SegueError):
    """A process that was killed at its work, and again when the work was begun once more."""


class PolicyError(SegueError):
    """A policy that runs in another process and does not start."""


class RobotError(SegueError):
    """A robot that had to be stopped, because its driver or its policy failed for too long."""


class WireError(SegueError):
    """A message from a peer that is not accepted.

    Args:
        code: One word, all that a peer is told beside the field.
        field: The part of the message that is meant; empty for the whole.
        got: What came.
        expected: What should have come.
        change: What the sender should do.
    """

    def __init__(self, code: str, field: str, got: str, expected: str, change: str) -> None:
        self.code, self.field = code, field
        super().__init__(f"{field or 'message'}: {got}", expected, change)


class RemoteError(SegueError):
    """A policy server that is not there, does not answer in time, or refuses to answer."""


MANY = 20
"""Beyond so many names, an error shows those that are close, or a few that are nearest."""
NEAREST = 5
PART = 3
"""Letters from which on a name may be a part of what was meant: ``pick-place`` is metaworld/pick-place."""
CLOSE = 0.7
"""Likeness from which on a name may have been meant: ``legatoo`` is legato, ``lean`` is not blend."""


class UnknownNameError(SegueError):
    """A name that is not in the list of what exists.

    Args:
        kind: Of what there is.
        name: That was given.
        known: All that exist; a close one is suggested.
        own: How one of the user's own is named, where that can be.
        listed: What shows all of them.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], own: str = "", listed: str = "") -> None:
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=3, cutoff=CLOSE)
        close = close or [each for each in known if len(name) >= PART and name in each][:NEAREST]
        few = known
        if len(known) > MANY:
            few = close or difflib.get_close_matches(name, known, n=NEAREST, cutoff=0.0)
        more = f" ({len(known) - len(few)} more{listed and f': {listed}'})" if few is not known else ""
        otherwise = f"use one of the names above as {kind}" + (f"; one of your own is {own}" if own else "")
        super().__init__(
            got=f"unknown {kind} {name!r}",
            expected="one of " + ", ".join(few) + more,
            change=f"did you mean {close[0]!r}?" if close else otherwise,
        )


@contextmanager
def settings_of(what: str) -> Iterator[None]:
    """Around a call with settings from a plain dict: raise `SpecError` where one of them is unknown or missing."""
    try:
        yield
    except TypeError as error:
        raise SpecError(str(error), f"settings of {what}", "leave it out, or correct its name") from error


class MissingExtraError(SegueError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        super().__init__(
            got=f"{purpose} needs the package {module!r}, which cannot be imported",
            expected=f"Segue installed with its extra {extra!r}",
            change=f"in a clone of Segue: pip install -c constraints.txt '.[{extra}]'",
        )


_EXTRAS = {
    "learn": ("torch", "safetensors", "accelerate"),
    "lab": ("matplotlib", "jinja2", "markupsafe", "scipy", "mujoco", "gymnasium"),
}


@contextmanager
def said_what_to_install(purpose: str) -> Iterator[None]:
    """Raise `MissingExtraError` for a package of an extra that cannot be imported; ``purpose`` needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        for extra, packages in _EXTRAS.items():
            if package in packages:
                raise MissingExtraError(package, extra, purpose) from error
        raise
