"""What arrives: the actions of a chunk, all at once or the first ones ahead of the others.

    position    0 .. d-1     d ....... n_1-1     n_1 ....... n_2-1     n_2 ..... H-1
    is there    committed    after e_1 steps     after e_2 steps       after e_3 steps

Position n_1 is due n_1 steps after the request: without a gap e_2 <= n_1, and so on. With a step of delay more, each
part reaches a step farther, so that ``max(e_1, d + e_2 - n_1, d + e_3 - n_2, ...)`` steps of delay are enough.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Array, are_real


def copied(actions: NDArray) -> Array:
    """Copy actions in single precision: the caller may receive the next chunk in the same memory."""
    if actions.dtype == np.float32:
        return actions.copy()
    with np.errstate(over="ignore"):  # what does not fit becomes infinite
        return actions.astype(np.float32)


def finite(actions: Any) -> Array | None:
    """Copy actions in single precision; None unless they are finite real numbers."""
    numbers = copied(np.asarray(actions)) if are_real(actions) else None
    return None if numbers is None or np.count_nonzero(np.isfinite(numbers)) < numbers.size else numbers


@dataclass(frozen=True)
class Parts:
    """A chunk that is executed while its last actions are still being made.

    Attributes:
        delay: d that it was asked for with [steps].
        finished: Leading actions that are there; 0 before the first part.
        held: Steps in which the robot held at the end of them.
        needed: Delay with which no part so far would have come late [steps].
    """

    delay: int = 0
    finished: int = 0
    held: int = 0
    needed: int = 0

    def after(self, executed: int, finished: int) -> "Parts":
        """Return what is there after a part that has come so many executed steps after the request."""
        late = executed + self.held - self.finished + self.delay if self.finished else executed
        return Parts(self.delay, finished, self.held, max(self.needed, late))
