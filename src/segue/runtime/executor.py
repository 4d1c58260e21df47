"""A policy on a moving robot, against the clock.

    slot   |---------- dt ----------|---------- dt ----------|
           observe  deliver  request  plan.tick  ladder.step  send       one command per slot, never two
                    ^ link           | link

The same plan decides as in virtual time (`segue.lab.rollout`); here the answers come when they come. Deadlines
are absolute. A slot that begins more than half a period late is skipped and counted, never made up for: commands are
at least half a period apart, and what waits for that is `send`, after all that can be done before. Delay is counted in
executed ticks, so that a skipped slot makes no chunk older; after a standstill of seconds there is no chunk any more.

The plan is told what became of its actions: it stands where the ladder does not follow it, and knows what the limits
have made of an action.

No number reaches the robot that did not come through the ladder. What ends a run ends it at rest, if the driver still
takes commands, and with the robot's own stop.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from math import inf

import msgspec
import numpy as np
from numpy.typing import NDArray

from segue.core.correction import Correction, corrected
from segue.core.observation import Observed, ages_of, state_of
from segue.core.robot import Driver
from segue.errors import SpecError
from segue.links.link import PolicyLink
from segue.plan.plan import Event, Plan, Tick
from segue.runtime.clock import Clock
from segue.runtime.inference import Conversation
from segue.runtime.operator import Operator, Stage
from segue.runtime.run import Counts, Ending, Tolerance, check_duration, never, stop_robot
from segue.runtime.signals import has_come
from segue.runtime.watchdog import Watchdog
from segue.safety.fits import check_limits, check_policy
from segue.safety.ladder import WELL, Cause, Command, Health, Ladder, State
from segue.trace.records import TickRecord
from segue.trace.sink import Sink, Sinks

logger = logging.getLogger(__name__)

STATES, CAUSES = tuple(State), tuple(Cause)
"""Codes in a trace are places here."""


class _Due(msgspec.Struct, frozen=True, eq=False):
    """Keeps a tick that has been decided until the driver has taken its command."""

    tick: Tick
    command: Command
    asked: bool
    request: int | None
    observation: Observed | None
    pose: NDArray | None


class Executor:
    """Drives one robot with one plan and one policy, in one loop.

    Args:
        robot: Robot to drive.
        plan: Decides which action is due.
        ladder: Decides what is sent; its limiter knows the control period.
        link: Link to the policy.
        clock: Paces the loop.
        position: Where the robot is, in the units of its actions. Shape (action,); where the ladder goes on after a
            pause.
        sink: Takes all ticks and chunks.
        tolerance: Bounds on faults.
        pose: Measured motion, for the trace. Shape (pose,). A tick in which it raises has none.
        state_age: How old the last observation is [s].
        policy_dt: Control period of the policy [s], where it is run at another rate than it was made for on purpose.
        correction: Changes each action when it is due, before limits; None: none.

    Raises:
        SpecError: The policy, the limits or the robot are not made for one another (as far as each says what it is), or
            the ladder has been used before.
    """

    def __init__(
        self, robot: Driver, plan: Plan, ladder: Ladder, link: PolicyLink, *, clock: Clock,
        position: Callable[[], NDArray], sink: Sink | None = None, tolerance: Tolerance | None = None,
        pose: Callable[[], NDArray] | None = None, state_age: Callable[[], float] | None = None,
        policy_dt: float | None = None, correction: Correction | None = None,
    ) -> None:  # fmt: skip
        self.robot, self.plan, self.link = robot, plan, link
        self.dt, self.counts, self.slot = ladder.limiter.dt, Counts(), 0
        self._clock, self._position, self._pose, self._age = clock, position, pose, state_age
        self._correction = correction
        self._sink, self._tolerance = sink or Sinks(), tolerance or Tolerance()
        stall = self._tolerance.stall
        self._stall = stall and max(stall, 2 * self.dt)  # the watchdog is fed once per period
        self._standstill = max(self._tolerance.standstill, 3 * self.dt)
        self._policy_dt = self.dt if policy_dt is None else policy_dt
        self._stop, self._operator = False, Operator()
        self._sent_at, self._told_slow = -inf, False
        self._check(ladder)
        self.conversation = Conversation(plan, link, self._sink, self.dt)
        self._begin(ladder)

    def _check(self, ladder: Ladder) -> None:
        """Raise `SpecError` unless an episode can begin with this ladder."""
        if ladder.tick or ladder.limiter.dt != self.dt:
            raise SpecError(
                got=f"a ladder of {1 / ladder.limiter.dt:g} Hz after {ladder.tick} steps",
                expected=f"a new one of {1 / self.dt:g} Hz: it begins at rest, where the robot is",
                change="make a ladder for every episode",
            )
        limits, self._policy = ladder.limiter.limits, self.link.spec
        check_limits(limits, self.plan.action, self.robot)
        if self._policy is not None:
            check_policy(self._policy, limits, self._policy_dt, self.plan.horizon, self.robot)

    def _begin(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.fault = ""
        """Words about what led to a fault."""
        self._operator.begin()
        self._stop = self._stop or has_come()
        self._why, self._over = Ending.STOPPED, None
        self._unsent: _Due | None = None
        self._bad_states = self._failed_sends = 0
        self._moved, self._held_since, self._fresh = False, None, inf
        self._shape = None if self._policy is None else (len(self._policy.observation_names),)

    def begin(self, ladder: Ladder) -> None:
        """Begin an episode with a new ladder: the robot has been put somewhere else, at rest, between two runs.

        Nothing of the last one is left, in plan, policy, ladder or texts; counts and estimated delay go on.
        A signal's stop stays in force, and so does a `stop` or `pause` of between the runs.

        Raises:
            SpecError: See `Executor`. The last episode is not over then.
        """
        self._check(ladder)
        self.conversation.reset()
        self._begin(ladder)

    def stop(self) -> None:
        """Let the robot come to rest and end the run, or the next. From any thread, or a signal handler."""
        self._stop = True

    def pause(self) -> None:
        """Come to rest and let go: no command is sent until `resume`. Chunk and prefix are forgotten."""
        self._operator.wanted = True

    def resume(self) -> None:
        """Go on from where the robot is then.

        Where it cannot say where it is, or is outside of its limits, the run stays paused, `kept_paused` says why, and
        this may be called again.
        """
        self._operator.wanted = False

    @property
    def kept_paused(self) -> str:
        """Reason why the last `resume` has failed; empty when it has not."""
        return self._operator.refused

    def run(self, seconds: float = inf, done: Callable[[], bool] = never) -> Ending:
        """Drive the robot until something ends it.

        Args:
            seconds: Time after which the robot is brought to rest.
            done: Asked after every tick; ends the run at once, without stopping the robot.

        Returns:
            Why it is over. Except for `Ending.DONE`, the robot's own stop has been called.

        Raises:
            SpecError: The last run has stopped the robot, or somebody else has begun an episode with this policy, and
                none was begun since; or a duration that is none.
        """
        check_duration(seconds)
        if self._over is not None:
            raise SpecError(
                got=f"a run after one that is over ({self._over.value})",
                expected="a new episode: the robot has been stopped, and may be somewhere else",
                change="call `begin` with a new ladder",
            )
        if self.link.epoch != self.plan.epoch:
            raise SpecError(
                got=f"a run in episode {self.plan.epoch} of a policy whose episode {self.link.epoch} has begun since",
                expected="one run at a time, and none of another robot within an episode",
                change="call `begin` with a new ladder, or give each robot a link of its own",
            )
        ending = Ending.FAULT
        limit = self._stall
        try:
            with Watchdog(self._stop_robot, limit) if limit else nullcontext() as watchdog:
                ending = self._loop(seconds, done, watchdog)
        except KeyboardInterrupt:
            ending = Ending.ABORTED
        finally:
            if ending is not Ending.DONE:
                self._stop_robot()
                self._over, self._stop = ending, False  # heeded
            self._say_slow()
        return ending

    def _loop(self, seconds: float, done: Callable[[], bool], watchdog: Watchdog | None) -> Ending:
        start, first = self._clock.now(), self.slot
        while True:
            deadline, now = start + (self.slot - first) * self.dt, self._clock.now()
            if now < deadline:
                self._clock.sleep_until(deadline)
                continue
            if missed := int((now - deadline) / self.dt + 0.5):
                self.slot, self.counts.skipped = self.slot + missed, self.counts.skipped + missed
                continue
            if watchdog is not None:
                watchdog.feed()
            if now - start >= seconds and not self._stop:
                self._stop, self._why = True, Ending.TIME
            if now - self._fresh > self._standstill and not self._operator.has_let_go:  # the machine stood still
                self._held_since = None
                self.counts.standstills += 1
                self._operator.let_go()
                self.conversation.reset()
            ending = self._step(now, now - deadline)
            if watchdog is not None and watchdog.fired:
                self.fault = self.fault or f"a call of the robot's driver took longer than {self._stall:g} s"
                return Ending.FAULT
            self.slot += 1
            if ending is not None:
                return ending
            if not self._stop and done():
                return Ending.DONE

    def _step(self, now: float, lateness: float) -> Ending | None:
        """Do one slot; return why the run is over, or None."""
        if self._paused():
            self._fresh = now
            self.counts.paused += 1
            return self._why if self._stop else None
        if self._unsent is None:
            self._unsent = self._decide(now)
        due, sent = self._unsent, self._send(self._unsent.command)
        ending = self._ending(due.command, sent, now)
        if sent or ending is not None:
            self._unsent = None
            self.counts.ticks += 1
            self._sink.tick(TickRecord(
                self.slot, due.tick, self.plan.epoch, self._clock.now(), lateness,
                ladder=STATES.index(due.command.state), cause=CAUSES.index(due.command.cause),
                saturated=len(due.command.saturated), asked=due.asked, request=due.request,
                sent=due.command.values if sent else None, observation=state_of(due.observation), pose=due.pose,
                ages=ages_of(due.observation),
            ))  # fmt: skip
        return ending

    def _decide(self, now: float) -> _Due:
        """Observe, talk to the policy, and let plan and ladder say what to send."""
        observation, pose = self._observe(now), self._measured_pose()
        self.conversation.deliver(now, after_request=False)
        if self._policy is None:
            self._meet_policy()
        asked, request, operator = False, None, self._operator
        if observation is not None and not self._stop and not operator.has_let_go and self.conversation.ready(now):
            asked, request = True, self.conversation.request(observation)
            if request is not None:
                self.conversation.deliver(now, after_request=True)
        lost, stop = self.conversation.lost, self._stop or operator.has_let_go
        resume = operator.stage is Stage.RESUMING
        stale = self._bad_states >= self._tolerance.failures
        health = WELL
        if lost or stop or stale or resume:
            health = Health(policy_lost=lost, state_stale=stale, stop=stop, resume=resume)
        tick = self.plan.tick() if self.ladder.follows(health) else self.plan.stand()
        self._moved = self._moved or tick.action is not None
        if tick.event is not Event.STOOD:
            self._fresh = now
            self.counts.starved += self._moved and tick.action is None
        action = tick.action
        if self._correction is not None and action is not None and tick.index is not None:
            action = corrected(self._correction, observation, action, tick.index)
        command = self.ladder.step(action, health)
        self.counts.saturated += bool(command.saturated)
        if command.saturated or action is not tick.action:
            self.plan.sent(command.values)
        return _Due(tick, command, asked, request, observation, pose)

    def _meet_policy(self) -> None:
        """Check a policy that has started only after the episode began, as soon as it says what it is."""
        if (policy := self.link.spec) is None:
            return
        self._policy, self._shape = policy, (len(policy.observation_names),)
        try:
            check_policy(policy, self.ladder.limiter.limits, self._policy_dt, self.plan.horizon, self.robot)
        except SpecError as error:
            self.fault = f"{error.got}; expected: {error.expected}"
            self._stop, self._why = True, Ending.FAULT

    def _observe(self, now: float) -> Observed | None:
        """Measure; None if that cannot be believed."""
        try:
            observed = self.robot.observe()
            if self._clock.now() - now > self.dt:
                self.counts.slow_observations += 1
            observation = state_of(observed)
            age = 0.0 if self._age is None else self._age()
            shape = np.shape(observation)
            self._shape = self._shape or shape
            good = shape == self._shape and np.count_nonzero(finite := np.isfinite(observation)) == finite.size
            if good and age <= self._tolerance.state_age:
                self._bad_states = 0
                return observed
            why = f"an observation {age:g} s old" if good else "an observation not finite, or of another shape"
        except Exception as error:
            why = f"observe: {type(error).__name__}: {error}"
        self._bad_states += 1
        self.counts.bad_observations += 1
        if self._bad_states == self._tolerance.failures:
            self.fault = why
        return None

    def _measured_pose(self) -> NDArray | None:
        """Measure the pose for the trace alone, so that nothing ends because of it."""
        try:
            return None if self._pose is None else self._pose()
        except Exception:
            return None

    def _send(self, command: Command) -> bool:
        """Send a command, and tell whether the driver took it; if not, the same one is due in the next slot."""
        begun, earliest = self._clock.now(), self._sent_at + self.dt / 2
        if begun < earliest:  # the last one was sent late in its slot
            self._clock.sleep_until(earliest)
            begun = self._clock.now()
        self._sent_at = begun
        try:
            self.robot.send(command.values)
        except Exception as error:
            self._failed_sends += 1
            self.counts.failed_sends += 1
            if self._failed_sends == self._tolerance.failures:
                self.fault = f"send: {type(error).__name__}: {error}"
            return False
        self._failed_sends = 0
        if (returned := self._clock.now()) - begun > self.dt:  # blocked: the robot may have got it late
            self._sent_at = returned
            self.counts.slow_sends += 1
        return True

    def _paused(self) -> bool:
        """Heed pause and resume, and tell whether nothing is to be sent in this slot."""
        operator, had_let_go = self._operator, self._operator.has_let_go
        stage = operator.slot(at_rest=self.ladder.state is State.HOLD and self._unsent is None)
        if operator.has_let_go and not had_let_go:
            self.conversation.reset()  # what follows is asked for anew
        if stage is Stage.RESUMING:
            try:
                self.ladder.rebase(np.asarray(self._position(), np.float64).tolist())
            except Exception as error:  # the robot is at rest, and somebody beside it
                operator.refuse(f"{type(error).__name__}: {error}")
                logger.warning("the robot cannot go on: %s", operator.refused)
                return True
            self._moved = False
        return stage is Stage.PAUSED

    def _ending(self, command: Command, sent: bool, now: float) -> Ending | None:
        if command.state is State.FAULT or self._failed_sends >= self._tolerance.failures:
            self.fault = self.fault or command.cause.value
            return Ending.FAULT
        if command.state is not State.HOLD:
            self._held_since = None
            return None
        if self._stop and sent:
            return self._why
        if self._operator.has_let_go or command.cause is Cause.STOPPED:
            return None
        self._held_since = now if self._held_since is None else self._held_since
        if now - self._held_since > self._tolerance.hold:
            why = self.conversation.said.root_cause or self.link.reason or command.cause.value
            self.fault = f"no actions for {self._tolerance.hold:g} s: {why}"
            return Ending.FAULT
        return None

    def _say_slow(self) -> None:
        """Say once, after the robot has been stopped, why commands came at a lower rate than was asked for."""
        if not self._told_slow and (why := self.counts.slowness(self.dt)):
            self._told_slow = True
            logger.warning("%s", why)

    def _stop_robot(self) -> None:
        if why := stop_robot(self.robot):
            self.fault = self.fault or f"stop: {why}"
