"""The conversation of a plan with a policy behind a link: requests out, answers in, and nothing that is not due.

plan.request(state) -> link.send        one request under way at most
link.poll() -> plan.deliver_part       its first actions, ahead of the others
            -> plan.deliver            its answer, once; what else comes was asked before a reset, or is dropped
            -> plan.abandon            there is none; the next request waits, longer after every failure

A chunk that the plan refuses, or that comes too late to be of use, is a failure like no answer: a policy that has
turned to NaN is not asked in every step.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from segue.core.chunk import Array, are_real
from segue.core.observation import state_of
from segue.errors import SpecError
from segue.links.link import Answer, LinkState, PolicyLink
from segue.plan.plan import Delivery, Plan, Request
from segue.trace.records import ChunkRecord
from segue.trace.sink import Sink

_LONGEST_WAIT: Final = 1.0  # [s] between failures
_MOST_ANSWERS: Final = 4  # looked at in one step


@dataclass
class Said:
    """Counts what has been said so far.

    Attributes:
        requests: Inferences asked for.
        outcomes: Chunks that came by their fate.
        errors: Requests without a chunk.
        dropped: Answers that nobody waited for.
        root_cause: The first error or refusal since the last chunk that was taken, in this episode; empty when all is
            well.
        last_error: The last error or refusal.
    """

    requests: int = 0
    outcomes: Counter[Delivery] = field(default_factory=Counter)
    errors: int = 0
    dropped: int = 0
    root_cause: str = ""
    last_error: str = ""


class Conversation:
    """Sends a plan's requests and takes a policy's answers.

    Args:
        plan: Decides.
        link: Link to the policy.
        sink: Takes every answer.
        dt: Control period, the first wait after a failure [s].
        state: Makes of an observation the state that the plan keeps for the next request; see `Plan.request`.
    """

    def __init__(
        self, plan: Plan, link: PolicyLink, sink: Sink, dt: float, state: Callable[[Any], Array | None] = state_of
    ) -> None:
        self.plan, self._link, self._sink, self._dt, self._state = plan, link, sink, dt, state
        self.said = Said()
        self._asked: Request | None = None
        self._before: Request | None = None
        self.reset()

    @property
    def lost(self) -> bool:
        """Tell whether no fresh chunk is to be expected: nobody is there, or the last request failed."""
        return self.failures > 0 or self._link.state is not LinkState.READY

    def reset(self) -> None:
        """Begin an episode, in plan and policy: what is under way, also for another plan, is not taken for its own."""
        self.plan.reset(self._link.new_epoch())
        self._before, self._asked = self._asked or self._before, None
        self.failures = 0
        """One after the other since the last chunk that was taken, in this episode."""
        self._not_before, self.said.root_cause = float("-inf"), ""

    def ready(self, now: float) -> bool:
        """Tell whether somebody is there to be asked, and the wait after a failure is over."""
        return self._link.state is LinkState.READY and now >= self._not_before

    def request(self, observation: Any) -> int | None:
        """Ask if it is due, and return the number of the request, or None."""
        if not self.plan.due or (request := self.plan.request(self._state(observation))) is None:
            return None
        self._asked = request
        self.said.requests += 1
        self._link.send(request, observation)
        return request.number

    def deliver(self, now: float, *, after_request: bool) -> None:
        """Take what has come."""
        for _ in range(_MOST_ANSWERS):
            answer = self._link.poll()
            if answer is None:
                return
            if answer.more:
                self._take_part(answer, after_request)
            else:
                self._take(answer, now, after_request)

    def _take(self, answer: Answer, now: float, after_request: bool) -> None:
        request, outcome = self._answered(answer), None
        if request is None:
            self.said.dropped += 1
            return
        actions = answer.actions
        if request.epoch != self.plan.epoch:
            outcome = Delivery.STALE
        elif actions is None:
            self._give_up(request, answer.error, now)
        else:
            try:
                outcome = self.plan.deliver(request, actions)
            except SpecError as error:
                self._give_up(request, error.got, now)
                actions = None  # of another shape: nothing that can be written down as a chunk
        if outcome is not None:
            self.said.outcomes[outcome] += 1
        if outcome is Delivery.TAKEN:
            self.failures, self.said.root_cause = 0, ""
        elif outcome is Delivery.REFUSED and not are_real(actions):
            self._fail(f"a chunk of {np.asarray(actions).dtype}, not of real numbers", now)
            actions = None
        elif outcome is Delivery.REFUSED:
            self._fail("a chunk that is not finite", now)
        elif outcome is Delivery.EXPIRED:
            self._fail(f"a chunk that took {answer.seconds:.3g} s: the robot is beyond its last action", now)
        self._sink.chunk(
            ChunkRecord(request, outcome, actions, self.plan.step, after_request, answer.seconds, answer.surprise)
        )

    def _take_part(self, answer: Answer, after_request: bool) -> None:
        """Take the first actions of the chunk that is waited for; the trace has them with NaN for what is to come."""
        request, part = self._asked, answer.actions
        if request is None or (answer.epoch, answer.number) != (request.epoch, request.number) or part is None:
            return
        if self.plan.deliver_part(request, part):
            known = np.full((self.plan.horizon, self.plan.action), np.nan, np.float32)
            known[: len(part)] = part
            self._sink.chunk(ChunkRecord(request, Delivery.TAKEN, known, self.plan.step, after_request, answer.seconds))

    def _answered(self, answer: Answer) -> Request | None:
        """Return the request that an answer is for, which waits for it no longer."""
        name = answer.epoch, answer.number
        if self._asked is not None and name == (self._asked.epoch, self._asked.number):
            request, self._asked = self._asked, None
            return request
        if self._before is not None and name == (self._before.epoch, self._before.number):
            request, self._before = self._before, None
            return request
        return None

    def _give_up(self, request: Request, error: str, now: float) -> None:
        self.plan.abandon(request)
        self.said.errors += 1
        self._fail(error, now)

    def _fail(self, error: str, now: float) -> None:
        self.said.root_cause, self.said.last_error = self.said.root_cause or error, error
        self._not_before = now + min(self._dt * 2.0 ** min(self.failures, 60), _LONGEST_WAIT)
        self.failures += 1
