"""A robot and an environment for LeRobot without hardware: a point in the plane that follows position targets.

pip install examples/lerobot_robot_reach        LeRobot finds it by the name of its distribution
lerobot-rollout --robot.type=reach ...          goes from goal to goal
lerobot-eval --env.type=reach ...               ends at the first one

Cameras of type reach look at it: one called wrist goes with the point, every other one looks on from above.

lerobot-rollout --robot.type=reach --robot.cameras='{front: {type: reach, width: 64, height: 48, fps: 30}}' ...
"""

# pyright: reportMissingImports=false

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from lerobot.cameras import Camera, CameraConfig
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs import EnvConfig
from lerobot.robots import Robot, RobotConfig

FPS = 30
JOINTS = ("x.pos", "y.pos")
SEEN = (*JOINTS, "goal x.pos", "goal y.pos")


class Point:
    """Goes half of the way to its target in every step."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self.position, self.goal = self._rng.uniform(-0.8, 0.8, (2, 2))
        self.reached = 0

    def go_on(self) -> None:
        """Look for the next goal."""
        self.goal = self._rng.uniform(-0.8, 0.8, 2)
        self.reached += 1

    def seen(self) -> np.ndarray:
        return np.concatenate([self.position, self.goal]).astype(np.float32)

    def send(self, target: np.ndarray) -> None:
        self.position = self.position + 0.5 * (np.clip(target, -1, 1) - self.position)

    def solved(self) -> bool:
        return bool(np.linalg.norm(self.position - self.goal) < 0.05)


def picture(position: np.ndarray, goal: np.ndarray, height: int, width: int, wrist: bool) -> np.ndarray:
    """The point in red and its goal in green, from above or from the point. (height, width, 3), bytes."""
    y, x = np.mgrid[1 : -1 : height * 1j, -1 : 1 : width * 1j] * (0.4 if wrist else 1.2)
    at = np.stack([x, y], axis=-1) + (position if wrist else 0)
    shown = np.full((height, width, 3), 32, np.uint8)
    for place, colour in ((goal, (40, 220, 40)), (position, (230, 40, 40))):
        shown[np.linalg.norm(at - place, axis=-1) < 0.12] = colour
    return shown


@CameraConfig.register_subclass("reach")
@dataclass(kw_only=True)
class ReachCameraConfig(CameraConfig):
    """A camera that looks at the point."""

    width: int | None = 64
    height: int | None = 48
    fps: int | None = FPS


class ReachCamera(Camera):
    """A picture per period of its own; of a real camera, the wait is for the next exposure."""

    def __init__(self, config: ReachCameraConfig, point: Point, wrist: bool) -> None:
        super().__init__(config)
        self.point, self.wrist, self.connected, self.next = point, wrist, False, 0.0

    @property
    def is_connected(self) -> bool:
        return self.connected

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        return []

    def connect(self, warmup: bool = True) -> None:
        self.connected = True

    def read(self) -> np.ndarray:
        return picture(self.point.position, self.point.goal, self.height, self.width, self.wrist)

    def async_read(self, timeout_ms: float = 200) -> np.ndarray:
        time.sleep(max(0.0, self.next - time.perf_counter()))
        self.next = time.perf_counter() + 1 / self.fps
        return self.read()

    def read_latest(self, max_age_ms: int = 500) -> np.ndarray:
        return self.read()

    def disconnect(self) -> None:
        self.connected = False


@RobotConfig.register_subclass("reach")
@dataclass(kw_only=True)
class ReachConfig(RobotConfig):
    """A point that goes from goal to goal.

    Attributes:
        seed: Of where it starts and of its goals.
        log: Where commands and goals reached are written when it is disconnected.
        cameras: That look at it.
    """

    seed: int = 0
    log: Path | None = None
    cameras: dict[str, CameraConfig] = field(default_factory=dict)


class Reach(Robot):
    """The driver."""

    config_class = ReachConfig
    name = "reach"

    def __init__(self, config: ReachConfig) -> None:
        super().__init__(config)
        self.log, self.point, self.connected = config.log, Point(config.seed), False
        self.cameras = {name: ReachCamera(each, self.point, name == "wrist") for name, each in config.cameras.items()}
        self.shown = {name: (each.height, each.width, 3) for name, each in self.cameras.items()}
        self.sent: list[dict[str, float]] = []

    @property
    def observation_features(self) -> dict[str, Any]:
        return dict.fromkeys(SEEN, float) | self.shown

    @property
    def action_features(self) -> dict[str, type]:
        return dict.fromkeys(JOINTS, float)

    @property
    def is_connected(self) -> bool:
        return self.connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        self.connected = True
        for camera in self.cameras.values():
            camera.connect()

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def get_observation(self) -> dict[str, Any]:
        pictures = {name: camera.read_latest() for name, camera in self.cameras.items()}
        return dict(zip(SEEN, self.point.seen().tolist(), strict=True)) | pictures

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.sent.append(action)
        self.point.send(np.array([action[name] for name in JOINTS]))
        if self.point.solved():
            self.point.go_on()
        return action

    def disconnect(self) -> None:
        self.connected = False
        for camera in self.cameras.values():
            camera.disconnect()
        if self.log is not None:
            self.log.write_text(json.dumps({"sent": self.sent, "reached": self.point.reached}))


class ReachEnv(gymnasium.Env):
    """The same point for `lerobot-eval`: reward and success at the goal."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(self) -> None:
        self.render_mode = "rgb_array"
        seen = gymnasium.spaces.Box(-10, 10, (len(SEEN),), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"agent_pos": seen})
        self.action_space = gymnasium.spaces.Box(-10, 10, (len(JOINTS),), np.float32)
        self.task_description = "reach the goal"

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.point = Point(0 if seed is None else seed)
        return {"agent_pos": self.point.seen()}, {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.point.send(action)
        solved = self.point.solved()
        return {"agent_pos": self.point.seen()}, float(solved), solved, False, {"is_success": solved}

    def render(self) -> np.ndarray:
        return np.zeros((16, 16, 3), np.uint8)


gymnasium.register("gym_reach/Reach-v0", lambda **_: ReachEnv())


@EnvConfig.register_subclass("reach")
@dataclass
class ReachEnvConfig(EnvConfig):
    """How LeRobot makes the environment."""

    task: str | None = "Reach-v0"
    fps: int = FPS
    episode_length: int = 120
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {
            "action": PolicyFeature(type=FeatureType.ACTION, shape=(len(JOINTS),)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(len(SEEN),)),
        }
    )
    features_map: dict[str, str] = field(default_factory=lambda: {"action": "action", "agent_pos": "observation.state"})

    @property
    def gym_kwargs(self) -> dict:
        return {"max_episode_steps": self.episode_length}
