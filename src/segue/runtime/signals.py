"""Ctrl-C, termination, a terminal that is closed: the first asks the robot to stop, the second does not wait for it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_LOOK: Final = 0.5  # [s] between two looks whether the parent process is still there
_HANG_UP: Final = getattr(signal, "SIGHUP", None)


class Received:
    """Keeps the number of the first signal; 0 while none has come."""

    def __init__(self) -> None:
        self.number = 0

    @property
    def exit_status(self) -> int:
        """Exit status that a shell gives a process that a signal has ended; 0 while none has come."""
        return 128 + self.number if self.number else 0


_open: list[Received] = []


def has_come() -> bool:
    """Tell whether a signal has come in a block of `on_signals` that is not over: no new motion is to begin."""
    return any(received.number for received in _open)


def ends() -> tuple[int, ...]:
    """List the signals that end a run: SIGINT, SIGTERM, and SIGHUP unless it is ignored, as under nohup."""
    hang_up = () if _HANG_UP is None or signal.getsignal(_HANG_UP) is signal.SIG_IGN else (_HANG_UP,)
    return (signal.SIGINT, signal.SIGTERM, *hang_up)


@contextmanager
def on_signals(stop: Callable[[], None]) -> Iterator[Received]:
    """Call ``stop`` at the first of `ends`, raise `KeyboardInterrupt` at later ones. Main thread only.

    A connection that is lost need not come as a signal: without a terminal, all there is to see is that the process
    that has started this one is gone. That counts as SIGHUP, and like it not at all under nohup; ``stop`` is then
    called by another thread.
    """
    received, over = Received(), threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if received.number:
            raise KeyboardInterrupt
        received.number = number
        stop()

    def look(parent: int) -> None:
        while not over.wait(_LOOK):
            if os.getppid() != parent:
                if not received.number:
                    received.number = int(_HANG_UP or signal.SIGTERM)
                    stop()
                return

    numbers = ends()
    before = {number: signal.signal(number, handle) for number in numbers}
    if _HANG_UP in numbers:
        threading.Thread(target=look, args=(os.getppid(),), name="parent", daemon=True).start()
    _open.append(received)
    try:
        yield received
    finally:
        over.set()
        _open.remove(received)
        for number, handler in before.items():
            signal.signal(number, handler)
