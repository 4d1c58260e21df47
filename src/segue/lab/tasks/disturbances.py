"""Something that comes between: a simulator whose hand is pushed, or whose object is moved, in mid-episode.

    push     the hand is pushed for some steps           one prediction in a while is wrong
    shift    the object is somewhere else at once        the same
    load     the hand is pushed from then on             every prediction is wrong that was learned without

When it happens, where to and how much are drawn from the episode's seed alone, the same for every method.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Disturbable
from segue.data.episodes import Episodes
from segue.errors import SpecError, UnknownNameError
from segue.lab.tasks.around import Around

Kind = Literal["push", "shift", "load"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEAST = 0.5  # of the size, so that no episode is as good as undisturbed
_WORD = 2  # second word of the random seed; delays have 1


@dataclass(frozen=True)
class Disturbance:
    """What happens, and when.

    Attributes:
        kind: ``push``, ``shift`` or ``load``.
        earliest: First step before which it may happen.
        latest: Last one.
        lasts: Steps of a push.
        size: Its largest; an episode's own is uniform between half of that and all. 1 is the simulator's own measure.

    Raises:
        SpecError: Times or size that cannot be.
        UnknownNameError: No such kind.
    """

    kind: Kind
    earliest: int
    latest: int
    lasts: int = 10
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("disturbance", self.kind, KINDS)
        if not 0 <= self.earliest <= self.latest:
            raise SpecError(
                f"a disturbance between steps {self.earliest} and {self.latest}",
                "0 <= earliest <= latest",
                "give control steps from the start of the episode",
            )
        if self.lasts < 1 or not 0 < self.size < float("inf"):
            raise SpecError(
                f"a disturbance of size {self.size} over {self.lasts} steps",
                "a size above 0, and at least 1 step",
                "raise it, or roll out undisturbed",
            )

    @classmethod
    def midway(cls, kind: Kind, episodes: Episodes, *, size: float = 1.0) -> "Disturbance":
        """Between a fifth and half of a usual demonstration; a push lasts for a tenth of a second.

        An object is moved within the first fifth, as long as it lies free.

        Args:
            kind: As above.
            episodes: Demonstrations of the task.
            size: As above.
        """
        usual = float(np.median(np.diff(episodes.ends, prepend=0)))
        first, last = (0.05, 0.2) if kind == "shift" else (0.2, 0.5)
        return cls(kind, int(first * usual), int(last * usual), max(round(0.1 / episodes.dt), 1), size)

    def drawn(self, seed: int) -> tuple[int, NDArray[np.float64]]:
        """The step of an episode before which it happens, and its direction and size, shape (3,)."""
        rng = np.random.default_rng([seed, _WORD])
        step, direction = int(rng.integers(self.earliest, self.latest + 1)), rng.standard_normal(3)
        return step, self.size * rng.uniform(LEAST, 1) * direction / np.linalg.norm(direction)


class Disturbed(Around[Disturbable]):
    """A simulator that something happens to.

    Args:
        simulator: What happens otherwise.
        disturbance: What comes between.
    """

    def __init__(self, simulator: Disturbable, disturbance: Disturbance) -> None:
        super().__init__(simulator)
        self.disturbance = disturbance
        self._step, self._first, self._size = 0, 0, np.zeros(3)
        self._happened: int | None = None

    @property
    def happened(self) -> int | None:
        """The step before which it happened in this episode; None: not yet, or the object was never left alone."""
        return self._happened

    def reset(self, seed: int) -> None:
        """Start an episode, and draw what will happen in it."""
        super().reset(seed)
        self._step, self._happened = 0, None
        self._first, self._size = self.disturbance.drawn(seed)

    def send(self, action: NDArray) -> None:
        """One control step, with what comes between."""
        self._disturb()
        super().send(action)

    def hold(self) -> None:
        """One control step without an action, with what comes between."""
        self._disturb()
        super().hold()

    def _disturb(self) -> None:
        if self._step >= self._first and self._acts():
            self._happened = self._step if self._happened is None else self._happened
        self._step += 1

    def _acts(self) -> bool:
        """Do in this step what is to be done; whether something was."""
        if self.disturbance.kind == "shift":
            # An object in the hand is no other object: it is moved as soon as it lies free
            return self._happened is None and self._simulator.shift(self._size)
        over = self.disturbance.kind == "push" and self._step >= self._first + self.disturbance.lasts
        if not over:
            self._simulator.push(self._size)
        return not over
