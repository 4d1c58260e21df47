"""A policy on a moving robot, against the clock.

    slot   |---------- dt ----------|---------- dt ----------|
           observe  deliver  request  plan.tick  ladder.step  send       one command per slot, never two
                    ^ link           | link

The same plan decides as in virtual time (`segue.evaluation.rollout`); here the answers come when they come. Deadlines
are absolute. A slot that begins more than half a period late is skipped and counted, never made up for: commands are
at least half a period apart. Delay is counted in executed ticks, so that a skipped slot makes no chunk older.

No number reaches the robot that did not come through the ladder. What ends a run ends it at rest, if the driver still
takes commands, and with the robot's own stop.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Observed, state_of
from segue.runtime.clock import Clock
from segue.runtime.conversation import Conversation
from segue.runtime.ladder import Cause, Command, Health, Ladder, State
from segue.runtime.link import PolicyLink
from segue.runtime.plan import Plan, Tick
from segue.runtime.sink import NOT_ASKED, Sink, Sinks
from segue.runtime.watchdog import Watchdog

STATES, CAUSES = tuple(State), tuple(Cause)
"""Codes in a trace are places here."""


class Driver(Protocol):
    """What is asked of a robot; every `segue.envs.robot.Robot` is one. A call may raise, and should not block.

    One that waits for hardware has to release Python's interpreter lock, as `time.sleep`, sockets, files and `ctypes`
    do: otherwise nothing in this process runs meanwhile, the watchdog included.
    """

    def observe(self) -> Observed:
        """What is measured now: a state (observation,), or with cameras an `Observation`."""
        ...

    def send(self, action: NDArray) -> None:
        """One control step towards an action, shape (action,)."""
        ...

    def stop(self) -> None:
        """End the motion; may be called twice, and by another thread when a call hangs."""
        ...


class Ending(Enum):
    """Why a run is over."""

    DONE = "done"
    """The caller's own condition holds; the robot has not been stopped."""
    TIME = "time is up"
    STOPPED = "stopped by the operator"
    ABORTED = "stopped at once"
    FAULT = "fault"


@dataclass(frozen=True)
class Tolerance:
    """What is put up with before a run ends in a fault.

    Attributes:
        failures: Failed calls of the driver in a row, or observations that are not finite or too old.
        state_age: Age of an observation, where the driver tells it [s].
        hold: Time at rest for lack of actions [s].
        stall: Time that one tick may hang in the driver before the robot is stopped from outside [s], at least two
            control periods; None: for ever.
    """

    failures: int = 10
    state_age: float = 0.1
    hold: float = 30.0
    stall: float | None = 1.0


class _Due(msgspec.Struct, frozen=True, eq=False):
    """A tick that has been decided, until the driver has taken its command."""

    tick: Tick
    command: Command
    request: int
    observation: Observed | None
    pose: NDArray | None


@dataclass
class Counts:
    """What has happened so far, in slots."""

    ticks: int = 0
    skipped: int = 0
    paused: int = 0
    starved: int = 0
    """Ticks without an action, from the first action of an episode on."""
    bad_observations: int = 0
    failed_sends: int = 0
    saturated: int = 0


def never() -> bool:
    """The condition of a run without one."""
    return False


