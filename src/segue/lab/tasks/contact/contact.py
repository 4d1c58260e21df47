"""Work that a tool does in contact with a surface: one simulator for wiping, writing and peeling.

    robosuite's Panda, wiping tool      the surface
    follows a target of the tool  --->  points, each done once the tool has worked on it

Everything is measured in the frame of the work, whose third axis points up, away from it. An action is where the
middle of the tool's sole is to be. A target below the surface presses: the arm is as stiff as `kp` says (see
`segue.lab.tasks.contact.panda`), so a depth of 1 mm is a force of about 17 N at 4000 and 5 N at 300 while the tool
rests, and more while it slides.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Array, Outcome, RobotSpec
from segue.lab.tasks import mujoco_model
from segue.lab.tasks.contact.panda import HOME, STIFF, TOOL_LENGTH, TOOL_WIDTH, Arm, Vector

PIECES = 20  # in which a policy sees the work: where each of them lies, and how much of it is left
AXES = ("x", "y", "z")

_START_NOISE = 0.02  # [rad], robosuite's standard deviation of each joint's start
_SOLE_DEPTH = 0.02  # [m], robosuite's: so far above the sole a point is still under the tool
_EVALUATION = 0  # first word of the random seed; demonstrations take another one


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the work lies in the world.

    Attributes:
        origin: [m], shape (3,).
        axes: As columns, shape (3, 3); the third one points up.
    """

    origin: Vector
    axes: Vector


@dataclass(frozen=True, eq=False)
class Touch:
    """The tool at the end of a control period, in the frame of the work.

    Attributes:
        position: Of the middle of its sole [m], shape (3,).
        rotation: Its axes as columns, shape (3, 3); the third one points out of the sole.
        force: With which the surface presses against the sole, mean of the period [N].
    """

    position: Vector
    rotation: Vector
    force: float

    def covers(self, points: Vector) -> NDArray[np.bool_]:
        """Which points (points, 3) the sole is pressed on: robosuite's rule for wiping. Shape (points,).

        A point is covered when it lies within the sole's rectangle and above the sole's plane, that is, when the tool
        would have to lie below the surface if it were not soft.
        """
        along, across, below = ((points - self.position) @ self.rotation).T
        return (abs(along) < TOOL_LENGTH / 2) & (abs(across) < TOOL_WIDTH / 2) & (below < 0) & (below > -_SOLE_DEPTH)


class Surface(Protocol):
    """What is worked on, and when a part of it is done. See `segue.lab.tasks.contact.wipe` for the plainest one."""

    name: str
    dt: float  # control period [s]
    substeps: int  # physics steps per control period
    joints: Vector  # where the arm starts, shape (7,) [rad]
    frame: Frame
    low: Vector  # limits of the target: a position [m], and an angle [rad] if the tool tilts
    high: Vector
    needed: float  # share of the points that makes a success
    speed: tuple[float, float]  # of an expert along the surface, from and to [m/s]
    depth: tuple[float, float]  # how far below the surface an expert's target lies, from and to [m]
    slack: float  # how far beside the middle of the work the tool may pass [m]
    camera: str
    points: Vector  # in the order of the work, shape (points, 3) [m]

    def begin(self, model: Any, generator: np.random.Generator) -> None:
        """Draw where the work lies this time, and set it out in the simulation's model."""
        ...

    def rotation(self, action: Array) -> Vector:
        """The tool's axes that an action commands, as columns in the frame of the work. Shape (3, 3)."""
        ...

    def tilt(self, rotation: Vector) -> tuple[float, ...]:
        """What is measured of the tool's axes, for the action's entries after the position [rad]."""
        ...

    def works(self, touch: Touch) -> NDArray[np.bool_]:
        """The points on which the tool does its work now. Shape (points,)."""
        ...

    def strokes(self, done: NDArray[np.bool_]) -> list[Vector]:
        """Ways along which the tool would do what is left, without pressing. Each of shape (steps, action)."""
        ...

    def show(self, model: Any, done: NDArray[np.bool_]) -> None:
        """Make visible in pictures what is done."""
        ...


