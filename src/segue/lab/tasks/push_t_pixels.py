"""Push-T from pixels (arXiv 2303.04137): the policy is told where the disc is, and sees a picture of the board."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Observation
from segue.core.robot import Array
from segue.data import bundled
from segue.data.episodes import Episodes
from segue.data.pictures import Pictures
from segue.lab.tasks import push_t
from segue.lab.tasks.around import Around
from segue.lab.tasks.demonstrator import cached
from segue.lab.tasks.push_t import PushT

BOARD = "board"
SIZE = 64  # [pixels]; the paper's pictures have 96, which takes more than twice as long to look at
AGENT = ("agent x", "agent y")
_RECIPE = 1  # part of the cached file's name; raise it with every change to what is drawn


class PushTPixels(Around[PushT]):
    """`PushT`, with a picture of the board in place of the corners of the T.

    Raises:
        MissingExtraError: gym-pusht is not installed.
    """

    def __init__(self) -> None:
        super().__init__(PushT())
        self.spec = replace(self.spec, name="push-t-pixels", observation_names=AGENT, cameras={BOARD: (SIZE, SIZE)})

    def observe(self) -> Observation[NDArray]:
        """The disc [px], shape (2,), and the board."""
        return Observation(self.pose().astype(np.float32), {BOARD: self._simulator.picture(SIZE)})


def demonstrations() -> Episodes:
    """The human demonstrations of `segue.data.bundled.push_t`, drawn once and then read from a cache.

    The cache lies in ``$SEGUE_CACHE``, or else in ``~/.cache/segue``; 315 MB.
    """
    return cached(f"push-t-pixels/{SIZE}-recipe{_RECIPE}.npz", lambda: drawn(bundled.push_t(), bundled.push_t_states()))


def drawn(episodes: Episodes, states: Array) -> Episodes:
    """Demonstrations as the task shows them.

    Args:
        episodes: As `segue.data.bundled.push_t` has them.
        states: Shape (frames, 5), as `segue.data.bundled.push_t_states` has them.
    """
    board, pictures = PushT(), np.empty((episodes.frames, SIZE, SIZE, 3), np.uint8)
    for picture, state in zip(pictures, states, strict=True):
        board.place(state)
        picture[:] = board.picture(SIZE)
    return replace(
        episodes,
        observation=np.ascontiguousarray(episodes.observation[:, :2]),
        observation_names=AGENT,
        pictures={BOARD: Pictures.of(pictures)},
    )


TASK = replace(
    push_t.TASK,
    name="push-t-pixels",
    summary="push a T onto its mark, seen in pictures; 206 human demonstrations at 10 Hz",
    simulator=PushTPixels,
    demonstrations=demonstrations,
)
