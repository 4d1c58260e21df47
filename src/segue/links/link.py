"""The control loop's end of a policy that runs elsewhere: it sends, polls, and never waits.

    control process                                policy process
    send(request, observation)  -- newest wins -->  next_chunk(observation, continuation)
    poll() -> Answer | None     <-- newest wins --  actions, or what went wrong

Every request that is not overtaken by a newer one is answered exactly once: by the policy, with actions or with an
error; or by the link, with an error, when the policy died, hung or was never there. First actions that are
finished before the others may come ahead of the answer.
"""

import random
from dataclasses import dataclass
from enum import Enum
from math import nan
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from segue.core.chunk import Array
from segue.core.spec import LONGEST_PERIOD, PolicySpec
from segue.plan.plan import Handover, Request


@dataclass(frozen=True)
class Backoff:
    """Pauses before the next start or connection: doubling, capped, and never in step with anybody else.

    Attributes:
        first: After the first failure [s].
        most: Never more [s].
        jitter: Share that is random.
    """

    first: float = 0.1
    most: float = 5.0
    jitter: float = 0.25

    def seconds(self, failures: int, rng: random.Random) -> float:
        """Return the pause after so many failures in a row, at least one [s]."""
        pause = min(self.first * 2.0 ** min(failures - 1, 60), self.most)
        return pause * (1 - self.jitter * rng.random())


class LinkState(Enum):
    """Says whether a policy can be asked."""

    STARTING = "starting"
    """It is being started and warmed up."""
    READY = "ready"
    LOST = "lost"
    """It has ended; it will be started again after a pause, unless `PolicyLink.reason` says why not."""


@dataclass(frozen=True)
class Hello:
    """Describes a policy that is warm.

    Attributes:
        spec: What it sees and answers.
        handover: How its chunks take over.
        inference: Seconds that an inference takes, warm-up excluded.
    """

    spec: PolicySpec
    handover: Handover
    inference: Annotated[float, Meta(ge=0, le=LONGEST_PERIOD)]


class Answer(msgspec.Struct, frozen=True, eq=False):
    """Answers the request of this epoch and number.

    Attributes:
        actions: Shape (horizon, action), robot units; None where there is an error.
        seconds: Time from sending the request to the end of the inference [s].
        error: Error in one line; empty where there are actions.
        surprise: How far the robot was from what was predicted of it, 1 being the bound of what is usual; above it the
            chunk was made of the observation as it was. NaN where there was nothing to compare.
        more: These are the first actions alone, shape (finished, action); the request will be answered again, with more
            of them, and last with the whole chunk or an error.
    """

    epoch: int
    number: int
    actions: Array | None
    seconds: float
    error: str = ""
    surprise: float = nan
    more: bool = False


class PolicyLink(Protocol):
    """A policy as the control loop sees it. No call but `close` waits for anything.

    Calls take some microseconds; but `send` copies pictures, which takes a millisecond or two with two cameras of
    640 x 480 pixels.

    Attributes:
        state: Whether it can be asked.
        restarts: How often it has been started again.
        reason: Why it was last lost; empty while it never was.
        spec: What the policy says that it sees and answers; None as long as it has not said so.
        epoch: The number of the newest episode, -1 before the first.
    """

    state: LinkState
    restarts: int
    reason: str
    spec: PolicySpec | None
    epoch: int

    def new_epoch(self) -> int:
        """Return a number for an episode that none of this link has had: 0, 1, 2, ...

        Requests are named by epoch and number, so that an answer to one episode is never taken for another's, whoever
        asks: a new plan begins at the same number as the last one did.
        """
        self.epoch += 1
        return self.epoch

    def send(self, request: Request, observation: Any) -> None:
        """Ask, with an `Observed`; an unanswered earlier request may be dropped."""
        ...

    def poll(self) -> Answer | None:
        """Return an answer that has come, if one has."""
        ...

    def close(self) -> None:
        """End the policy; may be called twice."""
        ...
