"""Chooses the episodes of a recording that are read, and leaves out or refuses those that cannot be used.

Without a choice one episode that cannot be used refuses the whole recording: nothing is left out that nobody named.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segue.errors import DataError

_MOST = 10**7
"""Beyond this no episode is numbered."""
_ADVICE = "or leave that episode out: --skip-bad leaves out what cannot be used and names it, --episodes 0-4,7 chooses"


@dataclass(frozen=True)
class Choice:
    """Episodes that are wanted.

    Attributes:
        wanted: Their indices; None for all.
        skip_bad: Leave out an episode that cannot be used, and name it.
        left_out: Why, by the index of each that was left out; filled while a recording is read.
    """

    wanted: Sequence[int] | None = None
    skip_bad: bool = False
    left_out: dict[int, str] = field(default_factory=dict)

    def of(self, there: Iterable[int], where: str) -> list[int]:
        """List those of the given episodes that are wanted, in order.

        Args:
            there: Indices of the episodes in the recording.
            where: Names the recording in an error.

        Raises:
            DataError: One that is wanted is not there.
        """
        known = sorted(there)
        if self.wanted is None:
            return known
        wanted = sorted(set(self.wanted))
        missing = sorted(set(wanted) - set(known))
        if missing and not self.skip_bad:
            raise DataError(
                got=f"no episode {short(missing)} in {where}",
                expected=f"some of its {len(known)} episodes: {short(known)}",
                change="correct --episodes",
            )
        self.left_out.update({index: "it is not there" for index in missing})
        return [index for index in wanted if index not in self.left_out]

    @contextmanager
    def trying(self, episodes: Sequence[int]) -> Iterator[None]:
        """Guard what is done for some episodes: a fault of them refuses the recording, or leaves them out.

        Raises:
            DataError: As inside, with the advice to leave the episodes out; not where `skip_bad`.
        """
        try:
            yield
        except DataError as error:
            if not self.skip_bad:
                change = f"{error.change}; {_ADVICE}" if len(episodes) == 1 else error.change
                raise DataError(error.got, error.expected, change) from error
            self.left_out.update(dict.fromkeys(episodes, error.got))

    def finite(self, ends: NDArray[np.int64], **parts: NDArray) -> list[int]:
        """List the wanted episodes of whole arrays; where bad ones are skipped, only those that are finite.

        Args:
            ends: Exclusive end frame of each episode. Shape (episodes,).
            parts: By what it is called, shape (frames, ...).
        """
        chosen = self.of(range(len(ends)), "these demonstrations")
        if not self.skip_bad:
            return chosen
        for name, values in parts.items():
            fine = np.asarray(np.isfinite(values.reshape(len(values), -1)).all(1))
            for index in chosen:
                start = int(ends[index - 1]) if index else 0
                wrong = np.flatnonzero(~fine[start : int(ends[index])])
                if len(wrong):
                    self.left_out.setdefault(index, f"{name} is not finite at step {wrong[0]}")
        return [index for index in chosen if index not in self.left_out]

    def notes(self) -> tuple[str, ...]:
        """Say what was left out, a sentence each."""
        return tuple(f"episode {index} is left out: {why}" for index, why in sorted(self.left_out.items()))

    def some(self, kept: Sequence[object], where: str) -> None:
        """Raise `DataError` unless something is left."""
        if not kept:
            why = next(iter(self.left_out.values()), "none was chosen")
            raise DataError(
                got=f"no episode of {where} that can be used; the first one: {why}",
                expected="at least one",
                change="correct --episodes, or mend the recording",
            )


def separated(given: str, option: str) -> tuple[str, ...]:
    """Split names at commas.

    Args:
        given: What stands behind the option.
        option: Of the command line, for errors.

    Raises:
        DataError: One is empty, or stands there twice.
    """
    found = tuple(part.strip().strip("/") for part in given.split(","))
    if not all(found) or len(set(found)) != len(found):
        raise DataError(f"{option} {given!r}", "names that are separated by commas, each of them once", "correct it")
    return found


def parsed(text: str) -> tuple[int, ...]:
    """Read indices of episodes from words such as ``0-4,7``.

    Raises:
        DataError: They are of another form.
    """
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        ends = (low, high if dash else low)
        if not all(each.isascii() and each.isdigit() and len(each) < 9 for each in ends):
            raise DataError(f"--episodes {text!r}", "numbers and spans of them", "write, for example, --episodes 0-4,7")
        first, last = (int(each) for each in ends)
        if first > last or last > _MOST:
            raise DataError(f"--episodes {text!r}", f"spans from 0 to {_MOST}, the smaller one first", "correct it")
        found.extend(range(first, last + 1))
    return tuple(found)


def short(numbers: Sequence[int]) -> str:
    """Write the first numbers of a list, for people."""
    return ", ".join(map(str, numbers[:6])) + (" ..." if len(numbers) > 6 else "")
