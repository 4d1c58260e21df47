"""The safety ladder decides, without I/O, how a robot goes on when something is missing.

    RUN        follows the plan
    DEGRADED   plays out its chunk: no fresh one is coming
    STOPPING   decelerates inside of all limits, to rest
    HOLD       is at rest, for lack of actions or because an operator said so
    FAULT      is at rest, and stays there until an operator has acknowledged it

                 action                        no action, or a refused one          at rest
    HOLD ------------------> RUN, DEGRADED ---------------------------> STOPPING -----------> HOLD
                                   ^                                        |    ----------> FAULT (robot, state)
                                   +----------------------------------------+
                                     action, if only actions were missing

A control loop calls `Ladder.step` once per control step, with the action of the plan's tick and what it knows about the
health of policy and robot, and sends the command that it gets. There is one in every state: at rest the last one again.
No number reaches the robot that did not come through the limiter. A gap in the actions leads to at most one STOPPING,
and only a robot that is commanded to be at rest is in HOLD or FAULT.

An operator's stop is not an emergency stop. That belongs into hardware, and so do the limits that a life depends on.
"""

from collections.abc import Sequence
from enum import Enum

import msgspec
import numpy as np
from numpy.typing import NDArray

from segue.errors import SpecError
from segue.safety.limiter import Limiter, Saturation
from segue.safety.limits import JointLimits


class State(Enum):
    """Rung of the ladder."""

    RUN = "run"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    HOLD = "hold"
    FAULT = "fault"


class Cause(Enum):
    """Reasons for a state."""

    START = "start"
    """Nothing has happened yet."""
    ACTIONS = "actions"
    """The plan has actions, and fresh ones are coming."""
    POLICY_LOST = "policy lost"
    STARVED = "no action is due"
    REFUSED = "an action of wrong shape or type, or not finite"
    STOPPED = "stopped by the operator"
    ACKNOWLEDGED = "a fault was acknowledged; waits for the operator"
    STATE_STALE = "the measured state is stale"
    ROBOT_ERROR = "the robot reports an error"


# What is made in every control step is a frozen `msgspec.Struct`: it is made in a tenth of a frozen dataclass's time.


class Health(msgspec.Struct, frozen=True):
    """Tells the ladder in a control step what else is known. A flag is true for as long as its condition holds.

    Attributes:
        policy_lost: No fresh chunk is coming: the policy's process has died, or hangs, or cannot be reached.
        state_stale: The measured state is older than can be accepted.
        robot_error: The robot or its driver reports an error.
        stop: The operator wants the robot to stop.
        acknowledge: The operator has seen the fault and removed its cause.
        resume: The operator lets the robot move again.
    """

    policy_lost: bool = False
    state_stale: bool = False
    robot_error: bool = False
    stop: bool = False
    acknowledge: bool = False
    resume: bool = False


WELL = Health()


class Transition(msgspec.Struct, frozen=True):
    """A change of state, in the control step in which it happened."""

    tick: int
    before: State
    after: State
    cause: Cause


class Command(msgspec.Struct, frozen=True, eq=False):
    """Says what to send in a control step.

    Attributes:
        tick: Control step, counted by the ladder.
        values: Shape (action,), robot units, double precision: differences of differences of single-precision numbers
            are no longer inside of an acceleration limit.
        state: The rung it was decided on.
        cause: Why it is there.
        saturated: Joints whose command is not the wanted action, and why.
        refused: An action came and was not let in; its shape, type or numbers are not those of an action.
        transition: The change of state of this step, if there was one.
    """

    tick: int
    values: NDArray[np.float64]
    state: State
    cause: Cause
    saturated: tuple[Saturation, ...] = ()
    refused: bool = False
    transition: Transition | None = None


_FOLLOWING = (State.RUN, State.DEGRADED)
_FAULTS = (Cause.ROBOT_ERROR, Cause.STATE_STALE)
_BY_OPERATOR = (Cause.STOPPED, Cause.ACKNOWLEDGED)


