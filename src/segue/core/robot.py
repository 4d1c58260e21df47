"""The methods that Segue calls on a robot, and a check that a driver keeps to them.

A robot takes one action per control step and clips it to its own limits. A simulator is a robot that can start over
and knows how the task went. Everything above this module works with these two, whatever stands behind them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import LINEAR, Dimensions, Kind
from segue.core.observation import Array, Cameras, Observed, check_pictures, state_of
from segue.errors import SpecError

Command = Literal["position", "velocity"]
Real = TypeVar("Real", np.float32, np.float64)


@dataclass(frozen=True, eq=False)
class RobotSpec:
    """Says what a robot measures and takes.

    Attributes:
        name: For people and for reports.
        dt: Control period [s].
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        action_low: Shape (action,), robot units.
        action_high: Shape (action,), robot units.
        command: Meaning of an action whose kind does not say it: a target position, or a displacement per step.
        pose_names: One per dimension of the measured motion, unit included.
        cameras: Pictures that it sees beside the state; without any, it observes plain arrays.
        action_kinds: What each action dimension is; all the same, as ``command`` says, where nothing is said.
        observation_kinds: What each observation dimension is.
        pose_kinds: What each dimension of the measured motion is.

    Raises:
        SpecError: Names, kinds, limits or period do not fit together.
    """

    name: str
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_low: Array
    action_high: Array
    command: Command
    pose_names: tuple[str, ...]
    cameras: Cameras = field(default_factory=dict)
    action_kinds: Dimensions = LINEAR
    observation_kinds: Dimensions = LINEAR
    pose_kinds: Dimensions = LINEAR

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise SpecError(f"dt = {self.dt}", "a positive control period in seconds", "give 1 / rate")
        for kind in ("observation", "action", "pose"):
            names = getattr(self, f"{kind}_names")
            if not names or len(set(names)) != len(names):
                raise SpecError(f"{kind} names {names}", "at least one, none twice", "name every dimension once")
        self.action_kinds.check("action", self.action_names)
        self.observation_kinds.check("observation", self.observation_names)
        self.pose_kinds.check("pose", self.pose_names)
        shape = (len(self.action_names),)
        if self.action_low.shape != shape or self.action_high.shape != shape:
            raise SpecError(
                f"limits of shape {self.action_low.shape} and {self.action_high.shape}",
                f"{shape}, one per action name",
                "give a lower and an upper limit for every action dimension",
            )
        for low, high, name in zip(self.action_low, self.action_high, self.action_names, strict=True):
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise SpecError(
                    f"limits [{low}, {high}] of action {name!r}", "finite, lower < upper", "correct the limits"
                )
        for index, period in self.action_kinds.angles:
            if not np.isclose(self.action_high[index] - self.action_low[index], period, rtol=1e-5):
                raise SpecError(
                    f"limits [{self.action_low[index]}, {self.action_high[index]}] of {self.action_names[index]!r}, an "
                    f"angle of period {period:g}",
                    "one period: an angle has no end stops",
                    "correct range and period, or declare a joint with end stops as linear",
                )
        if self.command not in get_args(Command):
            raise SpecError(f"command {self.command!r}", " or ".join(get_args(Command)), "say what an action commands")

    @property
    def kinds(self) -> Dimensions:
        """Kinds of the action dimensions, as ``action_kinds`` or ``command`` says them."""
        if self.action_kinds.kinds or self.command == "position":
            return self.action_kinds
        return Dimensions((Kind("displacement"),) * len(self.action_names))

    @property
    def motion(self) -> tuple[int, ...]:
        """Action dimensions that make up the commanded path: not a gripper, whose force or opening is no position."""
        return self.kinds.motion(len(self.action_names))

    def held(self, last: NDArray[Real]) -> NDArray[Real]:
        """Return what a hold commands after a command (..., action): the same targets, no displacement or velocity."""
        return self.kinds.held(np.array(last))

    def clip(self, action: NDArray) -> Array:
        """Bring an action inside the limits, turning angles into them. Shape (action,).

        Raises:
            SpecError: The action has another shape or is not finite; neither can be repaired by clipping.
        """
        action = np.asarray(action, np.float32)
        if action.shape != self.action_low.shape:
            raise SpecError(
                f"action of shape {action.shape} for {self.name}",
                f"shape {self.action_low.shape}: {', '.join(self.action_names)}",
                "use a policy that was trained for this robot",
            )
        if not np.isfinite(action).all():
            name = self.action_names[int(np.flatnonzero(~np.isfinite(action))[0])]
            raise SpecError(
                f"action {name!r} is not finite", "finite actions", "check the policy's output before it is sent"
            )
        return np.clip(self.kinds.wrapped(action, self.action_low), self.action_low, self.action_high)


@dataclass(frozen=True)
class Outcome:
    """Result of an episode so far.

    Attributes:
        success: The task's own rule has held at least once.
        score: Graded, in [0, 1], never falling within an episode.
        finished: Nothing more is to be gained, the episode may end.
    """

    success: bool
    score: float
    finished: bool


class Driver(Protocol):
    """The methods that a control loop calls. A call may raise, and should not block.

    One that waits for hardware has to release Python's interpreter lock, as `time.sleep`, sockets, files and `ctypes`
    do: otherwise nothing in this process runs meanwhile, the watchdog included.
    """

    def observe(self) -> Observed:
        """Measure the state now, shape (observation,), float32; with cameras, return an `Observation`."""
        ...

    def send(self, action: NDArray) -> None:
        """Move one control step towards an action, shape (action,), clipped to the robot's limits."""
        ...

    def stop(self) -> None:
        """End the motion and release the hardware; may be called twice, and by another thread when a call hangs."""
        ...