class ContactTask:
    """A surface under robosuite's Panda, as a simulator.

    Action: target of the tool, position [m] and, where the tool tilts, angle [rad]. Observation: the tool's pose,
    velocity and force, the share that is done, and `PIECES` consecutive pieces of the work, each as its position
    relative to the tool (along the surface) and the share of it that is left. Score: the share that is done. Success:
    as much as the surface needs.

    Attributes:
        surface: What is worked on.
        done: Which of its points are done. Shape (points,).

    Args:
        surface: What is worked on.
        model: MuJoCo's, see `segue.lab.tasks.contact.panda.compiled`.
        kp: Stiffness of the arm [1/s^2]; another one than 4000 becomes part of the name in `spec`.

    Raises:
        SpecError: The stiffness is not positive.
    """

    done: NDArray[np.bool_]

    def __init__(self, surface: Surface, model: Any, kp: float = STIFF) -> None:
        self.surface, self.kp = surface, kp
        self._arm = Arm(model, surface.dt, surface.substeps, kp)
        self._camera = mujoco_model.Camera(self._arm, surface.camera)
        self.spec = _spec(surface, kp)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Draw the work and the arm's posture; no seed gives what was drawn for a demonstration."""
        self.start(np.random.default_rng([_EVALUATION, seed]))

    def start(self, generator: np.random.Generator) -> None:
        """Start an episode from a random generator."""
        self.surface.begin(self._arm.model, generator)
        self.done = np.zeros(len(self.surface.points), bool)
        self._arm.reset(self.surface.joints + generator.normal(0, _START_NOISE, len(HOME)))
        self._target = self.spec.clip(self.pose())

    def observe(self) -> Array:
        """See the class. Shape (observation,), float32."""
        axes = self.surface.frame.axes
        pose, left = self.pose(), ~self.done
        pieces = self.surface.points.reshape(PIECES, -1, 3).mean(axis=1)[:, :2] - pose[:2]
        shares = left.reshape(PIECES, -1).mean(axis=1)
        tool = (pose, axes.T @ self._arm.velocity, axes.T @ self._arm.force, [self.done.mean()])
        return np.concatenate([*tool, np.column_stack([pieces, shares]).ravel()]).astype(np.float32)

    def send(self, action: NDArray) -> None:
        """Target of the tool for one control step; clipped to the limits."""
        self._target, frame = self.spec.clip(action), self.surface.frame
        rotation = frame.axes @ self.surface.rotation(self._target)
        self._arm.step(frame.origin + frame.axes @ self._target[:3], rotation)
        before = self.done
        self.done = before | self.surface.works(self._touch())
        if (self.done != before).any():
            self.surface.show(self._arm.model, self.done)

    def hold(self) -> None:
        """The last target once more; before the first action, the pose of the start."""
        self.send(self._target)

    def stop(self) -> None:
        """A simulation has nothing to let go of."""

    def pose(self) -> Vector:
        """Measured pose of the tool in the frame of the work [m], [rad]. As long as an action."""
        touch = self._touch()
        return np.concatenate([touch.position, self.surface.tilt(touch.rotation)])

    def outcome(self) -> Outcome:
        """Success and score from the share that is done."""
        share = float(self.done.mean())
        success = share >= self.surface.needed
        return Outcome(success, share, finished=success)

    def frame(self) -> NDArray[np.uint8]:
        """A picture. Shape (240, 320, 3)."""
        return self._camera.picture()

    def _touch(self) -> Touch:
        arm, frame = self._arm, self.surface.frame
        rotation = frame.axes.T @ arm.rotation
        force = -float(rotation[:, 2] @ frame.axes.T @ arm.force)
        return Touch(frame.axes.T @ (arm.position - frame.origin), rotation, force)


def smoothed(way: Vector, window: Vector) -> Vector:
    """Weighted mean of neighbouring rows, the ends repeated. Shape of the way: (rows, columns); window odd."""
    padded = np.pad(way, ((len(window) // 2,) * 2, (0, 0)), mode="edge")
    return np.column_stack([np.convolve(column, window / window.sum(), "valid") for column in padded.T])


def _spec(surface: Surface, kp: float) -> RobotSpec:
    tool = [f"tool {axis}" for axis in AXES] + ["tool tilt"] * (len(surface.low) - 3)
    units = ["[m]"] * 3 + ["[rad]"] * (len(surface.low) - 3)
    motion = [f"{kind} {axis}" for kind in ("velocity", "force") for axis in AXES]
    pieces = [f"piece {k} {value}" for k in range(PIECES) for value in ("x", "y", "left")]
    return RobotSpec(
        name=surface.name if kp == STIFF else f"{surface.name}, kp {kp:g}",
        dt=surface.dt,
        observation_names=(*tool, *motion, "done", *pieces),
        action_names=tuple(name.replace("tool", "target") for name in tool),
        action_low=surface.low.astype(np.float32),
        action_high=surface.high.astype(np.float32),
        command="position",
        pose_names=tuple(f"{name} {unit}" for name, unit in zip(tool, units, strict=True)),
    )
