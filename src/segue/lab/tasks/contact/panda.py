"""robosuite's Panda (arXiv 2009.12293) with its wiping tool, under an operational-space controller.

Model, tool and tables are robosuite's; its environment classes are not used, because they would compute rewards and
observations that nobody asked for. The controller is its ``OSC_POSE`` with absolute targets, written out: with the
mass matrix M(q), the tool's Jacobian J and Lambda = (J M^-1 J^T)^-1, the torques are (Khatib 1987, robosuite's
decoupled form)

    tau = J^T [Lambda_pos (kp e_pos - kd v) ; Lambda_rot (kp e_rot - kd w)] + N^T tau_null + gravity and Coriolis terms

with kd = 2 sqrt(kp). Far from the target, e is limited so that the tool heads for it at a fixed speed. So kp [1/s^2]
sets how stiffly the tool follows: the bandwidth sqrt(kp) / 2 pi is 10 Hz at 4000 and 2.8 Hz at 300. A soft arm smooths
a staircase of targets, a stiff one stops and goes with it.
"""

import copy
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from segue.errors import MissingExtraError, SpecError

Vector = NDArray[np.float64]

STIFF, SOFT = 4000.0, 300.0  # [1/s^2]
HOME = np.array([0, np.pi / 16, 0, -np.pi / 2 - np.pi / 3, 0, np.pi - 0.2, np.pi / 4])  # robosuite's [rad]
# The tool's axes (columns) when it lies flat on a table: its long side, 12 cm, along the table's y, its short side,
# 5 cm, along x. It is the flat orientation closest to HOME.
FLAT = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
TOOL_LENGTH, TOOL_WIDTH = 0.12, 0.05  # [m]
SPEED, TURNING = 0.3, 1.5  # [m/s], [rad/s], how fast the tool heads for a far target

_NULL_KP = 10.0  # [1/s^2], stiffness towards HOME of what the tool does not feel
_SITE, _FORCE = "gripper0_right_grip_site", "gripper0_right_force_ee"

_compiled: dict[str, Any] = {}


def compiled(name: str, arena: Callable[[], Any], table_length: float) -> Any:
    """The MuJoCo model of the arm at a table, compiled when it is first asked for.

    Args:
        name: Of the task.
        arena: Makes the robosuite arena.
        table_length: Along x [m]; the arm stands 16 cm from the table's edge, as robosuite places it.

    Raises:
        MissingExtraError: robosuite is not installed.
    """
    try:
        with _quietly():
            from robosuite.models.bases import robot_base_factory
            from robosuite.models.grippers import gripper_factory
            from robosuite.models.robots import Panda
            from robosuite.models.tasks import ManipulationTask
    except ImportError as error:
        raise MissingExtraError("robosuite", "sim", f"the task {name}") from error
    if name not in _compiled:
        robot, gripper = cast(Any, Panda(idn=0)), cast(Any, gripper_factory)
        robot.add_base(robot_base_factory(robot.default_base, idn=0))
        robot.add_gripper(gripper("WipingGripper", idn="0_right"))
        robot.set_base_xpos(robot.base_xpos_offset["table"](table_length))
        model: Any = ManipulationTask(arena(), [robot]).get_model(mode="mujoco")
        model.geom_rgba[model.geom_group == 0, 3] = 0  # collision shapes and
        model.site_rgba[:, 3] = 0  # frames are not to be seen in pictures
        _compiled[name] = model
    return _compiled[name]


def text(numbers: Iterable[float]) -> str:
    """Numbers as an attribute in MuJoCo's XML."""
    return " ".join(f"{number:.9g}" for number in numbers)


@contextmanager
def _quietly() -> Iterator[None]:
    """Import robosuite without its advice on the terminal, and without the environment variables that it sets."""
    logger, environment = logging.getLogger("robosuite_logs"), dict(os.environ)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
        # It chooses a graphics library for MuJoCo, and its window toolkit leaves search paths for child processes
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


