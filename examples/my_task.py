"""A task of your own: an environment of Gymnasium in which a puck is to reach a goal, and demonstrations of it.

python examples/my_task.py
segue bench my_task:TASK --methods naive,rtc,my_method:Lean --delays 0,4
"""

from dataclasses import replace

import gymnasium
import numpy as np

from segue.lab import task
from segue.learn import Episodes


class Puck(gymnasium.Env):
    """Goes a fifth of the way to its target in every step; solved within 0.05 m of the goal."""

    action_space, observation_space, dt = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (4,)), 0.05

    def reset(self, *, seed=None, options=None):
        """Put puck and goal somewhere."""
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-0.8, 0.8, 4)
        return self.state, {}

    def step(self, action):
        """Move towards the target."""
        place, goal = np.split(self.state, 2)
        self.state = np.concatenate([place + 0.2 * (action - place), goal])
        solved = bool(np.linalg.norm(self.state[:2] - goal) < 0.05)
        return self.state, 0.0, solved, False, {"success": solved}


def demonstrations() -> Episodes:
    """Targets half of the way ahead, from thirty places to their goals."""
    seen, told, puck, spec = [], [], Puck(), TASK.simulator().spec
    for seed in range(30):
        state, _ = puck.reset(seed=seed)
        for _ in range(50):
            seen.append(state)
            told.append((state[:2] + state[2:]) / 2)
            state, *_ = puck.step(told[-1])
    frames, ends = (np.array(seen, np.float32), np.array(told, np.float32)), 50 * np.arange(1, 31)
    return Episodes(*frames, ends, Puck.dt, spec.observation_names, spec.action_names, (0, 1), "a rule")


gymnasium.register("my_task/Puck-v0", lambda **_: Puck(), max_episode_steps=100)
TASK = replace(task("gymnasium:my_task/Puck-v0"), horizon=16, execution_horizon=4, demonstrations=demonstrations)

if __name__ == "__main__":
    print(len(TASK.demonstrations()), "demonstrations of", TASK.simulator().spec.name)
