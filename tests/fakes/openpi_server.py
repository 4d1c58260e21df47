"""A server that speaks as openpi's does: metadata first, then a map for a map, a traceback before it closes.

Nothing of it is openpi's own: its server is not on the package index, and its client stands in `make test-openpi`.
"""

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.sync.server import ServerConnection

from fakes.served_policies import openpi_frame, openpi_read
from fakes.servers import fake

Seen = dict[str, Any]
GOAL = 0.5


def towards(state: NDArray, horizon: int = 50) -> NDArray[np.float64]:
    """Two joints from where they are to a goal, ever slower, in the double precision that openpi answers with."""
    left = np.exp(-np.arange(1, horizon + 1) / 40)[:, None]
    return GOAL + (np.asarray(state, np.float64)[:2] - GOAL) * left


@dataclass
class Openpi:
    """A dummy policy behind openpi's protocol.

    Attributes:
        infer: Actions of what was seen.
        faults: What is sent instead of an answer, by the number of the request, 1 being the first: bytes, a text, an
            exception that `infer` raises, or None to close.
        seen: What it was asked.
        there: Cleared, it lets nobody in and answers nobody.
    """

    infer: Callable[[Seen], Any] = lambda seen: towards(seen["observation/state"])
    faults: dict[int, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    there: threading.Event = field(default_factory=threading.Event)
    first: float = 0.0
    connections: int = 0

    def __post_init__(self) -> None:
        self.there.set()

    def listening(self) -> AbstractContextManager[str]:
        """Its URL."""
        return fake(self._handle)

    def _handle(self, connection: ServerConnection) -> None:
        if not self.there.is_set():
            return
        self.connections += 1
        connection.send(openpi_frame({"model": "dummy", "reset_pose": [0.0] * 14}))
        for frame in connection:
            assert isinstance(frame, bytes)
            self.seen.append(openpi_read(frame))
            fault = self.faults.get(len(self.seen), self)
            if len(self.seen) == 1:
                time.sleep(self.first)
            if not self.there.is_set() or fault is None:
                return
            if isinstance(fault, bytes):
                connection.send(fault)
                continue
            try:
                if isinstance(fault, Exception):
                    raise fault
                answer = {"actions": self.infer(self.seen[-1]), "server_timing": {"infer_ms": 80.0}, "state": None}
            except Exception:
                connection.send(traceback.format_exc())
                connection.close(1011)
                return
            connection.send(fault if isinstance(fault, str) else openpi_frame(answer))
