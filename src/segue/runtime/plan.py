"""Which action now, whether to start inference, and what to do with a chunk that arrives: decisions without I/O.

A control loop does three things in every control step, in this order; a simulation and the wall clock drive the same
object:

    plan.deliver(request, actions)      # hand over the chunk that has arrived, if one has
    request = plan.request()            # start an inference? at most one is under way
    tick = plan.tick()                  # the action of this step, and the truth about it

A chunk that takes less than a step (d = 0) is delivered between request and tick. Asking before delivering would make
every chunk one step longer where d = s, and with d = s = H / 2 leave the robot without an action.

There is no thread, clock, lock or log here. Delay is counted in steps in which the robot executed an action between
request and delivery, so that a pause (a hold) does not make a chunk older than it is.

    step         k           k+d                   k+s
    old chunk   -|-----------|
    new chunk    |(skipped d)|---------------------|----
                 request     delivered             next request
"""

from dataclasses import dataclass
from enum import Enum

import msgspec
import numpy as np

from segue.core.chunk import Array, Chunk, Continuation, Past, check_timing
from segue.errors import SpecError
from segue.runtime.delay import WindowQuantile
from segue.runtime.trigger import FIXED_HORIZON, Progress, Trigger


class Handover(Enum):
    """How a chunk takes over from the one before."""

    CONTINUE = "continue"
    """The robot executes on during inference, and the new chunk is joined at the step that has been reached: its first
    d actions are skipped."""
    RESTART = "restart"
    """The robot executes on during inference, and the new chunk is executed from its first action, d steps late."""
    WAIT = "wait"
    """The robot waits during inference: synchronous execution."""


class Delivery(Enum):
    """What became of a chunk that arrived."""

    TAKEN = "taken"
    STALE = "stale"
    """Asked for before the last reset."""
    EXPIRED = "expired"
    """So late that the robot is beyond its last action; the next one is asked for at once."""
    REFUSED = "refused"
    """Contains a number that is not finite: the robot goes on with the chunk that it has, and asks again at once."""


class Event(Enum):
    """What happened in a tick."""

    CONTINUED = "continued"
    SWITCHED = "switched"
    HELD = "held"


@dataclass(frozen=True, eq=False)
class Request:
    """An inference to start with the observation of this step."""

    epoch: int
    number: int
    step: int
    continuation: Continuation


class Tick(msgspec.Struct, frozen=True, eq=False):  # made in every control step, in a tenth of a dataclass's time
    """One control step.

    Attributes:
        step: Absolute control step.
        action: Shape (action,), or None: no action is due, hold.
        event: What happened.
        chunk: Number of the chunk that the action is from, or None.
        index: Position of the action in its chunk, or None.
        delay: Steps executed between request and takeover of this chunk, or None.
    """

    step: int
    action: Array | None
    event: Event
    chunk: int | None = None
    index: int | None = None
    delay: int | None = None


