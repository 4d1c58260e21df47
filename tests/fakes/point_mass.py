"""A robot to test with: a point mass in the plane that follows position targets, its demonstrations and a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Outcome, RobotSpec
from segue.data.episodes import Episodes

if TYPE_CHECKING:
    from segue.policies.flow import FlowPolicy
    from segue.training.recipe import Recipe

OBSERVATION = ("x", "y", "goal x", "goal y")
SPEC = RobotSpec(
    name="point-mass",
    dt=0.1,
    observation_names=OBSERVATION,
    action_names=("target x", "target y"),
    action_low=np.array([-1, -1], np.float32),
    action_high=np.array([1, 1], np.float32),
    command="position",
    pose_names=("x [m]", "y [m]"),
)


class PointMass:
    """Goes half of the way to its target in every step; solved within 0.05 m of the goal."""

    def __init__(self, spec: RobotSpec = SPEC) -> None:
        self.spec = spec
        self.reset(0)

    def reset(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.position, self.goal = rng.uniform(-0.8, 0.8, (2, 2))
        self.target = self.position.astype(np.float32)
        self.holds = 0

    def observe(self) -> NDArray[np.float32]:
        return np.concatenate([self.position, self.goal]).astype(np.float32)

    def send(self, action: NDArray) -> None:
        self.target = self.spec.clip(action)
        self.position = self.position + 0.5 * (self.target - self.position)

    def hold(self) -> None:
        self.holds += 1
        self.send(self.target)

    def stop(self) -> None:
        pass

    def pose(self) -> NDArray[np.float64]:
        return self.position.copy()

    def outcome(self) -> Outcome:
        distance = float(np.linalg.norm(self.position - self.goal))
        return Outcome(distance < 0.05, max(0.0, 1 - distance), finished=distance < 0.05)

    def frame(self) -> NDArray[np.uint8]:
        return np.zeros((2, 2, 3), np.uint8)


def demonstrations(lengths: tuple[int, ...] = (30, 24, 40), seed: int = 0) -> Episodes:
    """Straight ways to the goal, actions a tenth of the way ahead; position can anchor the targets."""
    rng = np.random.default_rng(seed)
    observations, actions = [], []
    for length in lengths:
        start, goal = rng.uniform(-0.8, 0.8, (2, 2))
        way = start + np.linspace(0, 1, length + 1)[:, None] * (goal - start)
        observations.append(np.concatenate([way[:-1], np.broadcast_to(goal, (length, 2))], axis=1))
        actions.append(way[1:] + 0.1 * (goal - start))
    return Episodes(
        observation=np.concatenate(observations).astype(np.float32),
        action=np.concatenate(actions).astype(np.float32),
        ends=np.cumsum(lengths).astype(np.int64),
        dt=SPEC.dt,
        observation_names=OBSERVATION,
        action_names=SPEC.action_names,
        state_of_action=(0, 1),
        source="made by the tests",
    )


def recipe(updates: int = 8, horizon: int = 8, **settings: Any) -> Recipe:
    """A recipe that trains in well under a second."""
    from segue.training.config import TrainingConfig
    from segue.training.recipe import Recipe

    if "predicts" in settings:
        settings["family_settings"] = {"predicts": settings.pop("predicts")}
    training = TrainingConfig(batch=16, own_refresh=2, own_steps=1, own_elapsed=(1, 4), checkpoint_every=2, warmup=2)
    settings.setdefault("network_settings", {"width": 16})
    return Recipe(horizon=horizon, updates=updates, training=training, **settings)


def policy(horizon: int = 8, seed: int = 0, **settings: Any) -> FlowPolicy:
    """An untrained policy with weights that are not zero, so that every input matters."""
    import torch

    from segue.policies.flow import FlowPolicy

    torch.manual_seed(seed)
    episodes = demonstrations()
    made = recipe(horizon=horizon, **settings).policy(episodes)
    assert isinstance(made, FlowPolicy)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    return made.eval()
