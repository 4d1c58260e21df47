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
from math import nan
from typing import Final

import numpy as np

from segue.core.chunk import Array, Continuation, Past
from segue.core.observation import Cameras, Observation, Observed, Picture, check_pictures, seen, state_of
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.links.link import Answer
from segue.plan.plan import Request

_HEAD: Final = struct.Struct("<QII")  # generation, checksum, length
REQUEST: Final = struct.Struct("<qqqqd iiii i4x")
"""Epoch, number, step, episode, captured; delay, s, known, whether previous is known; steps of the past, -1: none."""
ANSWER: Final = struct.Struct("<qqddd q")
"""Epoch, number, captured, finished, surprise; how many actions, fewer than the horizon where more follow."""
LONGEST_ERROR: Final = 240  # bytes
_FLOAT: Final = np.dtype("<f4")


def request_size(spec: PolicySpec) -> int:
    """Count the bytes of the longest request: its head, votes, prefix, previous action, past, state and pictures."""
    floats = (2 * spec.horizon + 1) * len(spec.action_names) + 2 * len(spec.observation_names)
    return REQUEST.size + 8 * spec.horizon + 4 * floats + spec.picture_bytes


def answer_size(spec: PolicySpec) -> int:
    """Count the bytes of the longest answer: its head, and the actions or an error."""
    return ANSWER.size + max(4 * spec.horizon * len(spec.action_names), LONGEST_ERROR)


class Mailbox:
    """Room for the newest message; use one end to write or to read, not both.

    Args:
        memory: ``Mailbox.room(size)`` bytes, shared with the other end; zeros at first.
        size: Longest message [bytes].
    """

    def __init__(self, memory: memoryview, size: int) -> None:
        self.size = size
        self._slots = memory[: _slot(size)], memory[_slot(size) : 2 * _slot(size)]
        self._generations = tuple(slot[:8].cast("B").cast("Q") for slot in self._slots)
        self._generation = 0

    @staticmethod
    def room(size: int) -> int:
        """Count the bytes of memory that a mailbox needs."""
        return 2 * _slot(size)

    def write(self, message: bytes | memoryview) -> None:
        """Put a message, in place of the last but one."""
        if len(message) > self.size:
            raise SpecError(f"a message of {len(message)} bytes", f"at most {self.size}", "make a larger mailbox")
        self._generation += 1
        generation, which = self._generation, self._generation % 2
        slot, stored = self._slots[which], self._generations[which]
        stored[0] = 0  # a reader takes the other slot from here on, until the last store names this one
        slot[_HEAD.size : _HEAD.size + len(message)] = message
        _HEAD.pack_into(slot, 0, 0, _checksum(generation, message), len(message))
        stored[0] = generation

    @property
    def unread(self) -> bool:
        """Tell whether there is a message that has not been read yet; for the reading end, from any thread."""
        return max(generation[0] for generation in self._generations) > self._generation

    def read(self) -> bytes | None:
        """Return the newest message if it has not been read yet; None also while one is being written."""
        even, odd = self._generations
        even, odd = even[0], odd[0]  # once each: the writer may store a newer one at any moment
        if even <= self._generation >= odd:
            return None
        for which, generation in ((0, even), (1, odd)) if even > odd else ((1, odd), (0, even)):
            if generation <= self._generation:
                return None
            # A copy first, and then its checksum: what is overwritten meanwhile does not pass, and the other slot is
            # tried, whose message is whole while this one is written
            slot = self._slots[which]
            _, checksum, length = _HEAD.unpack_from(slot)
            if length > self.size:
                continue
            message = bytes(slot[_HEAD.size : _HEAD.size + length])
            if _checksum(generation, message) == checksum:
                self._generation = generation
                return message
        return None


