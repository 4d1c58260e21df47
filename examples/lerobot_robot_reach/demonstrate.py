"""Write demonstrations for the robot beside this file as a data set of LeRobot.

    python examples/lerobot_robot_reach/demonstrate.py data/reach
    python examples/lerobot_robot_reach/demonstrate.py data/reach_seen front wrist      with pictures of two cameras

Who reaches past something in the middle goes round it on either side, at some pace, with a hand that is not quite
steady. A policy of chunks that forgets on which side it was changes its mind at the seam.
"""

import sys
from collections.abc import Sequence

import numpy as np

from segue.data.pictures import Pictures
from segue.learn import Episodes, save_lerobot

FPS, EPISODES, SIZE = 30, 60, (48, 64)
JOINTS = ("x.pos", "y.pos")


def reach(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One episode: positions (steps + 2, 2) and the goal (2,)."""
    start, goal = rng.uniform(-0.8, 0.8, (2, 2))
    steps = int(rng.integers(45, 75))
    u = np.linspace(0, 1, steps + 2)[:, None]
    along = 10 * u**3 - 15 * u**4 + 6 * u**5  # minimum jerk
    side = rng.choice([-1, 1]) * 0.25 * np.array([start[1] - goal[1], goal[0] - start[0]])
    tremor = sum(rng.normal(0, 0.004, 2) * np.sin(2 * np.pi * (f * u + rng.uniform())) for f in (2, 3, 5))
    return start + along * (goal - start) + 4 * along * (1 - along) * side + tremor, goal


def pictures_of(observation: np.ndarray, cameras: Sequence[str]) -> dict[str, Pictures]:
    """What cameras of that name would have seen, by LeRobot's keys. (frames, height, width, 3) each."""
    if not cameras:
        return {}
    from lerobot_robot_reach import picture  # needs LeRobot

    return {
        f"observation.images.{name}": Pictures.of(
            np.stack([picture(row[:2], row[2:], *SIZE, name == "wrist") for row in observation])
        )
        for name in cameras
    }


def demonstrations(seed: int = 0, cameras: Sequence[str] = ()) -> Episodes:
    """All episodes. The robot goes half of the way to its target in a step: targets lie a step ahead."""
    rng = np.random.default_rng(seed)
    ways = [reach(rng) for _ in range(EPISODES)]
    seen = [np.hstack([way[:-2], np.broadcast_to(goal, (len(way) - 2, 2))]) for way, goal in ways]
    observation = np.concatenate(seen).astype(np.float32)
    return Episodes(
        observation=observation,
        action=np.concatenate([way[:-2] + 2 * (way[1:-1] - way[:-2]) for way, _ in ways]).astype(np.float32),
        ends=np.cumsum([len(way) - 2 for way, _ in ways]).astype(np.int64),
        dt=1 / FPS,
        observation_names=(*JOINTS, "goal x.pos", "goal y.pos"),
        action_names=JOINTS,
        state_of_action=(0, 1),
        pictures=pictures_of(observation, cameras),
        source="made by examples/lerobot_robot_reach/demonstrate.py",
    )


if __name__ == "__main__":
    print(save_lerobot(demonstrations(cameras=sys.argv[2:]), sys.argv[1], task="reach the goal", robot_type="reach"))
