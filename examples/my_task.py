"""A task of your own: an environment of Gymnasium in which a puck is to reach a goal, and demonstrations of it.

python examples/my_task.py
segue bench my_task:TASK --methods naive,rtc,my_method:Lean --delays 0,4
"""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from segue.lab import task
from segue.learn import Episodes


class Puck(gymnasium.Env[NDArray, NDArray]):
    """Goes a fifth of the way to its target in every step; solved within 0.05 m of the goal."""

    action_space, observation_space, dt = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (4,)), 0.05

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray, dict[str, Any]]:
        """Put puck and goal somewhere."""
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-0.8, 0.8, (2, 2))
        return np.concatenate([self.place, self.goal]), {}

    def step(self, action: NDArray) -> tuple[NDArray, float, bool, bool, dict[str, Any]]:
        """Move towards the target."""
        self.place = self.place + 0.2 * (action - self.place)
        solved = bool(np.linalg.norm(self.goal - self.place) < 0.05)
        return np.concatenate([self.place, self.goal]), 0.0, solved, False, {"success": solved}


def demonstrations(count: int = 30, steps: int = 50) -> Episodes:
    """Targets half of the way ahead, from every place to every goal."""
    observation, action, puck = [], [], Puck()
    for seed in range(count):
        puck.reset(seed=seed)
        for _ in range(steps):
            observation.append(np.concatenate([puck.place, puck.goal]))
            action.append(puck.place + 0.5 * (puck.goal - puck.place))
            puck.step(action[-1])
    seen, told, ends = np.array(observation, np.float32), np.array(action, np.float32), steps * np.arange(1, count + 1)
    spec = TASK.simulator().spec
    return Episodes(seen, told, ends, Puck.dt, spec.observation_names, spec.action_names, (0, 1), "a rule")


gymnasium.register("my_task/Puck-v0", lambda **_: Puck(), max_episode_steps=100)
TASK = replace(task("gymnasium:my_task/Puck-v0"), horizon=16, execution_horizon=4, demonstrations=demonstrations)

if __name__ == "__main__":
    print(len(TASK.demonstrations()), "demonstrations of", TASK.simulator().spec.name)