class Plan:
    """State of chunked execution for one robot.

    Args:
        horizon: H, actions per chunk.
        action: Action dimensions.
        execution_horizon: s, steps from one request to the next; what policies are told, whatever the trigger.
        delay: Estimator of the inference delay; its estimate must satisfy ``d <= s <= H - d``.
        handover: How chunks take over.
        trigger: When the next chunk is asked for; another than the fixed execution horizon only for chunks that are
            joined (`Handover.CONTINUE`).

    Raises:
        TimingError: ``d <= s <= H - d`` is violated.
        SpecError: A trigger that the handover has no use for.
    """

    def __init__(
        self,
        horizon: int,
        action: int,
        execution_horizon: int,
        delay: WindowQuantile,
        handover: Handover = Handover.CONTINUE,
        trigger: Trigger = FIXED_HORIZON,
    ) -> None:
        if handover is not Handover.CONTINUE and trigger != FIXED_HORIZON:
            raise SpecError(
                got=f"trigger {trigger} with handover {handover.value}",
                expected="the trigger 'fixed': such chunks are executed for s steps from their first action on",
                change="leave the trigger out, or use a method whose chunks are joined",
            )
        waits = handover is Handover.WAIT
        check_timing(horizon, 0 if waits else delay.estimate(), execution_horizon)
        self.horizon, self.action, self.execution_horizon = horizon, action, execution_horizon
        self.delay, self.handover, self.trigger = delay, handover, trigger
        self.epoch = 0
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self.step = 0
        self.chunk: Chunk | None = None
        self._chunk_number: int | None = None
        self._chunk_delay: int | None = None
        self._switched = False
        self._pending: Request | None = None
        self._executed = 0
        self._executed_at_request = 0
        self._asked_at: int | None = None
        self._starts: list[int] = []
        self._last: Array | None = None
        self._seen: Array | None = None
        self._since: list[Array] = []

    def reset(self) -> None:
        """Start a new episode at step 0; a chunk still under way will be stale."""
        self.epoch += 1
        self._clear()

    def request(self, state: Array | None = None) -> Request | None:
        """An inference to start now, or None. Marks it as under way.

        Args:
            state: What is seen now, shape (observation,): the next request will say what came of it, so that a policy
                that predicts can tell how well it does. None keeps nothing.
        """
        if not self.due:
            return None
        self._number += 1
        self._pending = Request(self.epoch, self._number, self.step, self._continuation())
        self._executed_at_request = self._executed
        self._asked_at = self.step
        # A copy: the robot may measure into the same memory again
        self._seen, self._since = None if state is None else np.array(state, np.float32), []
        return self._pending

    @property
    def due(self) -> bool:
        """Whether `request` asks now: none is under way, and the next chunk is wanted."""
        return self._pending is None and self._wanted()

    def _wanted(self) -> bool:
        if self.chunk is None or self._asked_at is None:
            return True
        if self.handover is Handover.CONTINUE:
            left = max(self.chunk.end - self.step, 0)
            return self.trigger.due(Progress(self.step - self._asked_at, left, self.execution_horizon))
        return self._finished_share()

    def _finished_share(self) -> bool:
        """Whether the chunk's own s steps have been executed, counted from its first action."""
        return self.chunk is not None and self.step - self.chunk.start >= self._share

    @property
    def _share(self) -> int:
        """Steps of a chunk after which the next is asked for: RESTART asks d steps ahead of the takeover."""
        if self.handover is Handover.RESTART:
            return max(self.execution_horizon - self.delay.estimate(), 0)
        return self.execution_horizon

    def _continuation(self) -> Continuation:
        prefix = np.zeros((0, self.action), np.float32)
        if self.chunk is not None and self.handover is Handover.CONTINUE:
            prefix = self.chunk.since(self.step)
        # Chunks start in the order of their requests, none of them after this step, so that they fall silent in turn.
        ends = [start + self.horizon for start in self._starts]
        votes = len(ends) - np.searchsorted(ends, np.arange(self.step, self.step + len(prefix)), side="right")
        delay = min(self.delay.estimate(), self.execution_horizon, len(prefix))
        past = None
        if self._seen is not None and 0 < len(self._since) <= self.horizon:  # more where nobody was there to be asked
            past = Past(self._seen, np.stack(self._since))
        return Continuation(
            self.step, prefix, delay, self.execution_horizon, np.asarray(votes, np.int64), previous=self._last,
            episode=self.epoch, past=past,
        )  # fmt: skip

    def deliver(self, request: Request, actions: Array) -> Delivery:
        """Hand over a chunk; it is used from this step on if it still can be.

        Args:
            request: The request that it answers.
            actions: Shape (horizon, action), robot units.

        Raises:
            SpecError: Wrong shape, or not the answer to the request that is under way. The plan is unchanged.
        """
        if request.epoch != self.epoch:
            return Delivery.STALE
        if self._pending is not request:
            raise SpecError(
                got=f"chunk for request {request.number}",
                expected="the answer to the request that is under way",
                change="deliver each chunk once, with the request that it was made for",
            )
        if actions.shape != (self.horizon, self.action):
            raise SpecError(
                got=f"chunk of shape {actions.shape}",
                expected=f"(horizon, action) = {(self.horizon, self.action)}",
                change="run the policy with the horizon and action dimensions that the plan was made for",
            )
        self._pending = None
        actions = np.array(actions, np.float32)  # a copy: the caller may receive the next chunk in the same memory
        if not np.isfinite(actions).all():
            self._asked_at = None
            return Delivery.REFUSED
        executed = self._executed - self._executed_at_request
        first = self.chunk is None
        start = self.step if self.handover is Handover.RESTART else self.step - executed
        if not first:
            self.delay.observe(executed)
        chunk = Chunk(actions, start)
        if not chunk.covers(self.step):
            return Delivery.EXPIRED
        self.chunk = chunk
        self._chunk_number, self._chunk_delay, self._switched = request.number, executed, True
        self._starts = [s for s in self._starts if s + self.horizon > self.step] + [start]
        return Delivery.TAKEN

    def abandon(self, request: Request) -> None:
        """Give up an inference that will not be answered; the next one is asked for at once.

        A chunk that arrives for it after all is to be dropped, not delivered. One from before a reset is gone already.
        """
        if self._pending is request:
            self._pending = None
            self._asked_at = None

    def tick(self) -> Tick:
        """The action of this step; moves on to the next step."""
        tick = self._tick_now()
        self._switched = False
        if tick.action is None:
            self._seen = None  # what a hold does is no action of the plan
        else:
            self._executed += 1
            self._last = tick.action
            self._since.append(tick.action)
        self.step += 1
        return tick

    def _tick_now(self) -> Tick:
        chunk = self.chunk
        waiting = self.handover is Handover.WAIT and self._finished_share()
        if chunk is None or waiting or not chunk.covers(self.step):
            return Tick(self.step, None, Event.HELD)
        event = Event.SWITCHED if self._switched else Event.CONTINUED
        index = self.step - chunk.start
        return Tick(self.step, chunk.actions[index], event, self._chunk_number, index, self._chunk_delay)
