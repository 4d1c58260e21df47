"""Bounds on what a client that sends as fast as it can costs a server: little time, and few lines in the log."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

_MOST_FRAMES: Final = 256
"""Bound of messages at once, and of pings, pongs and pieces of messages in a second; no client has use for more."""
_SLICE: Final = 2048
"""Bytes after which the frames in them are counted: some hundred of the smallest; more in the middle of a large one."""
_LONGEST_HEADER: Final = 14
_MOST_PARTS: Final = 64
_WHOLE_BINARY: Final = 0x82  # first byte of a binary message that is not in pieces
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

    Whole binary messages, which is what clients send, are taken out of the stream here, each copied once: pictures are
    large. Whatever else comes, and whatever is wrong, is left to the package websockets. The first of those that
    come together is heard at once; the others wait in the package's queue, until everybody else has had a turn.
    """

    def __init__(self, *arguments: Any, say: Sparing, largest: int, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._say, self._largest = say, largest
        self._messages = self._pieces = self._second = self._frames = 0
        self._in_pieces = False
        self._parts: list[memoryview | bytearray] = []  # of a message that has not come whole
        self._missing, self._mask = 0, b""
        self.hear: Callable[[bytes], object] | None = None  # once it has been greeted

    @override
    def data_received(self, data: bytes) -> None:
        self._messages = 0
        rest = memoryview(data)
        while rest and not self.transport.is_closing():
            if not self._missing:
                header = self._begin(rest)
                if not header:
                    return self._read(rest)
                rest = rest[header:]
            rest = self._gather(rest)

    def _begin(self, data: memoryview) -> int:
        """Read the header of a whole binary message, masked and of a size that is taken; return its length, or 0."""
        protocol = self.protocol
        if protocol.state is not State.OPEN or self._in_pieces or protocol.reader.buffer or len(data) < _LONGEST_HEADER:
            return 0
        size, at = data[1] & 0x7F, 2
        if data[0] != _WHOLE_BINARY or not data[1] & 0x80:
            return 0
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at], "big")
        if not 0 < size <= self._largest:
            return 0
        self._missing, self._mask = size, bytes(data[at : at + 4])
        return at + 4

    def _gather(self, data: memoryview) -> memoryview:
        """Take what belongs to the message that has begun, and return the rest."""
        part, rest = data[: self._missing], data[self._missing :]
        self._missing -= len(part)
        if len(self._parts) < _MOST_PARTS:
            self._parts.append(part)
        else:  # it trickles in: each part on its own would take more memory than the message
            self._parts[-1] = bytearray(self._parts[-1]) if isinstance(self._parts[-1], memoryview) else self._parts[-1]
            self._parts[-1] += part
        if not self._missing:
            whole = b"".join(self._parts)
            self._parts.clear()
            self._hand_over(apply_mask(whole, self._mask) if any(self._mask) else whole)
        return rest

    def _hand_over(self, message: bytes) -> None:
        """Let a message be heard, without a task that wakes unless others came before it or an answer waits to go."""
        behind = self._messages or len(self.recv_messages.frames) or self.transport.get_write_buffer_size()
        if self.hear is None or behind:
            return self.process_event(Frame(Opcode.BINARY, message))
        self._messages = 1
        self.hear(message)

    @property
    def in_a_row(self) -> bool:
        """Whether more than one message came at once."""
        return self._messages > 1

    def _read(self, data: memoryview) -> None:
        """Leave data to the package websockets, a little at a time."""
        start, size = 0, _SLICE
        while start < len(data) and not self.transport.is_closing():
            before = self._frames
            super().data_received(bytes(data[start : start + size]))
            start, size = start + size, 2 * size if self._frames == before else _SLICE

    @override
    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if not isinstance(event, Frame):
            return
        self._frames += 1
        self._in_pieces = not event.fin if event.opcode in DATA_OPCODES else self._in_pieces
        if event.fin and event.opcode in DATA_OPCODES:
            self._messages += 1
        else:
            second = int(self.loop.time())
            self._pieces = self._pieces + 1 if second == self._second else 1
            self._second = second
        if max(self._messages, self._pieces) >= _MOST_FRAMES and not self.transport.is_closing():
            self._say.tell("closed a connection", f"{_MOST_FRAMES} frames at once")
            self.transport.abort()

    def send_now(self, message: bytes | str) -> bool:
        """Send a message, unless an earlier one is still on its way, and tell whether it was sent."""
        if self.protocol.state is not State.OPEN or self.transport.get_write_buffer_size():
            return False
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self.send_data()
        return True