class Executor:
    """One robot, one plan, one policy, one loop.

    Args:
        robot: Is driven.
        plan: Decides which action is due.
        ladder: Decides what is sent; its limiter knows the control period.
        link: To the policy.
        clock: Paces the loop.
        position: Where the robot is, in the units of its actions. Shape (action,); where the ladder goes on after a
            pause.
        sink: Is told everything.
        tolerance: What is put up with.
        pose: Measured motion, for the trace. Shape (pose,). A tick in which it raises has none.
        state_age: How old the last observation is [s].
    """

    def __init__(
        self,
        robot: Driver,
        plan: Plan,
        ladder: Ladder,
        link: PolicyLink,
        *,
        clock: Clock,
        position: Callable[[], NDArray],
        sink: Sink | None = None,
        tolerance: Tolerance | None = None,
        pose: Callable[[], NDArray] | None = None,
        state_age: Callable[[], float] | None = None,
    ) -> None:
        self.robot, self.plan, self.ladder, self.link = robot, plan, ladder, link
        self.dt, self.counts, self.slot = ladder.limiter.dt, Counts(), 0
        self._clock, self._position, self._pose, self._age = clock, position, pose, state_age
        self._sink, self._tolerance = sink or Sinks(), tolerance or Tolerance()
        stall = self._tolerance.stall
        self._stall = stall and max(stall, 2 * self.dt)  # the watchdog is fed once per period
        self.conversation = Conversation(plan, link, self._sink, self.dt)
        self.fault = ""
        """What led to a fault."""
        self.kept_paused = ""
        """Why the last `resume` has failed; empty when it has not."""
        self._stop = self._pause = self._let_go = self._resume = False
        self._why, self._sent_at = Ending.STOPPED, -inf
        self._begin()

    def _begin(self) -> None:
        self._unsent: _Due | None = None
        self._bad_states = self._failed_sends = 0
        self._moved, self._held_since = False, None
        self._shape: tuple[int, ...] | None = None

    def begin(self, ladder: Ladder) -> None:
        """A new episode: the robot has been put somewhere else, at rest, between two runs."""
        self.ladder = ladder
        self.conversation.reset()
        self._begin()

    def stop(self) -> None:
        """Let the robot come to rest and end the run. From any thread, or a signal handler."""
        self._stop = True

    def pause(self) -> None:
        """Come to rest and let go: no command is sent until `resume`. Chunk and prefix are forgotten."""
        self._pause = True

    def resume(self) -> None:
        """Go on from where the robot is then.

        Where it cannot say where it is, or is outside of its limits, the run stays paused, `kept_paused` says why, and
        this may be called again.
        """
        self._pause = False

    def run(self, seconds: float = inf, done: Callable[[], bool] = never) -> Ending:
        """Drive the robot until something ends it.

        Args:
            seconds: Time after which the robot is brought to rest.
            done: Asked after every tick; ends the run at once, without stopping the robot.

        Returns:
            Why it is over. Except for `Ending.DONE`, the robot's own stop has been called.
        """
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
        return ending

    def _loop(self, seconds: float, done: Callable[[], bool], watchdog: Watchdog | None) -> Ending:
        start, first = self._clock.now(), self.slot
        while True:
            deadline, now = start + (self.slot - first) * self.dt, self._clock.now()
            begin = max(deadline, self._sent_at + self.dt / 2)
            if now < begin:
                self._clock.sleep_until(begin)
                continue
            if missed := int((now - deadline) / self.dt + 0.5):
                self.slot, self.counts.skipped = self.slot + missed, self.counts.skipped + missed
                continue
            if watchdog is not None:
                watchdog.feed()
            if now - start >= seconds and not self._stop:
                self._stop, self._why = True, Ending.TIME
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
        """One slot; why the run is over, or None."""
        if self._paused():
            self.counts.paused += 1
            return self._why if self._stop else None
        if self._unsent is None:
            self._unsent = self._decide(now)
        due, sent = self._unsent, self._send(self._unsent.command)
        ending = self._ending(due.command, sent, now)
        if sent or ending is not None:
            self._unsent = None
            self.counts.ticks += 1
            self._sink.tick(
                self.slot, due.tick, epoch=self.plan.epoch, time=self._clock.now(), lateness=lateness,
                ladder=STATES.index(due.command.state), cause=CAUSES.index(due.command.cause),
                saturated=len(due.command.saturated), request=due.request, sent=due.command.values if sent else None,
                observation=state_of(due.observation), pose=due.pose,
            )  # fmt: skip
        return ending

    def _decide(self, now: float) -> _Due:
        """Observe, talk to the policy, and let plan and ladder say what to send."""
        observation, pose = self._observe(), self._measured_pose()
        self.conversation.deliver(now, after_request=False)
        request = NOT_ASKED
        if observation is not None and not self._stop and not self._let_go:
            request = self.conversation.request(observation, now)
            if request > 0:
                self.conversation.deliver(now, after_request=True)
        tick = self.plan.tick()
        self._moved = self._moved or tick.action is not None
        self.counts.starved += self._moved and tick.action is None
        health = Health(
            policy_lost=self.conversation.lost,
            state_stale=self._bad_states >= self._tolerance.failures,
            stop=self._stop or self._let_go,
            resume=self._resume,
        )
        self._resume = False
        command = self.ladder.step(tick.action, health)
        self.counts.saturated += bool(command.saturated)
        return _Due(tick, command, request, observation, pose)

    def _observe(self) -> Observed | None:
        """What is measured, or None if it cannot be believed."""
        try:
            observed = self.robot.observe()
            observation = state_of(observed)
            age = 0.0 if self._age is None else self._age()
            shape = np.shape(observation)
            self._shape = self._shape or shape
            good = shape == self._shape and np.count_nonzero(np.isfinite(observation)) == np.size(observation)
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
        """For the trace alone, so that nothing ends because of it."""
        try:
            return None if self._pose is None else self._pose()
        except Exception:
            return None

    def _send(self, command: Command) -> bool:
        """Whether the driver took it; if not, the same command is due in the next slot."""
        begun = self._sent_at = self._clock.now()
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
        return True

    def _paused(self) -> bool:
        """Whether this slot is somebody else's."""
        if self._pause and not self._let_go:
            self._let_go = True
            self.conversation.reset()
        if not self._let_go or self.ladder.state is not State.HOLD or self._unsent is not None:
            return False
        if self._pause:
            return True
        try:
            self.ladder.rebase(np.asarray(self._position(), np.float64).tolist())
        except Exception as error:  # the robot is at rest, and somebody beside it
            self.kept_paused, self._pause = f"{type(error).__name__}: {error}", True
            return True
        self._let_go, self._resume, self._moved, self.kept_paused = False, True, False, ""
        return False

    def _ending(self, command: Command, sent: bool, now: float) -> Ending | None:
        if command.state is State.FAULT or self._failed_sends >= self._tolerance.failures:
            self.fault = self.fault or command.cause.value
            return Ending.FAULT
        if command.state is not State.HOLD:
            self._held_since = None
            return None
        if self._stop and sent:
            return self._why
        if self._let_go or command.cause is Cause.STOPPED:
            return None
        self._held_since = now if self._held_since is None else self._held_since
        if now - self._held_since > self._tolerance.hold:
            why = self.conversation.said.root_cause or self.link.reason or command.cause.value
            self.fault = f"no actions for {self._tolerance.hold:g} s: {why}"
            return Ending.FAULT
        return None

    def _stop_robot(self) -> None:
        try:
            self.robot.stop()
        except Exception as error:
            self.fault = self.fault or f"stop: {type(error).__name__}: {error}"
