"""Recordings of a linear system, whose future is known exactly."""

import numpy as np

from segue.data.episodes import Episodes

FROM_STATE = np.array([[0.9, 0.2, 0], [-0.2, 0.9, 0], [0, 0, 0.95]])


FROM_ACTION = np.array([[0.1, 0, 0.3], [0, 2.0, 0]])


def linear(episodes: int = 20, length: int = 40, seed: int = 0) -> Episodes:
    """Demonstrations of ``o' = o A + a B`` under random actions, in dimensions of very different sizes."""
    rng, size = np.random.default_rng(seed), np.array([1, 10, 0.01])
    observations, actions = [], []
    for _ in range(episodes):
        state = rng.standard_normal(3)
        for action in rng.standard_normal((length, 2)):
            observations.append(state * size)
            actions.append(action)
            state = state @ FROM_STATE + action @ FROM_ACTION
    return Episodes(
        observation=np.array(observations, np.float32), action=np.array(actions, np.float32),
        ends=np.arange(1, episodes + 1) * length, dt=0.1, observation_names=("a", "b", "c"), action_names=("x", "y"),
        state_of_action=(None, None), source="made by the tests",
    )  # fmt: skip
