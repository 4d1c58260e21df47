"""A watchdog acts when the control loop itself hangs, in a driver's call that does not return.

Python cannot end a call from outside, so that a watchdog acts beside it: from a thread of its own, once. That thread
needs Python's interpreter lock: a call that holds it while it hangs cannot be told from a process that stood still, and
is not acted on. Drivers written in C or C++ have to release it where they wait.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType


class Watchdog:
    """Acts when it has not been fed for too long; in a ``with`` block it looks by itself.

    Args:
        act: Is called in another thread than the loop's, at most once.
        limit: How long to wait for the next `feed` [s].
        now: Monotonic time [s].
    """

    def __init__(self, act: Callable[[], None], limit: float, now: Callable[[], float] = time.monotonic) -> None:
        self._act, self._limit, self._now = act, limit, now
        self.fired = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
        self.feed()

    def feed(self) -> None:
        """Say that all is well."""
        self._fed = self._now()

    def check(self) -> None:
        """Act if nothing was heard for too long."""
        if not self.fired and self._now() - self._fed > self._limit:
            self.fired = True
            self._act()

    def _look(self) -> None:
        before = self._now()
        while not self._end.wait(self._limit / 4):
            now = self._now()
            if now - before > self._limit / 2:
                self.feed()  # the whole process stood still, not a call
            self.check()
            before = now

    def __enter__(self) -> "Watchdog":
        self.feed()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(self._limit)
