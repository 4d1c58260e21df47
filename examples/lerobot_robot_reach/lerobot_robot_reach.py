"""A robot and an environment for LeRobot without hardware: a point in the plane that follows position targets.

pip install examples/lerobot_robot_reach        LeRobot finds it by the name of its distribution
lerobot-rollout --robot.type=reach ...          goes from goal to goal
lerobot-eval --env.type=reach ...               ends at the first one
"""

# pyright: reportMissingImports=false

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
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


@RobotConfig.register_subclass("reach")
@dataclass(kw_only=True)
class ReachConfig(RobotConfig):
    """A point that goes from goal to goal.

    Attributes:
        seed: Of where it starts and of its goals.
        log: Where commands and goals reached are written when it is disconnected.
    """

    seed: int = 0
    log: Path | None = None


class Reach(Robot):
    """The driver."""

    config_class = ReachConfig
    name = "reach"

    def __init__(self, config: ReachConfig) -> None:
        super().__init__(config)
        self.log, self.point, self.connected = config.log, Point(config.seed), False
        self.sent: list[dict[str, float]] = []

    @property
    def observation_features(self) -> dict[str, type]:
        return dict.fromkeys(SEEN, float)

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

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def get_observation(self) -> dict[str, float]:
        return dict(zip(SEEN, self.point.seen().tolist(), strict=True))

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.sent.append(action)
        self.point.send(np.array([action[name] for name in JOINTS]))
        if self.point.solved():
            self.point.go_on()
        return action

    def disconnect(self) -> None:
        self.connected = False
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
