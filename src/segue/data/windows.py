"""Windows over episodes: an observation, and the chunk of actions that followed it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segue.data.episodes import Episodes
from segue.errors import DataError

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Windows:
    """One window per frame of the episodes.

    Positions beyond the end of an episode hold its last action and are marked invalid, so that no loss is taken
    there: padding never teaches a stop that nobody demonstrated.

    Attributes:
        episodes: Demonstrations.
        horizon: H.
    """

    episodes: Episodes
    horizon: int

    def __post_init__(self) -> None:
        longest = int(np.diff(self.episodes.ends, prepend=0).max())
        if self.horizon > longest:
            raise DataError(
                got=f"a horizon of {self.horizon} steps, and no episode longer than {longest}",
                expected="at least one episode as long as the horizon",
                change="train with a shorter horizon, or check the episode ends",
            )

    def __len__(self) -> int:
        return len(self.episodes.action)

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lengths = np.diff(self.episodes.ends, prepend=0)
        ends = np.repeat(self.episodes.ends, lengths)
        return ends - np.repeat(lengths, lengths), ends

    @property
    def age(self) -> NDArray[np.int64]:
        """Frames since the start of the episode. Shape (frames,)."""
        return np.arange(len(self)) - self._bounds[0]

    @property
    def remaining(self) -> NDArray[np.int64]:
        """Frames that come after each in its episode. Shape (frames,)."""
        return self._bounds[1] - 1 - np.arange(len(self))

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frame of each position of each window, the episode's last beyond its end. Shape (frames, horizon)."""
        wanted = np.arange(len(self))[:, None] + np.arange(self.horizon)
        return np.minimum(wanted, self._bounds[1][:, None] - 1)

    @property
    def actions(self) -> Float:
        """Shape (frames, horizon, action), robot units."""
        return self.episodes.action[self.frames]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Shape (frames, horizon): inside of the episode."""
        return np.arange(len(self))[:, None] + np.arange(self.horizon) < self._bounds[1][:, None]
