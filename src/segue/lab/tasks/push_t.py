"""Push-T (arXiv 2303.04137): a disc pushes a T onto its mark, 10 Hz position targets in pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Array, Outcome, RobotSpec
from segue.data import bundled
from segue.data.bundled import PUSH_T_ACTION, PUSH_T_OBSERVATION, push_t_observation
from segue.errors import MissingExtraError
from segue.lab.tasks.task import Task

BOARD = 512  # [px]
COVERED = 0.95  # share of the mark that counts as success, as in the field
PUSH = 60.0  # [px], by which the disc misses its target
SHIFT, TURN = 40.0, 0.5  # [px], [rad], of the T
MARGIN = 100.0  # [px], within which gym-pusht puts no T


class PushT:
    """gym-pusht's PushT as a simulator.

    Lengths are pixels of the board, which has no size in metres. An action is where the disc is to go. Success: the T
    has covered more than 95 % of its mark. Score: the largest coverage over 95 %.

    Raises:
        MissingExtraError: gym-pusht is not installed.
    """

    def __init__(self) -> None:
        self.spec = RobotSpec(
            name="push-t",
            dt=0.1,
            observation_names=PUSH_T_OBSERVATION,
            action_names=PUSH_T_ACTION,
            action_low=np.zeros(2, np.float32),
            action_high=np.full(2, BOARD, np.float32),
            command="position",
            pose_names=("agent x [px]", "agent y [px]"),
        )
        environment, self._vector = _environment()
        self._env = environment(obs_type="state", visualization_width=320, visualization_height=320)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """The initial states that gym-pusht itself draws, so that scores compare with published ones."""
        self._env.reset(seed=seed)
        self._begin()

    def restore(self, state: NDArray) -> None:
        """Start from a recorded state, at rest.

        Args:
            state: Agent x, y, block x, y [px], block angle [rad], shape (5,).
        """
        self._env.reset(seed=0)
        self.place(state)
        self._begin()

    def place(self, state: NDArray) -> None:
        """Put disc and T where a recorded state says, for a picture; no episode begins."""
        agent_x, agent_y, block_x, block_y, angle = (float(value) for value in state)
        block = self._env.block
        self._env.agent.position, self._env.agent.velocity = (agent_x, agent_y), (0, 0)
        # The block turns about its centre of mass, so that the angle comes first: set last, it would move the block
        block.angle = angle
        block.position, block.velocity, block.angular_velocity = (block_x, block_y), (0, 0), 0
        self._env.space.reindex_shapes_for_body(block)
        self._env.space.reindex_shapes_for_body(self._env.agent)

    def observe(self) -> Array:
        """See `segue.data.bundled.push_t`. Shape (18,), px."""
        return push_t_observation(self._env.get_obs())

    def send(self, action: NDArray) -> None:
        """Target of the disc for one step of 0.1 s [px]. Shape (2,)."""
        self._target = self.spec.clip(action)
        # gym-pusht computes with whatever vector type it is given; pymunk's own is the fast one for two numbers
        _, _, _, _, info = self._env.step(self._vector(*(self._target + self._off).tolist()))
        self._off = np.zeros(2)
        self._coverage = max(self._coverage, float(info["coverage"]))

    def hold(self) -> None:
        """The last target once more; before the first action, where the disc is."""
        self.send(self._target)

    def stop(self) -> None:
        """A simulation has nothing to let go of."""

    def pose(self) -> NDArray[np.float64]:
        """Measured position of the disc [px]. Shape (2,)."""
        return np.array(self._env.agent.position, np.float64)

    def push(self, size: NDArray[np.float64]) -> None:
        """Pull the disc from its target, 1 being 60 px: what a constant acceleration does to gym-pusht's controller."""
        self._off = PUSH * size[:2]

    def shift(self, size: NDArray[np.float64]) -> bool:
        """Move the T, 1 being 40 px, and turn it, 1 being 0.5 rad; not while the disc touches it."""
        block, disc = self._env.block, self._env.agent
        radius = max(shape.radius for shape in disc.shapes)
        if min(shape.point_query(disc.position).distance for shape in block.shapes) <= radius:
            return False
        x, y = np.clip(np.array(block.position) + SHIFT * size[:2], MARGIN, BOARD - MARGIN)
        self.place(np.array([*disc.position, x, y, block.angle + TURN * size[2]]))
        return True

    def outcome(self) -> Outcome:
        """Success and score from the largest coverage so far."""
        success = self._coverage > COVERED
        return Outcome(success, float(np.clip(self._coverage / COVERED, 0, 1)), finished=success)

    def frame(self) -> NDArray[np.uint8]:
        """A picture. Shape (320, 320, 3)."""
        return np.asarray(self._env.render(), np.uint8)

    def picture(self, size: int) -> NDArray[np.uint8]:
        """The board, each pixel the mean of its part of it. Shape (size, size, 3)."""
        import cv2  # gym-pusht needs both
        import pygame

        drawn = np.ascontiguousarray(pygame.surfarray.pixels3d(self._env._draw()).swapaxes(0, 1))
        return np.asarray(cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA), np.uint8)

    def _begin(self) -> None:
        self._off = np.zeros(2)
        self._coverage = float(self._env._get_coverage())
        self._target = self.spec.clip(self.pose())


def _environment() -> tuple[type[Any], type[Any]]:
    """The environment and the vector type that it computes with."""
    try:
        from gym_pusht.envs.pusht import PushTEnv
        from pymunk import Vec2d
    except ImportError as error:
        raise MissingExtraError("gym_pusht", "sim", "the task push-t") from error
    return PushTEnv, Vec2d


TASK = Task(
    name="push-t",
    summary="push a T onto its mark; 206 human demonstrations at 10 Hz",
    dt=0.1,
    max_steps=300,
    horizon=32,
    execution_horizon=8,
    simulator=PushT,
    demonstrations=bundled.push_t,
)