class Arm:
    """A simulated arm that follows targets of its tool.

    Attributes:
        model: MuJoCo's; one per instance, so that a task may place things in it.
        data: MuJoCo's.
        force: What the surroundings press the tool with, mean of the last control period, in the world's frame [N].
            Shape (3,).

    Args:
        model: From `compiled`.
        dt: Control period [s].
        substeps: Physics steps, and updates of the torques, per control period.
        kp: Stiffness [1/s^2].

    Raises:
        SpecError: The stiffness is not positive.
    """

    force: Vector

    def __init__(self, model: Any, dt: float, substeps: int, kp: float) -> None:
        if not (np.isfinite(kp) and kp > 0):
            raise SpecError(f"stiffness kp = {kp}", "a positive number", f"give 1/s^2, for instance {STIFF:g}")
        self._mujoco: Any = importlib.import_module("mujoco")
        self.model = copy.copy(model)
        self.model.opt.timestep = dt / substeps
        self.data = self._mujoco.MjData(self.model)
        self._substeps, self._kp, self._kd = substeps, kp, 2 * np.sqrt(kp)
        self._site = self.model.site(_SITE).id
        self._sensor = slice(*(self.model.sensor(_FORCE).adr[0] + np.array([0, 3])))
        self._weight = self.model.body("gripper0_right_wiping_gripper").subtreemass[0] * self.model.opt.gravity
        self._jacobian, self._mass = np.zeros((6, 7)), np.zeros((7, 7))
        self.reset(HOME)

    def reset(self, joints: Vector) -> None:
        """At rest in a posture [rad], shape (7,); nothing of what was before remains."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = joints
        self._mujoco.mj_step1(self.model, self.data)
        self._update()
        self.force = np.zeros(3)

    @property
    def position(self) -> Vector:
        """Measured position of the middle of the tool's sole, world frame [m]. Shape (3,)."""
        return self.data.site_xpos[self._site].copy()

    @property
    def rotation(self) -> Vector:
        """Measured axes of the tool as columns, the third one pointing out of its sole. Shape (3, 3)."""
        return self.data.site_xmat[self._site].reshape(3, 3).copy()

    @property
    def velocity(self) -> Vector:
        """Measured velocity of the tool, world frame [m/s]. Shape (3,)."""
        return self._jacobian[:3] @ self.data.qvel

    def step(self, position: Vector, rotation: Vector) -> None:
        """One control period towards a position (3,) [m] and an orientation (3, 3) of the tool."""
        force = np.zeros(3)
        for _ in range(self._substeps):
            self.data.ctrl[:] = np.clip(self.torques(position, rotation), *self.model.actuator_ctrlrange.T)
            self._mujoco.mj_step2(self.model, self.data)
            # The sensor reads what the arm presses the tool with, the tool's weight included
            force -= self.rotation @ self.data.sensordata[self._sensor] + self._weight
            self._mujoco.mj_step1(self.model, self.data)
            self._update()
        self.force = force / self._substeps

    def torques(self, position: Vector, rotation: Vector) -> Vector:
        """The controller's law, see the top of this module; not yet clipped to the motors' limits [N m]. Shape (7,)."""
        jacobian, mass, data = self._jacobian, self._mass, self.data
        velocity = jacobian @ data.qvel
        error = self._within(SPEED, position - self.position)
        # sin(angle) * axis, for the shortest way round
        turn = self._within(TURNING, np.cross(self.rotation.T, rotation.T).sum(axis=0) / 2)

        through = np.linalg.solve(mass, jacobian.T).T  # J M^-1
        compliance = through @ jacobian.T  # Lambda^-1
        push = np.linalg.solve(compliance[:3, :3], self._kp * error - self._kd * velocity[:3])
        twist = np.linalg.solve(compliance[3:, 3:], self._kp * turn - self._kd * velocity[3:])
        null = mass @ (_NULL_KP * (HOME - data.qpos) - 2 * np.sqrt(_NULL_KP) * data.qvel)
        felt = np.linalg.solve(compliance, through @ null)
        return jacobian.T @ (np.concatenate([push, twist]) - felt) + null + data.qfrc_bias

    def _within(self, speed: float, error: Vector) -> Vector:
        """An error no larger than that which is closed at a speed, where kp e = kd v."""
        largest = speed * self._kd / self._kp
        return error * (largest / max(largest, float(np.linalg.norm(error))))

    def _update(self) -> None:
        self._mujoco.mj_jacSite(self.model, self.data, self._jacobian[:3], self._jacobian[3:], self._site)
        self._mujoco.mj_fullM(self.model, self._mass, self.data.qM)
