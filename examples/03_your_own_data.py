"""Write demonstrations of your own as one .npz file, check it, train on it, ask for a chunk.

The demonstrator moves a point to a goal: the observation is position and goal, the action the next position. The file
needs NumPy only, so that it can be written wherever the robot is.

    python examples/03_your_own_data.py [updates]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from segue.learn import ContinuingPolicy, Legato, LegatoObjective, Recipe, load_episodes, train_policy
from segue.robot import nothing_to_continue


def write(path: Path, episodes: int = 20, steps: int = 60) -> None:
    rng = np.random.default_rng(0)
    start, goal = rng.uniform(-1, 1, (2, episodes, 1, 2))
    s = np.linspace(0, 1, steps + 1)[:, None]
    way = start + (goal - start) * (10 * s**3 - 15 * s**4 + 6 * s**5)  # minimum jerk (Flash and Hogan 1985)
    np.savez_compressed(
        path,
        observation=np.concatenate([way[:, :-1], np.broadcast_to(goal, (episodes, steps, 2))], 2).reshape(-1, 4),
        action=way[:, 1:].reshape(-1, 2),
        episode_ends=steps * np.arange(1, episodes + 1),
        dt=0.02,
        observation_names=["x", "y", "goal x", "goal y"],
        action_names=["next x", "next y"],
        state_of_action=[0, 1],  # the observations that measure what the actions command
        source="written by this example",
    )


def main(updates: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reaching.npz"
        write(file)
        episodes = load_episodes(file)  # raises DataError, which says what to change, if the file cannot be used
        print(f"{len(episodes)} episodes, {episodes.frames} frames at {1 / episodes.dt:g} Hz")
        recipe = Recipe(horizon=16, updates=updates, relative=True, network_settings={"width": 64, "depth": 2})
        policy = train_policy(episodes, recipe, "legato", LegatoObjective(), run=Path(folder) / "run")
    observation = np.array([0, 0, 0.5, -0.5], np.float32)
    chunk = ContinuingPolicy(policy, Legato()).next_chunk(observation, nothing_to_continue(0, 2, 8))
    print("first chunk from the origin:", *(f"({x:.2f}, {y:.2f})" for x, y in chunk[::5]))


if __name__ == "__main__":
    main(updates=int(sys.argv[1]) if len(sys.argv) > 1 else 200)
