from dataclasses import replace

import numpy as np
import pytest
import torch

import segue.training.predictor as module
from fakes.linear_system import linear
from segue.data.episodes import Episodes
from segue.training.predictor import prediction_error, predictor_for


def test_a_linear_system_needs_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the ridge, the regression is the system, to single precision; with it, nearly."""
    episodes = linear()
    for ridge, most in ((0.0, 1e-4), (module.RIDGE, 1e-2)):
        monkeypatch.setattr(module, "RIDGE", ridge)
        error = prediction_error(predictor_for(episodes), episodes, steps=(1, 5, 12))
        assert (error.predicted <= most * error.unchanged + 1e-6).all()


def jumping(episodes: int = 6, length: int = 30) -> Episodes:
    """States that change by something that no linear function of state and action says."""
    made = linear(episodes=episodes, length=length)
    changes = np.random.default_rng(5).standard_normal(made.observation.shape)
    return replace(made, observation=np.cumsum(changes, axis=0).astype(np.float32))


def test_what_is_not_linear_is_left_to_the_network() -> None:
    """Which has not learned anything yet: nothing changes."""
    torch.manual_seed(3)
    episodes = jumping()
    predictor = predictor_for(episodes)
    error = prediction_error(predictor, episodes, steps=(1, 5, 12))
    assert np.array_equal(error.predicted, error.unchanged)
    actions, steps = np.ones((7, 12, 2), np.float32), np.arange(7)
    assert np.array_equal(predictor.ahead(episodes.observation[:7], actions, steps), episodes.observation[:7])
    assert predictor.bounds.isinf().all()
    assert predictor.surprise(episodes.observation[:1], actions[:1], np.array([3]), 9 + episodes.observation[:1]) == 0


def test_one_dimension_may_be_linear_and_its_neighbour_not() -> None:
    mixed, other = linear(episodes=6, length=30), jumping()
    observation = mixed.observation.copy()
    observation[:, 2] = other.observation[:, 2]
    weight = predictor_for(replace(mixed, observation=observation)).linear.weight
    assert not weight[2].any()
    assert weight[:2].any(1).all()
