"""What somebody beside a robot wants while it runs: hold, go on, stop; by keys, or by whatever else is at hand.

    Keys                space, q, Esc            a source of wishes is anything that one can loop over:
    a pedal, a gamepad  some lines               for wish in source: ...

A source waits for somebody, in a thread of its own, and never the control loop for the source. One that fails or ends
says so and stops nothing: Ctrl-C and the robot's emergency stop do not pass through here.
"""

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final, Protocol

_LOOK: Final = 0.1  # [s] between two looks whether the run is over


class Wish(Enum):
    """What somebody wants of a run."""

    HOLD = "hold, or go on"
    """Come to rest and let go; the next one goes on."""
    STOP = "stop"


class Operable(Protocol):
    """What a wish is told; `segue.runtime.executor.Executor` is one. From any thread."""

    @property
    def kept_paused(self) -> str:
        """Why going on has failed; empty when it has not."""
        ...

    def pause(self) -> None:
        """Come to rest and let go."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def stop(self) -> None:
        """Come to rest and end the run."""
        ...


def heed(wishes: Iterable[Wish], run: Operable, say: Callable[[str], None]) -> None:
    """Tell a run every wish, until there are no more.

    Args:
        wishes: Are waited for.
        run: Is told.
        say: Is told in a line what was done.
    """
    holding = False
    for wish in wishes:
        if wish is Wish.STOP:
            say("stopping")
            run.stop()
            return
        holding = not (holding or run.kept_paused)
        say("holding; again to go on" if holding else "going on")
        (run.pause if holding else run.resume)()


@contextmanager
def operated(wishes: Iterable[Wish], run: Operable, say: Callable[[str], None]) -> Iterator[None]:
    """Heed wishes in a thread of their own, which is left alone at the end of the block.

    Args:
        wishes: See `heed`; an error in it is said, and nothing else happens.
        run: Is told.
        say: Is told in a line what was done, from the thread.
    """
    over = threading.Event()

    def until_over() -> Iterator[Wish]:
        for wish in wishes:
            if over.is_set():
                return
            yield wish

    def listen() -> None:
        try:
            heed(until_over(), run, say)
        except Exception as error:
            if not over.is_set():
                say(f"nobody is listened to any more: {type(error).__name__}: {error}")

    threading.Thread(target=listen, name="operator", daemon=True).start()
    try:
        yield
    finally:
        over.set()


class Keys:
    """Wishes from a terminal: space holds and goes on, q and Esc stop.

    Inside of a ``with`` block the terminal hands keys over one by one and unseen; Ctrl-C is what it was. Its settings
    are put back at the end, however that comes about. While the process is in the background nothing is read.

    Args:
        terminal: File descriptor.
    """

    WISHES: Final = {b" ": Wish.HOLD, b"q": Wish.STOP, b"Q": Wish.STOP, b"\x1b": Wish.STOP}

    def __init__(self, terminal: int = 0) -> None:
        self._terminal, self._over = terminal, threading.Event()

    @property
    def there(self) -> bool:
        """Whether this is a terminal, and this process is the one that it speaks to."""
        with suppress(OSError, ValueError):
            return os.isatty(self._terminal) and os.tcgetpgrp(self._terminal) == os.getpgrp()
        return False

    def __enter__(self) -> "Keys":
        self._before = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # A process in the background that changes the terminal is stopped by it, unless it has this signal ignored.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            with suppress(termios.error):  # the terminal was closed
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._before)
        finally:
            signal.signal(signal.SIGTTOU, before)

    def __iter__(self) -> Iterator[Wish]:
        while not self._over.is_set():
            ready, _, _ = select.select([self._terminal], [], [], _LOOK)
            if not ready or not self.there:
                self._over.wait(0 if not ready else _LOOK)
                continue
            pressed = os.read(self._terminal, 64)
            if not pressed:  # hung up
                return
            yield from (self.WISHES[key] for key in map(bytes, zip(pressed)) if key in self.WISHES)


def say(text: str) -> None:
    """A line on standard error, with nothing between it and the system: the loop shares the interpreter."""
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())
