"""Bounds on what a client that sends as fast as it can costs a server: little time, and few lines in the log."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame

_MOST_FRAMES: Final = 256
"""Bound of messages at once, and of pings, pongs and pieces of messages in a second; no client has use for more."""
_SLICE: Final = 2048
"""Bytes after which the frames in them are counted: some hundred of the smallest; more in the middle of a large one."""
_QUIET: Final = 1.0  # seconds between two lines in the log about the same


class Sparing:
    """Logs each thing at most once in `_QUIET` seconds, with how often it has happened since.

    A line costs as much as many messages do, and whoever sends a message decides whether there is one.
    """

    def __init__(self, log: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._log, self._now = log, now
        self._told: dict[str, float] = {}
        self._since: Counter[str] = Counter()

    def tell(self, what: str, which: str = "", *, traceback: bool = False) -> None:
        """Note that something of a short list has happened, which one, and the exception that is being handled."""
        self._since[what] += 1
        now = self._now()
        if now - self._told.get(what, -math.inf) < _QUIET:
            return
        times = f" ({self._since[what]} times since the last line)" if self._since[what] > 1 else ""
        self._told[what], self._since[what] = now, 0
        said = f"{what}{': ' if which else ''}{which}{times}"
        self._log.log(logging.ERROR if traceback else logging.INFO, "%s", said, exc_info=traceback)


class BoundedConnection(ServerConnection):
    """A connection that ends when its peer keeps the server busy below the level of messages.

    Pings are answered and pieces of messages gathered without anybody here being asked; and all that comes at once is
    read before anybody else has a turn.
    """

    def __init__(self, *arguments: Any, say: Sparing, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._say = say
        self._messages = self._pieces = self._second = self._frames = 0

    @override
    def data_received(self, data: bytes) -> None:
        self._messages = 0
        start, size = 0, _SLICE
        while start < len(data) and not self.transport.is_closing():
            before = self._frames
            super().data_received(data[start : start + size])
            start, size = start + size, 2 * size if self._frames == before else _SLICE

    @override
    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if not isinstance(event, Frame):
            return
        self._frames += 1
        if event.fin and event.opcode in DATA_OPCODES:
            self._messages += 1
        else:
            second = int(self.loop.time())
            self._pieces = self._pieces + 1 if second == self._second else 1
            self._second = second
        if max(self._messages, self._pieces) >= _MOST_FRAMES and not self.transport.is_closing():
            self._say.tell("closed a connection", f"{_MOST_FRAMES} frames at once")
            self.transport.abort()
