"""The plan says which action is due, when to ask for a chunk, and what becomes of one that arrives, without I/O.

A control loop does three things in every control step, in this order; a simulation and the wall clock drive the same
object:

    plan.deliver(request, actions)      # hand over the chunk that has arrived, if one has
    request = plan.request()            # start an inference? at most one is under way
    tick = plan.tick()                  # the action of this step, and where it comes from

A chunk that takes less than a step (d = 0) is delivered between request and tick. Asking before delivering would make
every chunk one step longer where d = s, and with d = s = H / 2 leave the robot without an action.

A chunk whose first actions are there before its last may come in parts (`deliver_part`, then `deliver`). What is not
finished is not there: a robot that has come to the end of it holds.

There is no thread, clock, lock or log here. Delay is counted in steps in which the robot executed an action between
request and delivery, so that a pause (a hold) does not make a chunk older than it is.

Who does not follow the plan says so: `stand` in the place of `tick` where the robot does something else in this step,
and `sent` where limits have made another command of the action.

    step         k           k+d                   k+s
    old chunk   -|-----------|
    new chunk    |(skipped d)|---------------------|----
                 request     delivered             next request
"""

from dataclasses import dataclass, replace
from enum import Enum

import msgspec
import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Array, Chunk, Continuation, Past, are_real, check_whole
from segue.errors import SpecError
from segue.plan.arriving import Parts, copied, finite
from segue.plan.delay import WindowQuantile
from segue.plan.handover import Handover
from segue.plan.trigger import FIXED_HORIZON, Progress, Trigger


class Delivery(Enum):
    """Fates of a chunk that arrived."""

    TAKEN = "taken"
    STALE = "stale"
    """Asked for before the last reset."""
    EXPIRED = "expired"
    """So late that the robot is beyond its last action; the next one is asked for at once."""
    REFUSED = "refused"
    """No finite real numbers: the robot goes on with the chunk that it has, and asks again at once."""


class Event(Enum):
    """Kinds of ticks."""

    CONTINUED = "continued"
    SWITCHED = "switched"
    HELD = "held"
    STOOD = "stood"
    """The plan has an action, and the robot does something else: the plan stands still."""


@dataclass(frozen=True, eq=False)
class Request:
    """Asks for an inference with the observation of this step of this epoch, and for the policy a continuation.

    Attributes:
        number: Counted on through all epochs.
        continues: Number of the chunk that is executing, of which the prefix is what is left; None where there is none.
    """

    epoch: int
    number: int
    step: int
    continuation: Continuation
    continues: int | None = None


