"""Policies to serve in tests, and what a client without any library of ours says to a server."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Continuation
from segue.core.observation import Picture
from segue.core.spec import PolicySpec

SPEC = PolicySpec(8, 0.02, ("shoulder", "elbow", "wrist"), ("target shoulder", "target elbow"))
WAIT = 60.0
"""Longest time that anything in these tests waits for anything [s]."""


class Affine:
    """Continues the prefix, then counts from what it sees and where it starts: every input shows in the answer."""

    spec = SPEC
    stateless = True

    def __init__(self) -> None:
        self.asked: list[Continuation] = []
        self.resets = 0

    def next_chunk(self, observation: NDArray, continuation: Continuation) -> NDArray:
        self.asked.append(continuation)
        actions = np.arange(8)[:, None] + observation[:2] + continuation.start + 100 * continuation.delay
        actions[: continuation.known] = continuation.prefix
        return (actions + 1000 * continuation.votes.sum()).astype(np.float32)

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass


class Gate(Affine):
    """Waits in each inference until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def next_chunk(self, observation: NDArray, continuation: Continuation) -> NDArray:
        self.entered.release()
        assert self.go_on.acquire(timeout=WAIT)
        return super().next_chunk(observation, continuation)


class Watching(Affine):
    """Also looks at pictures, and is told what to do."""

    spec = replace(SPEC, cameras={"front": (16, 24), "wrist": (16, 16)})

    def __init__(self) -> None:
        super().__init__()
        self.seen: Mapping[str, Picture] = {}
        self.prompt = ""

    def next_chunk(self, observation: Any, continuation: Continuation) -> NDArray:
        self.seen, self.prompt = observation.pictures, observation.prompt
        return super().next_chunk(observation.state, continuation)


def openpi_array(array: NDArray[Any]) -> dict[bytes, Any]:
    """As openpi's documentation says, written by hand."""
    return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": list(array.shape)}


def openpi_frame(message: Mapping[str, Any]) -> bytes:
    """What openpi's client sends, from another encoder."""
    plain = {key: openpi_array(value) if isinstance(value, np.ndarray) else value for key, value in message.items()}
    return msgspec.msgpack.encode(plain)


def openpi_read(frame: bytes) -> dict[str, Any]:
    """What openpi's client makes of a frame."""

    def read(value: Any) -> Any:
        if isinstance(value, dict) and b"__ndarray__" in value:
            return np.ndarray(buffer=value[b"data"], dtype=np.dtype(value[b"dtype"]), shape=value[b"shape"])
        return {key: read(each) for key, each in value.items()} if isinstance(value, dict) else value

    return read(msgspec.msgpack.decode(frame))
