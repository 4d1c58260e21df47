"""Keeps what is known of demonstrations beside their numbers: instructions, the robot, and what was not read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.errors import DataError


@dataclass(frozen=True)
class Origin:
    """Source of demonstrations, and the parts of it that were not read.

    Attributes:
        robot_type: The robot, as its data set names it.
        unseen: Cameras of the data set whose pictures were not read.
        unread: Its other columns that were not read.
        notes: What was decided while it was read, a sentence each.
    """

    robot_type: str | None = None
    unseen: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Instructions:
    """Instructions that the robot was given, in words. No policy of Segue sees them.

    Attributes:
        texts: Each instruction once.
        rows: Shape (frames,), int64: the index of each frame's instruction in ``texts``.
    """

    texts: tuple[str, ...]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.rows)

    def check(self, frames: int) -> None:
        """Raise `DataError` unless each of so many frames has the index of a text."""
        if self.rows.shape != (frames,) or not ((self.rows >= 0) & (self.rows < len(self.texts))).all():
            raise DataError(
                got=f"instructions of shape {self.rows.shape} for {frames} frames, {len(self.texts)} texts",
                expected="for each frame the index of a text",
                change="complete them, or leave them out",
            )

    @property
    def used(self) -> tuple[str, ...]:
        """The instructions that some frame has, in order."""
        return tuple(self.texts[index] for index in np.unique(self.rows))

    def select(self, frames: NDArray[np.integer]) -> "Instructions":
        """Take the instructions of some frames, in that order."""
        return Instructions(self.texts, self.rows[frames])


def joined(parts: Sequence[Instructions | None]) -> Instructions | None:
    """Join instructions of one set of texts, one after the other; None if one of the parts has none."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return Instructions(known[0].texts, np.concatenate([part.rows for part in known]))
