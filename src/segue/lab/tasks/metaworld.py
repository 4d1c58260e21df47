"""MetaWorld (arXiv 1910.10897), version 3: 50 tasks of a Sawyer arm, 80 Hz displacements of the tool."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import Dimensions
from segue.core.robot import Array, Outcome, RobotSpec
from segue.errors import MissingExtraError, SpecError, UnknownNameError
from segue.lab.tasks import mujoco_model

TASKS = (
    *("assembly", "basketball", "bin-picking", "box-close", "button-press", "button-press-topdown"),
    *("button-press-topdown-wall", "button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn"),
    *("disassemble", "door-close", "door-lock", "door-open", "door-unlock", "drawer-close", "drawer-open"),
    *("faucet-close", "faucet-open", "hammer", "hand-insert", "handle-press", "handle-press-side", "handle-pull"),
    *("handle-pull-side", "lever-pull", "peg-insert-side", "peg-unplug-side", "pick-out-of-hole", "pick-place"),
    *("pick-place-wall", "plate-slide", "plate-slide-back", "plate-slide-back-side", "plate-slide-side", "push"),
    *("push-back", "push-wall", "reach", "reach-wall", "shelf-place", "soccer", "stick-pull", "stick-push", "sweep"),
    *("sweep-into", "window-close", "window-open"),
)
STEP = 0.01  # [m], displacement that an action of 1 commands

# Where MetaWorld's 39 values hold what matters: hand, gripper and object now, the same one step before, and the goal.
# The rest is the orientation of the objects and padding.
_NOW, _SECOND, _BEFORE = slice(0, 7), slice(11, 14), 18
_GOAL = slice(36, 39)
_FULL_REWARD = 10.0  # of a solved task
_FREE = 0  # MuJoCo's number of a joint that leaves a body loose
_PUSH = 150.0  # [N], on the hand
_SHIFT = 0.05  # [m], of a loose object on the table
_EVALUATION = 0  # first word of the random seed; demonstrations take another one


class MetaWorld:
    """One MetaWorld task as a simulator, its goal visible.

    Action (4,): displacement of the tool, 1 being 1 cm per step, and gripper effort (-1 opens, 1 closes). Success is
    the environment's. Score: the largest reward so far over that of a solved task.

    Attributes:
        raw: MetaWorld's own observation of the present state, for its scripted experts. Shape (39,).

    Raises:
        UnknownNameError: There is no such task.
        MissingExtraError: metaworld is not installed.
    """

    raw: NDArray[np.float64]

    def __init__(self, task: str) -> None:
        if task not in TASKS:
            raise UnknownNameError("MetaWorld task", task, TASKS, listed="`segue list`")
        self._env = mujoco_model.build(_environment(task))
        self._camera = mujoco_model.Camera(self._env, "corner2")
        self._env._set_task_called = True
        self._env.seeded_rand_vec, self._env._freeze_rand_vec = True, False
        self._env.max_path_length = np.inf  # when an episode ends is not the simulator's decision
        self._env._partially_observable = False
        self._env.__dict__.pop("sawyer_observation_space", None)  # cached with the goal's limits at zero
        self.reset(0)
        second = self._env._get_pos_objects().size > 3
        columns = np.arange(39)
        now = [columns[_NOW], columns[_SECOND]] if second else [columns[_NOW]]
        self._columns = np.concatenate([*now, *(part + _BEFORE for part in now), columns[_GOAL]])
        self.spec = _spec(task, second)

    def reset(self, seed: int) -> None:
        """Draw positions of object and goal; no seed gives a state that was drawn for a demonstration."""
        self.start(np.random.default_rng([_EVALUATION, seed]))

    def start(self, generator: np.random.Generator) -> None:
        """Start an episode with positions from a random generator."""
        self._env.np_random = generator
        # MetaWorld first moves the hand and only then clears the state, so that the last episode would reach this one
        mujoco_model.clear(self._env)
        self.raw = self._env.reset()[0]
        self._gripper = -1.0
        self._success, self._best = False, 0.0

    def observe(self) -> Array:
        """Hand, gripper, objects now and one step before, goal [m]. Shape (observation,)."""
        return self.raw[self._columns].astype(np.float32)

    def send(self, action: NDArray) -> None:
        """Displacement and gripper for one step of 12.5 ms. Shape (4,)."""
        action = self.spec.clip(action)
        self._gripper = float(action[3])
        self.raw, reward, _, _, info = self._env.step(action)
        self._force[:] = 0
        self._success |= bool(info["success"] > 0.5)
        self._best = max(self._best, float(reward))

    def hold(self) -> None:
        """No displacement; the gripper stays as commanded."""
        self.send(np.array([0, 0, 0, self._gripper], np.float32))

    def stop(self) -> None:
        """A simulation has nothing to let go of."""

    def pose(self) -> NDArray[np.float64]:
        """Measured position of the tool [m]. Shape (3,)."""
        return self.raw[:3].copy()

    def push(self, size: NDArray[np.float64]) -> None:
        """A force on the hand, 1 being 150 N."""
        self._force[:] = _PUSH * size

    def shift(self, size: NDArray[np.float64]) -> bool:
        """Move the loose object over the table, 1 being 5 cm; not while the hand touches it.

        Raises:
            SpecError: This task has none.
        """
        model, loose = self._env.model, np.flatnonzero(self._env.model.jnt_type == _FREE)
        if len(loose) == 0:
            raise SpecError(
                got=f"{self.spec.name}, where nothing lies loose",
                expected="a task with an object that can be moved",
                change="push the hand instead",
            )
        if mujoco_model.touching(self._env, "hand", model.body(model.jnt_bodyid[loose[0]]).name):
            return False
        first = model.jnt_qposadr[loose[0]]
        place, space = self._env.data.qpos[first : first + 2], self._env._random_reset_space
        place[:] = np.clip(place + _SHIFT * size[:2], space.low[:2], space.high[:2])
        return True

    def outcome(self) -> Outcome:
        """Success and score so far."""
        score = 1.0 if self._success else float(np.clip(self._best / _FULL_REWARD, 0, 1))
        return Outcome(self._success, score, finished=self._success)

    def frame(self) -> NDArray[np.uint8]:
        """A picture. Shape (240, 320, 3)."""
        return self._camera.picture()[::-1, ::-1]  # MetaWorld's camera hangs upside down

    @property
    def _force(self) -> NDArray[np.float64]:
        """On the hand [N], until it is changed. Shape (3,)."""
        return self._env.data.body("hand").xfrc_applied[:3]


def _spec(task: str, second: bool) -> RobotSpec:
    parts = ["object", "second object"] if second else ["object"]
    now = [f"tool {axis}" for axis in "xyz"] + ["gripper"] + [f"{part} {axis}" for part in parts for axis in "xyz"]
    return RobotSpec(
        name=f"metaworld/{task}",
        dt=0.0125,
        observation_names=(*now, *(f"{name} before" for name in now), *(f"goal {axis}" for axis in "xyz")),
        action_names=("move x", "move y", "move z", "gripper"),
        action_kinds=Dimensions.of("displacement", "displacement", "displacement", "gripper"),
        action_low=-np.ones(4, np.float32),
        action_high=np.ones(4, np.float32),
        command="velocity",
        pose_names=("tool x [m]", "tool y [m]", "tool z [m]"),
    )


def _environment(task: str) -> type[Any]:
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError as error:
        raise MissingExtraError("metaworld", "sim", f"the task metaworld/{task}") from error
    return ALL_V3_ENVIRONMENTS[f"{task}-v3"]