@runtime_checkable
class Robot(Driver, Protocol):
    """One observation and one action per control step."""

    @property
    def spec(self) -> RobotSpec:
        """Says what it measures and takes."""
        ...

    def hold(self) -> None:
        """Pass a control step without an action: command `RobotSpec.held` of the last action.

        Velocities and displacements are zero; position targets, a gripper and the like stay as commanded.
        """
        ...


@runtime_checkable
class Simulator(Robot, Protocol):
    """A robot that can start over and knows how the task went."""

    def reset(self, seed: int) -> None:
        """Start an episode; the same seed gives the same initial state, bit for bit."""
        ...

    def pose(self) -> NDArray[np.float64]:
        """Measure the motion, see `RobotSpec.pose_names`. Shape (pose,)."""
        ...

    def outcome(self) -> Outcome:
        """Say how the episode went so far."""
        ...

    def frame(self) -> NDArray[np.uint8]:
        """Render a picture. Shape (height, width, 3).

        Raises:
            SegueError: Nothing on this machine can render.
        """
        ...


@runtime_checkable
class Resting(Protocol):
    """A robot that knows where it is in the units of its actions, so that it can go on from there after a stop."""

    def rest(self) -> NDArray[np.float64]:
        """Return the action that would keep it where it is. Shape (action,)."""
        ...


@runtime_checkable
class Disturbable(Simulator, Protocol):
    """A simulator in which something can come between robot and task.

    How much a size of 1 is, in newtons, metres or pixels, is each simulator's own.
    """

    def push(self, size: NDArray[np.float64]) -> None:
        """Push the hand during the next control step, whatever it is commanded: direction and strength, shape (3,)."""
        ...

    def shift(self, size: NDArray[np.float64]) -> bool:
        """Move the object of the task at once, and tell whether it moved: it does not while the hand touches it.

        Args:
            size: Shape (3,), direction and distance; it stays where an episode could begin.

        Raises:
            SpecError: There is nothing loose in this task.
        """
        ...


def check_robot(robot: Robot) -> None:
    """Check that a driver or simulator keeps to this module; this moves the robot, so give it room.

    A real robot is only asked to hold. Of a simulator resets, clipping and holding are checked, too, each by comparing
    two episodes that must not differ, and its outcome.

    Raises:
        SpecError: What is wrong.
    """
    _check_observation(robot)
    for _ in range(3):
        robot.hold()
        _check_observation(robot)
    if isinstance(robot, Simulator):
        _check_simulator(robot)
    robot.stop()
    robot.stop()


def _check_observation(robot: Robot) -> Array:
    """Observe, check state and pictures, and return the state."""
    observed, names = robot.observe(), robot.spec.observation_names
    check_pictures(observed, robot.spec.cameras)
    observation = state_of(observed)
    if not isinstance(observation, np.ndarray) or observation.shape != (len(names),):
        raise SpecError(
            f"observation of shape {np.shape(observation)}",
            f"an array of shape ({len(names)},), one value per observation name",
            "return one array, or correct spec.observation_names",
        )
    if observation.dtype != np.float32:
        raise SpecError(f"observation of type {observation.dtype}", "float32", "return observation.astype(np.float32)")
    if not np.isfinite(observation).all():
        name = names[int(np.flatnonzero(~np.isfinite(observation))[0])]
        raise SpecError(f"observation {name!r} is not finite", "finite values", "check that sensor")
    return observation


def _check_simulator(robot: Simulator) -> None:
    spec = robot.spec
    middle = (spec.action_low + spec.action_high) / 2
    inside = middle + 0.5 * (spec.action_high - middle)
    beyond = spec.action_high + (spec.action_high - spec.action_low)
    turning = [index for index, _ in spec.kinds.angles]
    beyond[turning] = spec.action_high[turning]  # a turn more means the same

    def play(*moves: Callable[[], None]) -> Array:
        robot.reset(0)
        for move in moves:
            move()
        return _check_observation(robot)

    def same(one: Array, other: Array, got: str, change: str) -> None:
        if not np.array_equal(one, other):
            worst = spec.observation_names[int(np.argmax(np.abs(one - other)))]
            raise SpecError(f"{got}: observations differ, most in {worst!r}", "bit-for-bit equal observations", change)

    same(play(), play(), "reset(0) twice", "draw the initial state from the seed alone")
    same(
        play(lambda: robot.send(beyond)),
        play(lambda: robot.send(spec.action_high)),
        "an action beyond the upper limits and one at them",
        "clip in send(), for instance with spec.clip",
    )
    still = robot.spec.held(inside)
    same(
        play(lambda: robot.send(inside), robot.hold),
        play(lambda: robot.send(inside), lambda: robot.send(still)),
        "hold() after an action, and that action with its velocities and displacements at zero",
        "keep the last target in hold(), and command no velocity and no displacement",
    )
    play(lambda: robot.send(middle))
    if robot.pose().shape != (len(spec.pose_names),) or not np.isfinite(robot.pose()).all():
        raise SpecError(
            f"pose {robot.pose()}", f"{len(spec.pose_names)} finite values: {', '.join(spec.pose_names)}", "correct it"
        )
    outcome = robot.outcome()
    if not 0 <= outcome.score <= 1:
        raise SpecError(f"score {outcome.score}", "a value in [0, 1]", "scale the score")
