"""Ctrl-C and termination: the first asks the robot to stop, the second does not wait for it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Received:
    """What has come so far."""

    def __init__(self) -> None:
        self.number = 0
        """Of the first signal; 0 while none has come."""

    @property
    def exit_status(self) -> int:
        """As a shell gives it to a process that a signal has ended; 0 while none has come."""
        return 128 + self.number if self.number else 0


@contextmanager
def on_signals(stop: Callable[[], None]) -> Iterator[Received]:
    """Call ``stop`` at the first SIGINT or SIGTERM, raise `KeyboardInterrupt` at later ones. Main thread only."""
    received = Received()

    def handle(number: int, frame: FrameType | None) -> None:
        if received.number:
            raise KeyboardInterrupt
        received.number = number
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