class Tick(msgspec.Struct, frozen=True, eq=False):  # made in every control step, in a tenth of a dataclass's time
    """One control step.

    Attributes:
        step: Absolute control step.
        action: Shape (action,), or None: no action is due, hold.
        event: Kind of the tick.
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


def not_finite(actions: Array, request: Request) -> SpecError:
    """Make the error of an evaluation whose chunk was refused: unlike a robot, it does not go on."""
    given = np.asarray(actions)
    numbers = np.count_nonzero(~np.isfinite(copied(given))) if are_real(given) else given.size
    return SpecError(
        got=f"a chunk with {numbers} numbers that are not finite, asked for in step {request.step}",
        expected="finite actions",
        change="check the policy's weights and the statistics that it normalises with",
    )


class Plan:
    """State of chunked execution for one robot.

    Args:
        horizon: H, actions per chunk.
        action: Action dimensions.
        execution_horizon: s, steps from one request to the next; may be set later. Policies are told what really comes:
            more where inference takes longer, and what the trigger makes of it.
        delay: Estimator of the inference delay; its estimate must satisfy ``d <= s <= H - d``.
        handover: How chunks take over.
        trigger: When the next chunk is asked for; another than the fixed execution horizon only for chunks that are
            joined (`Handover.CONTINUE`). May be set later.

    Raises:
        TimingError: ``d <= s <= H - d`` is violated, see `segue.plan.trigger.Trigger.check`.
        SpecError: Sizes that are no whole numbers, or a trigger that the handover has no use for.
    """

    def __init__(
        self, horizon: int, action: int, execution_horizon: int, delay: WindowQuantile,
        handover: Handover = Handover.CONTINUE, trigger: Trigger = FIXED_HORIZON,
    ) -> None:  # fmt: skip
        self._handover, self.delay = handover, delay
        self._set(horizon, action, execution_horizon, trigger)
        self.epoch = 0
        self._number = 0
        self._clear()

    def _set(self, horizon: int, action: int, execution_horizon: int, trigger: Trigger) -> None:
        """Take settings that fit to one another, or none."""
        for name, steps in (("horizon", horizon), ("action", action), ("execution horizon", execution_horizon)):
            check_whole(name, steps)
        if not self._handover.joins and trigger != FIXED_HORIZON:
            raise SpecError(
                got=f"trigger {trigger} with handover {self._handover.value}",
                expected="the trigger 'fixed': such chunks are executed for s steps from their first action on",
                change="leave the trigger out, or use a method whose chunks are joined",
            )
        trigger.check(horizon, self._handover.lead(self.delay.estimate()), execution_horizon)
        self._horizon, self._action = horizon, action
        self._execution_horizon, self._trigger = execution_horizon, trigger

    def resize(self, horizon: int, action: int, execution_horizon: int) -> None:
        """Expect chunks of another size, before the first one is there; raises what making a plan raises."""
        self._set(horizon, action, execution_horizon, self._trigger)

    @property
    def horizon(self) -> int:
        """H, actions per chunk."""
        return self._horizon

    @property
    def action(self) -> int:
        """Action dimensions."""
        return self._action

    @property
    def handover(self) -> Handover:
        """The way in which chunks take over."""
        return self._handover

    @property
    def execution_horizon(self) -> int:
        """The s that was set [steps]; setting it raises what making a plan raises, and then changes nothing."""
        return self._execution_horizon

    @execution_horizon.setter
    def execution_horizon(self, steps: int) -> None:
        self._set(self._horizon, self._action, steps, self._trigger)

    @property
    def trigger(self) -> Trigger:
        """The rule for asking; setting it raises what making a plan raises, and then changes nothing."""
        return self._trigger

    @trigger.setter
    def trigger(self, trigger: Trigger) -> None:
        self._set(self._horizon, self._action, self._execution_horizon, trigger)

    def _clear(self) -> None:
        self.step = 0
        self.chunk: Chunk | None = None
        self._chunk_number: int | None = None
        self._chunk_delay: int | None = None
        self._switched = False
        self._pending: Request | None = None
        self._executed = 0
        self._executed_at_request = 0
        self._parts = Parts()
        self._asked_at: int | None = None
        """Step of the last request; None where the next one is due at once."""
        self._starts: list[int] = []
        self._last: Array | None = None
        self._seen: Array | None = None
        self._since: list[Array] = []

    def reset(self, epoch: int | None = None) -> None:
        """Start a new episode at step 0; a chunk still under way will be stale.

        ``epoch`` is its number, above that of the last; None: the next. Plans that share a policy need numbers that
        none of them has had (`segue.links.link.PolicyLink.new_epoch`).
        """
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self._clear()

    def request(self, state: Array | None = None) -> Request | None:
        """Return an inference to start now, which is under way from then on, or None.

        Args:
            state: What is seen now, shape (observation,): the next request will say what came of it, so that a policy
                that predicts can tell how well it does. None keeps nothing.
        """
        if not self.due:
            return None
        self._number += 1
        self._pending = Request(self.epoch, self._number, self.step, self._continuation(), self._chunk_number)
        self._executed_at_request = self._executed
        self._asked_at = self.step
        # A copy: the robot may measure into the same memory again
        self._seen, self._since = None if state is None else np.array(state, np.float32), []
        return self._pending

    @property
    def due(self) -> bool:
        """Tell whether `request` asks now: none is under way, and the next chunk is wanted."""
        return self._pending is None and self._wanted()

    def _wanted(self) -> bool:
        if self.chunk is None or self._asked_at is None:
            return True
        if (left := self.chunk.end - self.step) <= 0:
            return True
        s, asked = self._execution_horizon, self._executed - self._executed_at_request
        # A hold of up to s steps counts, as one before the first chunk does. After a longer one a chunk has to be
        # executed first: asked for at its first action, the next one would come when the robot is beyond its last.
        if (passed := self.step - self._asked_at) - asked <= s:
            asked = passed
        progress = Progress(asked, left, s, index=self.step - self.chunk.start)
        return self._handover.due(progress, self._trigger, self.delay)

    def _continuation(self) -> Continuation:
        joins, prefix = self._handover.joins, np.zeros((0, self._action), np.float32)
        if self.chunk is not None and joins:
            prefix = self.chunk.since(self.step)
        # Chunks start in the order of their requests, none of them after this step, so that they fall silent in turn.
        ends = [start + self._horizon for start in self._starts]
        votes = len(ends) - np.searchsorted(ends, np.arange(self.step, self.step + len(prefix)), side="right")
        lead = self._handover.lead(self.delay.estimate())
        # What will really pass until the next request: it waits for the answer to this one, however small s is.
        s = self._trigger.steps(self._horizon, self._execution_horizon)
        s = max(s, min(lead, len(prefix) if joins else self._horizon))
        past = None
        if self._seen is not None and 0 < len(self._since) <= self._horizon:  # more where nobody was there to be asked
            past = Past(self._seen, np.stack(self._since))
        return Continuation(
            self.step, prefix, min(lead, len(prefix)), s, np.asarray(votes, np.int64), previous=self._last,
            episode=self.epoch, past=past,
        )  # fmt: skip

    def deliver(self, request: Request, actions: Array) -> Delivery:
        """Take a chunk, shape (horizon, action), robot units; it is used from this step on if it still can be.

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
        given = np.asarray(actions)
        if given.shape != (self._horizon, self._action):
            raise SpecError(
                got=f"chunk of shape {given.shape}",
                expected=f"(horizon, action) = {(self._horizon, self._action)}",
                change="run the policy with the horizon and action dimensions that the plan was made for",
            )
        self._pending, parts, self._parts = None, self._parts, Parts()
        if (numbers := finite(given)) is None:
            self._asked_at = None
            return Delivery.REFUSED
        executed = self._executed - self._executed_at_request
        first = self.chunk is None
        if parts.finished and self.chunk is not None:
            self.chunk = Chunk(numbers, self.chunk.start)
            self.delay.observe(parts.after(executed, self._horizon).needed)
            return Delivery.TAKEN
        if not first:
            self.delay.observe(executed)
        chunk = Chunk(numbers, self._handover.start(self.step, executed))
        if not chunk.covers(self.step):
            return Delivery.EXPIRED
        self._switch(request, chunk, executed)
        return Delivery.TAKEN

    def deliver_part(self, request: Request, actions: Array) -> bool:
        """Take the leading actions of a chunk whose others are still being made; tell whether they were taken.

        The chunk is joined at the first part that has the action of this step, if the robot is on its way then; one
        that has no action now waits for the whole chunk, which `deliver` takes. Nothing changes where a part is stale,
        says no more than the one before, or is not finite: what becomes of such a chunk is said by the whole.

        Args:
            request: The one that is under way.
            actions: Shape (finished, action), fewer than the horizon, robot units.
        """
        numbers, executing, executed = finite(actions), self.chunk, self._executed - self._executed_at_request
        if request is not self._pending or executing is None or not self._handover.joins:
            return False
        if numbers is None or numbers.ndim != 2 or numbers.shape[1] != self._action:
            return False
        if not self._parts.finished < len(numbers) < self._horizon:
            return False
        if self._parts.finished:
            self.chunk = Chunk(numbers, executing.start)
        else:
            chunk = Chunk(numbers, self._handover.start(self.step, executed))
            if not (executing.covers(self.step) and chunk.covers(self.step)):
                return False
            self._parts = Parts(request.continuation.delay)
            self._switch(request, chunk, executed)
        self._parts = self._parts.after(executed, len(numbers))
        return True

    def _switch(self, request: Request, chunk: Chunk, executed: int) -> None:
        self.chunk = chunk
        self._chunk_number, self._chunk_delay, self._switched = request.number, executed, True
        self._starts = [s for s in self._starts if s + self._horizon > self.step] + [chunk.start]

    def _shift(self, chunk: Chunk) -> None:
        """Let the chunk's next action wait for the next step."""
        self.chunk = Chunk(chunk.actions, chunk.start + 1)
        self._starts = [start + 1 for start in self._starts]

    def abandon(self, request: Request) -> None:
        """Give up an inference that will not be answered; the next one is asked for at once.

        A chunk that arrives for it after all is to be dropped, not delivered. One from before a reset is gone already.
        """
        if self._pending is request:
            self._pending, self._asked_at, self._parts = None, None, Parts()

    def stand(self) -> Tick:
        """Take the place of `tick` in a step in which the robot does not follow the plan.

        The action waits for the next step; a plan that has none now holds, as in `tick`.
        """
        tick = self._tick_now()
        if self.chunk is not None and (tick.action is not None or self._parts.finished):
            tick = tick if tick.action is None else Tick(self.step, None, Event.STOOD)
            self._shift(self.chunk)
        self._seen = None
        self.step += 1
        return tick

    def sent(self, command: NDArray) -> None:
        """Note the command of the last tick, shape (action,), where limits made something else of its action."""
        self._last = np.array(command, np.float32)

    def tick(self) -> Tick:
        """Return the action of this step, and move on to the next step."""
        tick = self._tick_now()
        self._switched = False
        if tick.action is None:
            self._seen = None  # what a hold does is no action of the plan
            if self._parts.finished and self.chunk is not None:
                self._parts = replace(self._parts, held=self._parts.held + 1)
                self._shift(self.chunk)
        else:
            self._executed += 1
            self._last = tick.action
            self._since.append(tick.action)
        self.step += 1
        return tick

    def _tick_now(self) -> Tick:
        chunk = self.chunk
        if chunk is None or not chunk.covers(self.step):
            return Tick(self.step, None, Event.HELD)
        if self._handover.holds(index := self.step - chunk.start, self._execution_horizon):
            return Tick(self.step, None, Event.HELD)
        event = Event.SWITCHED if self._switched else Event.CONTINUED
        return Tick(self.step, chunk.actions[index], event, self._chunk_number, index, self._chunk_delay)
