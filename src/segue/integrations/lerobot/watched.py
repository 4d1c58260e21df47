"""The newest picture of a camera, read in a thread of its own, with the time at which it came.

    thread     | read ....... | read ....... | read .......          waits for the camera
    loop       newest   newest   newest   newest   newest            never waits
                      age ->        age ->

A camera that has stopped says nothing: only the age of its last picture does.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from segue.core.observation import Picture
from segue.errors import RobotError

_PAUSE: Final = 0.002
"""Between two pictures [s], so that a camera which does not wait for a new one takes no processor for itself."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture.

    Attributes:
        picture: Shape (height, width, 3), bytes.
        time: Of the clock, when it came [s].
    """

    picture: Picture
    time: float


class Watched:
    """A camera that is being read until `close`.

    Args:
        name: For errors.
        read: Waits for the next picture, (height, width, 3); may raise, and is called again then.
        size: Height and width that pictures are to have; others are failures.
        clock: Seconds.
    """

    def __init__(self, name: str, read: Callable[[], Any], size: tuple[int, int], clock: Callable[[], float]) -> None:
        self.name, self._read, self._size, self._clock = name, read, size, clock
        self._newest: Seen | None = None
        self._why, self._closing, self._first = "none has come yet", threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"camera {name}", daemon=True)
        self._thread.start()

    def newest(self, oldest: float) -> tuple[Picture, float]:
        """The newest picture and its age [s].

        Args:
            oldest: Age from which on a picture is not used [s].

        Raises:
            RobotError: There is none yet, or it is older.
        """
        seen, now = self._newest, self._clock()
        age = np.inf if seen is None else now - seen.time
        if seen is None or age > oldest:
            raise RobotError(
                got=f"camera {self.name}: "
                + (f"no picture ({self._why})" if seen is None else f"a picture {age:.2g} s old ({self._why})"),
                expected=f"one of the last {oldest:g} s",
                change="check its cable and what else reads it; a slow camera wants a larger picture_age",
            )
        return seen.picture, age

    def wait(self, seconds: float) -> None:
        """Wait for the first picture, at most so long [s]."""
        self._first.wait(seconds)

    def close(self, seconds: float = 1.0) -> None:
        """End the thread; one that hangs in its camera is left alone after so long [s]."""
        self._closing.set()
        with suppress(RuntimeError):
            self._thread.join(seconds)

    def _watch(self) -> None:
        while not self._closing.wait(_PAUSE):
            try:
                picture = np.ascontiguousarray(self._read())
            except Exception as error:
                self._why = f"{type(error).__name__}: {error}"
                continue
            if picture.shape != (*self._size, 3) or picture.dtype != np.uint8:
                self._why = f"pictures of shape {picture.shape} and type {picture.dtype}"
                continue
            self._newest, self._why = Seen(picture, self._clock()), "no newer one has come"
            self._first.set()