def _slot(size: int) -> int:
    return _HEAD.size + -(-size // 8) * 8


def _checksum(generation: int, message: bytes | memoryview) -> int:
    """Compute the CRC-32 of a message from its generation, folded to 32 bits, so that no other generation fits."""
    return zlib.crc32(message, (generation ^ generation >> 32) & 0xFFFFFFFF)


@dataclass(frozen=True, eq=False)
class Channel:
    """The two mailboxes between a control process and a policy process; what the policy is fixes their layout."""

    spec: PolicySpec
    requests: Mailbox
    answers: Mailbox

    @classmethod
    def over(cls, descriptor: int, spec: PolicySpec) -> "Channel":
        """A channel in the memory of an open file, which grows to fit.

        Raises:
            SpecError: The descriptor is not an open file, or there is no room.
        """
        request, answer = request_size(spec), answer_size(spec)
        first, second = Mailbox.room(request), Mailbox.room(answer)
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
        return cls(spec, Mailbox(memory[:first], request), Mailbox(memory[first:], answer))


def pack_request(request: Request, observed: Observed, captured: float, cameras: Cameras | None = None) -> bytes:
    """Write a request, with the monotonic time of its observation [s] and the pictures of these cameras, in this order.

    Raises:
        SpecError: A picture is missing or of another size, or the past has a state of another size.
    """
    check_pictures(observed, cameras or {})
    c = request.continuation
    head = REQUEST.pack(
        request.epoch, request.number, request.step, c.episode, captured,
        c.delay, c.execution_horizon, c.known, c.previous is not None, -1 if c.past is None else len(c.past.executed),
    )  # fmt: skip
    state = state_of(observed)
    floats = [c.prefix, state] if c.previous is None else [c.prefix, c.previous, state]
    if c.past is not None:
        if c.past.state.shape != np.shape(state):
            raise SpecError(
                got=f"a state of shape {np.shape(state)} after one of {c.past.state.shape}",
                expected="the same observation dimensions at every request",
                change="give the plan the state that the policy is given",
            )
        floats += [c.past.state, c.past.executed]
    numbers = [c.votes.astype("<i8").tobytes(), *(array.astype("<f4").tobytes() for array in floats)]
    shown = observed.pictures if isinstance(observed, Observation) else {}
    return b"".join((head, *numbers, *(shown[name].tobytes() for name in cameras or {})))


def unpack_request(message: bytes, spec: PolicySpec) -> tuple[Request, Observed, float]:
    """Read request, observation and its time from what `pack_request` wrote."""
    epoch, number, step, episode, captured, delay, s, known, has_previous, executed = REQUEST.unpack_from(message)
    votes = np.frombuffer(message, "<i8", known, REQUEST.size)
    at, action = REQUEST.size + 8 * known, len(spec.action_names)
    floats = np.frombuffer(message, "<f4", (len(message) - spec.picture_bytes - at) // 4, at).copy()
    prefix, rest = floats[: known * action].reshape(known, action), floats[known * action :]
    previous, observation = (rest[:action], rest[action:]) if has_previous else (None, rest)
    past = None
    if executed >= 0:
        states, actions = np.split(observation, [len(observation) - executed * action])
        observation, before = np.split(states, 2)
        past = Past(before, actions.reshape(executed, action))
    continuation = Continuation(step, prefix, delay, s, votes.copy(), previous, episode, past)
    return Request(epoch, number, step, continuation), seen(observation, _pictures(message, spec)), captured


def _pictures(message: bytes, spec: PolicySpec) -> dict[str, Picture]:
    """Read the pictures at the end of a request, by camera."""
    pictures, at = {}, len(message) - spec.picture_bytes
    for name, (height, width) in spec.cameras.items():
        pictures[name] = np.frombuffer(message, np.uint8, 3 * height * width, at).reshape(height, width, 3).copy()
        at += 3 * height * width
    return pictures


def pack_answer(
    request: Request, actions: Array | None, error: str, *, captured: float, finished: float, surprise: float = nan
) -> bytes:
    """Write an answer; see `segue.links.link.Answer`."""
    head = ANSWER.pack(
        request.epoch, request.number, captured, finished, surprise, 0 if actions is None else len(actions)
    )
    return head + (error.encode()[:LONGEST_ERROR] if actions is None else actions.astype("<f4").tobytes())


def unpack_answer(message: bytes, spec: PolicySpec) -> Answer:
    """Read what `pack_answer` wrote."""
    epoch, number, captured, finished, surprise, count = ANSWER.unpack_from(message)
    seconds = max(finished - captured, 0.0)
    if not count:
        return Answer(epoch, number, None, seconds, message[ANSWER.size :].decode(errors="replace"))
    horizon, action = spec.chunk_shape
    actions = np.ndarray((count, action), _FLOAT, message, ANSWER.size)
    return Answer(epoch, number, actions, seconds, surprise=surprise, more=count < horizon)


def anonymous_file() -> int:
    """Open a new file without a name, in memory where the system has such a place, and return its descriptor."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())
