"""A policy in a worker thread of the process that asks it, for loops that share an interpreter with it in any case.

    control thread    send(request k)    poll() -> None    poll() -> Answer
    worker                  |------ answer(request, observation) ------|

One inference is under way at a time: what is sent meanwhile waits for it, and only the newest is answered.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from typing_extensions import override

from segue.core.chunk import Array
from segue.links.link import Answer, LinkState, PolicyLink
from segue.plan.plan import Request

logger = logging.getLogger(__name__)


class ThreadLink(PolicyLink):
    """Asks a function; one that raises is logged, and answered with an error.

    Args:
        answer: Makes a chunk, shape (horizon, action), of a request and its observation; called in the worker.
        worker: Makes one call after the other, and is closed with the link; a thread of its own by default.
    """

    def __init__(self, answer: Callable[[Request, Any], Array], worker: Executor | None = None) -> None:
        self._answer = answer
        self._worker = ThreadPoolExecutor(1, "segue-inference") if worker is None else worker
        self._flight: Future[Answer] | None = None
        self.state, self.restarts, self.reason, self.spec, self.epoch = LinkState.READY, 0, "", None, -1

    @override
    def send(self, request: Request, observation: Any) -> None:
        self._flight = self._worker.submit(self._answered, request, observation, time.perf_counter())

    def _answered(self, request: Request, observation: Any, sent: float) -> Answer:
        actions, error = None, ""
        try:
            actions = self._answer(request, observation)
        except Exception as raised:
            logger.exception("inference for request %d failed", request.number)
            error = f"{type(raised).__name__}: {raised}"
        return Answer(request.epoch, request.number, actions, time.perf_counter() - sent, error)

    @override
    def poll(self) -> Answer | None:
        if self._flight is None or not self._flight.done():
            return None
        flight, self._flight = self._flight, None
        return flight.result()

    @override
    def close(self) -> None:
        self._flight = None  # an inference under way ends by itself
        self._worker.shutdown(wait=False, cancel_futures=True)
