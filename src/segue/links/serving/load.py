"""Robots that are not there: what a policy server answers to so many of them, and when.

    every `period`, each robot at a moment of its own       asked ----- delay -----> answered
    what is left of its chunk when it asks                  ============|  missed, if the answer comes after this

Each robot asks as `RemotePolicy` does, always about the same observation, and goes on asking whether it is answered or
not. All of them are in one event loop; what they note does not grow with time.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidStatus

from segue.core.chunk import Continuation
from segue.core.observation import Observation, blank
from segue.core.spec import PolicySpec
from segue.errors import RemoteError, SpecError
from segue.links import frames, messages
from segue.links.card import decode_card
from segue.links.messages import Question

_FIRST, _LAST, _BINS = 1e-5, 1e2, 1400  # [s], each bin 1.2 % wide
_PATIENCE: Final = 10.0


@dataclass
class Delays:
    """Counts delays in bins of 1.2 %, however many there are.

    Attributes:
        asked: Questions.
        missed: Answers that came too late, and questions without one.
        refused: By the word of the server.
        cause: What the server said when it refused last.
        starved: Numbers of the robots, from 1 on, that had no answer in time.
    """

    asked: int = 0
    missed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    cause: str = ""
    starved: Sequence[int] = ()
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    @property
    def answered(self) -> int:
        """How many there are."""
        return int(self._counts.sum())

    def add(self, seconds: float) -> None:
        """Count a delay [s]."""
        place = math.log(max(seconds, _FIRST) / _FIRST) / math.log(_LAST / _FIRST) * _BINS
        self._counts[min(int(place), _BINS - 1)] += 1

    def quantile(self, share: float) -> float:
        """Return the delay that this share of them do not exceed, the upper end of its bin [s]; NaN without any."""
        if not self.answered:
            return math.nan
        place = int(np.searchsorted(np.cumsum(self._counts), share * self.answered))
        return _FIRST * (_LAST / _FIRST) ** ((min(place, _BINS - 1) + 1) / _BINS)


@dataclass(frozen=True)
class Load:
    """Describes what robots ask for.

    Attributes:
        url: Of the server, as `RemotePolicy` takes it.
        rate: Of their control loops [Hz]; the policy's by default.
        steps: Executed from each chunk; half of it by default.
        headers: To send with the request for a connection.
    """

    url: str
    rate: float | None = None
    steps: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


async def loaded(load: Load, robots: int, seconds: float) -> Delays:
    """Let so many robots ask for so long [s], and return what came of it.

    Raises:
        RemoteError: Nobody listens there, or there is no room for so many.
        SpecError: The server does not say what it serves, or chunks are shorter than what is to be executed of them.
    """
    async with AsyncExitStack() as stack:
        try:
            connections = [await stack.enter_async_context(_connection(load)) for _ in range(robots)]
            cards = [decode_card(await asyncio.wait_for(each.recv(), _PATIENCE)) for each in connections]
        except InvalidStatus as error:
            body = bytes(error.response.body or b"")[:200].decode(errors="replace").strip()
            raise RemoteError(f"{load.url} turns a robot away: {body or error}", "room", "fewer robots") from error
        except (OSError, ConnectionClosed, TimeoutError) as error:
            raise RemoteError(
                f"no server at {load.url}: {error}", "a policy server", "start it (segue serve)"
            ) from error
        if cards[0] is None:
            raise SpecError(f"{load.url} does not say what it serves", "a server of Segue", "start it with segue serve")
        spec, delays = cards[0].spec, Delays()
        steps = load.steps or max(spec.horizon // 2, 1)
        if steps >= spec.horizon:
            raise SpecError(
                f"{steps} steps of chunks of {spec.horizon}", f"at most {spec.horizon - 1}", "execute fewer"
            )
        dt = 1 / load.rate if load.rate else spec.dt
        begin = time.monotonic() + 0.05
        everyone = [
            _Robot(each, _question(spec, steps), steps * dt, (spec.horizon - steps) * dt, delays)
            for each in connections
        ]
        begins = [begin + number / robots * steps * dt for number in range(robots)]
        await asyncio.gather(*(each.run(at, begin + seconds) for each, at in zip(everyone, begins, strict=True)))
        delays.starved = [number for number, each in enumerate(everyone, 1) if each.asked and not each.in_time]
    return delays


def _connection(load: Load) -> connect:
    how: dict[str, Any] = {
        "compression": None, "max_size": frames.MAX_FRAME, "additional_headers": load.headers, "close_timeout": 0.1,
        "open_timeout": _PATIENCE,
    }  # fmt: skip
    if load.url.startswith("unix:"):
        return unix_connect(load.url.removeprefix("unix:"), **how)
    return connect(load.url, proxy=None, **how)


def _question(spec: PolicySpec, steps: int) -> Question:
    """A question in the middle of an episode; pictures are noise, sent raw."""
    seen, known = blank(len(spec.observation_names), spec.cameras), spec.horizon - steps
    prefix = np.zeros((known, len(spec.action_names)), np.float32)
    asked = Continuation(steps, prefix, min(1, known), steps, np.ones(known, np.int64))
    if not isinstance(seen, Observation):
        return Question(seen, asked)
    noise = np.random.default_rng(0)
    pictures = {name: noise.integers(0, 256, (*size, 3), np.uint8) for name, size in spec.cameras.items()}
    return Question(seen.state, asked, pictures=pictures)


@dataclass
class _Robot:
    """One robot's questions, and what is still to be answered of them."""

    connection: ClientConnection
    question: Question
    period: float
    left: float
    delays: Delays
    open: dict[int, float] = field(default_factory=dict)
    asked: int = 0
    in_time: int = 0

    async def run(self, begin: float, end: float) -> None:
        listening = asyncio.create_task(self._listen())
        number, due = 0, begin
        with suppress(ConnectionClosed):
            while due < end:
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                self.open[number] = due
                self.delays.asked, self.asked = self.delays.asked + 1, self.asked + 1
                await self.connection.send(messages.encode_question(replace(self.question, id=number)))
                number, due = number + 1, due + self.period
            while self.open and time.monotonic() < due + self.left:
                await asyncio.sleep(0.01)
        listening.cancel()
        self.delays.missed += len(self.open)

    async def _listen(self) -> None:
        with suppress(ConnectionClosed):
            async for frame in self.connection:
                if isinstance(frame, str):
                    said, number = messages.reason(frame)
                    self.delays.refused[said.split(":")[0][:20]] += 1
                    self.delays.cause = said
                    self.delays.missed += self.open.pop(number if number is not None else -1, None) is not None
                    continue
                number = messages.decode_answer(frame, (None, None)).id
                if (due := self.open.pop(-1 if number is None else number, None)) is not None:
                    delay = time.monotonic() - due
                    self.delays.add(delay)
                    self.delays.missed += delay > self.left
                    self.in_time += delay <= self.left


def curve(most: int) -> Sequence[int]:
    """Return the numbers of robots to try: powers of two, and the most."""
    return [*(2**power for power in range((most - 1).bit_length())), most]
