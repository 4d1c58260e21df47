"""Demonstrations of the point mass that are seen: the goal is not in the state, it is a bright square in a picture."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakes.point_mass import demonstrations as of_the_state
from fakes.point_mass import recipe as of_a_recipe
from segue.data.episodes import Episodes
from segue.data.pictures import Pictures
from segue.training.recipe import Recipe

SIZE, CAMERA = 24, "top"
SMALL = {"settings": {"widths": [8, 8], "keypoints": 4}, "crop": 0.75}


def picture(goal: NDArray) -> NDArray[np.uint8]:
    """A square of 4 pixels at a goal in [-1, 1]."""
    shown = np.zeros((SIZE, SIZE, 3), np.uint8)
    x, y = np.round((goal + 1) / 2 * (SIZE - 8)).astype(int) + 2
    shown[y : y + 4, x : x + 4] = 255, 128, 0
    return shown


def demonstrations(lengths: tuple[int, ...] = (30, 24, 40), seed: int = 0) -> Episodes:
    episodes = of_the_state(lengths, seed)
    pictures = np.stack([picture(goal) for goal in episodes.observation[:, 2:]])
    return replace(
        episodes,
        observation=np.ascontiguousarray(episodes.observation[:, :2]),
        observation_names=episodes.observation_names[:2],
        pictures={CAMERA: Pictures.of(pictures)},
    )


def recipe(updates: int = 8, horizon: int = 8, **settings: Any) -> Recipe:
    return of_a_recipe(updates, horizon, **{"vision": SMALL, **settings})
