"""The command line on a robot's computer: NumPy alone, and a simulator that needs no more than that.

`without` makes a folder for PYTHONPATH that hides packages from every process that is started with it; run as a script,
this file is `segue` with the task ``still``, whose robot takes the policies of `fakes.served_policies.Affine`.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Outcome, RobotSpec
from segue.data.episodes import Episodes

HIDDEN = (
    "torch", "safetensors", "accelerate", "matplotlib", "jinja2", "PIL", "scipy", "mujoco", "gymnasium",
    "gymnasium_robotics", "metaworld", "gym_pusht", "pymunk", "robosuite", "zarr", "pyarrow", "h5py", "av",
    "simplejpeg", "rerun", "diffusers", "transformers", "lerobot",
)  # fmt: skip
SPEC = RobotSpec(
    name="still",
    dt=0.02,
    observation_names=("shoulder", "elbow", "wrist"),
    action_names=("target shoulder", "target elbow"),
    action_low=np.array([-1, -1], np.float32),
    action_high=np.array([1, 1], np.float32),
    command="position",
    pose_names=("shoulder [rad]", "elbow [rad]"),
)


class Still:
    """Stands where it is told to."""

    spec = SPEC

    def __init__(self) -> None:
        self.position = np.zeros(2)

    def reset(self, seed: int) -> None:
        self.position = np.zeros(2)

    def observe(self) -> NDArray[np.float32]:
        return np.append(self.position, 0).astype(np.float32)

    def send(self, action: NDArray) -> None:
        self.position = self.spec.clip(action).astype(np.float64)

    def hold(self) -> None: ...

    def stop(self) -> None: ...

    def pose(self) -> NDArray[np.float64]:
        return self.position.copy()

    def outcome(self) -> Outcome:
        return Outcome(success=False, score=0.0, finished=False)

    def frame(self) -> NDArray[np.uint8]:
        return np.zeros((2, 2, 3), np.uint8)


def demonstrations() -> Episodes:
    way = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    return Episodes(
        observation=np.repeat(way, 3, axis=1), action=np.repeat(way, 2, axis=1), ends=np.array([20]), dt=SPEC.dt,
        observation_names=SPEC.observation_names, action_names=SPEC.action_names, state_of_action=(0, 1), source="made",
    )  # fmt: skip


def without(folder: Path, packages: tuple[str, ...] = HIDDEN) -> Path:
    """A folder for PYTHONPATH under which no process finds these packages."""
    hide = f"import sys\nsys.modules.update(dict.fromkeys({packages}))\n"
    (folder / "sitecustomize.py").write_text(hide)
    return folder


if __name__ == "__main__":
    from segue.cli.app import main
    from segue.lab.tasks import tasks

    still = tasks.Task("still", "", SPEC.dt, 1000, 8, 3, Still, demonstrations)
    tasks.task = lambda name: still
    sys.exit(main())