class Ladder:
    """The state of one robot's safety ladder.

    It starts in HOLD and moves with the first action that the plan has, if fresh ones are coming.

    Args:
        limits: What each joint may do.
        dt: Control period [s].
        start: Commands at which the robot is, at rest. Shape (action,), see `Limiter.restart`; displacements and
            velocities are taken as zero.

    Raises:
        SpecError: See `Limiter`.
    """

    def __init__(self, limits: JointLimits, dt: float, start: Sequence[float]) -> None:
        self.limiter = Limiter(limits, dt, _at_rest(limits, start))
        self.state, self.cause, self.tick = State.HOLD, Cause.START, 0
        self._wanted = np.zeros(len(limits.names))
        self._finite = np.zeros(len(limits.names), bool)

    def step(self, action: NDArray | None, health: Health = WELL) -> Command:
        """Return the command of this control step for an action, shape (action,), or None if no action is due."""
        wanted = None if action is None else self._admitted(action)
        refused = wanted is None and action is not None
        before = self.state
        self.state, self.cause = self._next(wanted is not None, refused, health)
        follows = self.state in _FOLLOWING
        values = self.limiter.step(wanted) if wanted is not None and follows else self.limiter.stop()
        transition = None if self.state is before else Transition(self.tick, before, self.state, self.cause)
        saturated = self.limiter.saturated
        command = Command(self.tick, values, self.state, self.cause, saturated, refused, transition)
        self.tick += 1
        return command

    def follows(self, health: Health = WELL) -> bool:
        """Tell whether an action would be followed in this step; changes nothing."""
        if self.state in _FOLLOWING:  # most steps; then only what is said now ends it
            return not (health.stop or health.state_stale or health.robot_error)
        return self._next(True, False, health)[0] in _FOLLOWING

    def _admitted(self, action: NDArray) -> NDArray[np.float64] | None:
        """Return the action in double precision, in memory that the next one takes; None if it is none."""
        wanted = self._wanted
        if not isinstance(action, np.ndarray) or action.shape != wanted.shape or action.dtype.kind not in "fiu":
            return None
        wanted[:] = action
        return wanted if np.count_nonzero(np.isfinite(wanted, self._finite)) == len(wanted) else None

    def _next(self, action: bool, refused: bool, health: Health) -> tuple[State, Cause]:
        """Decide state and cause of this step."""
        if self.state is State.FAULT:
            well = not (health.robot_error or health.state_stale)
            return (State.HOLD, Cause.ACKNOWLEDGED) if health.acknowledge and well else (State.FAULT, self.cause)
        stop = self._stop_cause(action, refused, health)
        if stop is None:
            return (State.DEGRADED, Cause.POLICY_LOST) if health.policy_lost else (State.RUN, Cause.ACTIONS)
        if not self.limiter.at_rest or self.state in (State.RUN, State.DEGRADED):
            return State.STOPPING, stop
        return (State.FAULT if stop in _FAULTS else State.HOLD), stop

    def _stop_cause(self, action: bool, refused: bool, health: Health) -> Cause | None:
        """Find why the robot is to stop or stay at rest, the gravest cause first; None if it is to move."""
        if health.robot_error or (self.cause is Cause.ROBOT_ERROR):
            return Cause.ROBOT_ERROR
        if health.state_stale or (self.cause is Cause.STATE_STALE):
            return Cause.STATE_STALE
        if health.stop:
            return Cause.STOPPED
        if self.cause in _BY_OPERATOR and not (health.resume and self.state is State.HOLD):
            return self.cause
        if refused:
            return Cause.REFUSED
        if action and not (self.state is State.HOLD and health.policy_lost):
            return None
        if self.state is State.HOLD:
            waiting = Cause.START if self.cause is Cause.START else Cause.STARVED
            return Cause.POLICY_LOST if health.policy_lost else waiting
        return self.cause if self.state is State.STOPPING else Cause.STARVED

    def rebase(self, pose: Sequence[float]) -> None:
        """Go on from a measured pose, shape (action,), as ``start``: after the robot was moved by hand, or has sagged.

        Raises:
            SpecError: The robot is not in HOLD or FAULT; or see `Limiter.restart`.
        """
        if self.state not in (State.HOLD, State.FAULT):
            raise SpecError(
                f"a new pose in state {self.state.value}", "HOLD or FAULT", "stop the robot first, it is being moved"
            )
        self.limiter.restart(_at_rest(self.limiter.limits, pose))


def _at_rest(limits: JointLimits, pose: Sequence[float]) -> Sequence[float]:
    """Set displacements and velocities of a pose to zero."""
    if len(pose) != len(limits.names):
        return pose  # refused by the limiter
    return [0.0 if index in limits.kinds.moves else value for index, value in enumerate(pose)]
