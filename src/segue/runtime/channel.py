"""Mailboxes in shared memory: one writer, one reader, the newest message wins, and never a torn one.

    slot 0   | generation 8 | CRC | length | message ......... |
    slot 1   | generation 7 | CRC | length | message ......... |

A writer takes the slots in turn: it clears the slot's generation, stores the message, its length and checksum, and
last the generation. A reader takes the newest slot whose checksum, made over generation and message, is right. A writer
that dies half-way, at whatever byte and in whatever order its stores became visible, leaves a slot that is not taken;
the message before stays readable in the other. Neither side ever waits for the other, and there is no lock to be left
behind by a process that was killed.

The memory is a file without a name, handed to the other process as an open descriptor: nothing is left on the disk or
in /dev/shm, however the processes end, and nobody else can open it.
"""

import mmap
import os
import struct
import tempfile
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from segue.errors import SpecError

_HEAD: Final = struct.Struct("<QIIQ")  # generation, checksum, length, reserved (keeps messages aligned)
_GENERATION: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class Sizes:
    """Everything that fixes the layout of a channel.

    Attributes:
        observation: Observation dimensions.
        action: Action dimensions.
        horizon: H, actions per chunk.
    """

    observation: int
    action: int
    horizon: int

    @property
    def request(self) -> np.dtype:
        """From the control process to the policy."""
        return np.dtype(
            [
                *(("epoch", "<i8"), ("number", "<i8"), ("step", "<i8"), ("captured", "<f8")),
                *(("delay", "<i4"), ("execution_horizon", "<i4"), ("known", "<i4"), ("reserved", "<i4")),
                ("votes", "<i8", (self.horizon,)),
                ("prefix", "<f4", (self.horizon, self.action)),
                ("observation", "<f4", (self.observation,)),
            ]
        )

    @property
    def answer(self) -> np.dtype:
        """From the policy to the control process. ``error`` is empty where there are actions."""
        return np.dtype(
            [
                *(("epoch", "<i8"), ("number", "<i8"), ("captured", "<f8"), ("finished", "<f8"), ("inference", "<f8")),
                ("error", "S240"),
                ("actions", "<f4", (self.horizon, self.action)),
            ]
        )


class Mailbox:
    """Room for the newest message; use one end to write or to read, not both.

    Args:
        memory: ``Mailbox.room(size)`` bytes, shared with the other end; zeros at first.
        size: Longest message [bytes].
    """

    def __init__(self, memory: memoryview, size: int) -> None:
        self.size = size
        self._slots = tuple(memory[at : at + _slot(size)] for at in (0, _slot(size)))
        self._generation = 0

    @staticmethod
    def room(size: int) -> int:
        """Bytes of memory that a mailbox needs."""
        return 2 * _slot(size)

    def write(self, message: bytes | memoryview) -> None:
        """Put a message, in place of the last but one."""
        if len(message) > self.size:
            raise SpecError(f"a message of {len(message)} bytes", f"at most {self.size}", "make a larger mailbox")
        self._generation += 1
        generation, slot = self._generation, self._slots[self._generation % 2]
        _GENERATION.pack_into(slot, 0, 0)
        slot[_HEAD.size : _HEAD.size + len(message)] = message
        _HEAD.pack_into(slot, 0, 0, _checksum(generation, message), len(message), 0)
        _GENERATION.pack_into(slot, 0, generation)

    def read(self) -> bytes | None:
        """The newest message if it has not been read yet; None also while one is being written."""
        newest = sorted(((_GENERATION.unpack_from(slot)[0], slot) for slot in self._slots), key=_first, reverse=True)
        for generation, slot in newest:
            if generation <= self._generation:
                return None
            _, checksum, length, _ = _HEAD.unpack_from(slot)
            if length > self.size:
                continue
            message = bytes(slot[_HEAD.size : _HEAD.size + length])
            if _checksum(generation, message) == checksum:
                self._generation = generation
                return message
        return None


def _first(pair: tuple[int, memoryview]) -> int:
    return pair[0]


def _slot(size: int) -> int:
    return _HEAD.size + -(-size // 8) * 8


def _checksum(generation: int, message: bytes | memoryview) -> int:
    return zlib.crc32(message, zlib.crc32(_GENERATION.pack(generation)))


@dataclass(frozen=True, eq=False)
class Channel:
    """The two mailboxes between a control process and a policy process."""

    sizes: Sizes
    requests: Mailbox
    answers: Mailbox

    @classmethod
    def over(cls, descriptor: int, sizes: Sizes) -> "Channel":
        """A channel in the memory of an open file, which grows to fit.

        Raises:
            SpecError: The descriptor is not an open file, or there is no room.
        """
        first, second = Mailbox.room(sizes.request.itemsize), Mailbox.room(sizes.answer.itemsize)
        try:
            if os.fstat(descriptor).st_size < first + second:
                os.pwrite(descriptor, bytes(first + second), 0)  # written, so that a lack of room is noticed now
            memory = memoryview(mmap.mmap(descriptor, first + second))
        except (OSError, ValueError) as error:
            raise SpecError(
                f"shared memory that cannot be used ({error})",
                f"an open file with room for {first + second} bytes",
                "make room in /dev/shm",
            ) from error
        return cls(
            sizes,
            Mailbox(memory[:first], sizes.request.itemsize),
            Mailbox(memory[first:], sizes.answer.itemsize),
        )


def anonymous_file() -> int:
    """Descriptor of a new file without a name, in memory where the system has such a place."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())
