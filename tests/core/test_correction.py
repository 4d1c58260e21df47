"""Corrections of actions when they are due: the network against its formula, and what fails changes nothing."""

from typing import Any

import numpy as np
import pytest

from segue.core.correction import Residual, corrected, phase
from segue.core.dimensions import Dimensions

STATE, ACTION = np.array([1.0, -2.0], np.float32), np.array([0.5], np.float32)
UNITS = (
    (np.array([0.5, 0], np.float32), np.array([2, 1], np.float32)),
    (np.zeros(1, np.float32), np.full(1, 4, np.float32)),
)


def residual(**kinds: Dimensions) -> Residual:
    """Two hidden units: the state less its mean over its scale, added up, and the negative of that; ReLU; their sum."""
    first = np.array([[1, -1], [1, -1], [0, 0], [0, 0], [0, 0]], np.float32)
    zeros = [np.zeros(size, np.float32) for size in (2, 1)]
    return Residual([first, np.ones((2, 1), np.float32)], zeros, *UNITS, horizon=8, **kinds)


def test_the_network_is_its_formula() -> None:
    """``|(1 - 0.5) / 2 + (-2 - 0) / 1| = 1.75``, times the action's scale 4."""
    assert residual().corrected(STATE, ACTION, 3).tolist() == [0.5 + 4 * 1.75]


def test_the_position_in_the_chunk_goes_round_once() -> None:
    np.testing.assert_allclose(phase(np.array([0, 2, 4, 6]), 8), [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-6)
    made = residual()
    first = np.array(made.weights[0])
    first[3:, 0] = 1, 2  # cosine and sine
    told = Residual([first, made.weights[1]], made.biases, *UNITS, horizon=8)
    for index, angle in ((0, 0.0), (1, np.pi / 4)):
        more = max(-1.75 + np.cos(angle) + 2 * np.sin(angle), 0) + 1.75
        assert told.corrected(STATE, ACTION, index)[0] == pytest.approx(0.5 + 4 * more, rel=1e-6)


def test_an_angle_is_seen_near_the_mean_and_a_binary_action_stays() -> None:
    wrapped = STATE + np.array([2 * np.pi, 0], np.float32)
    made = residual(observation_kinds=Dimensions.of("angle", "linear"))
    np.testing.assert_allclose(made.corrected(wrapped, ACTION, 0), made.corrected(STATE, ACTION, 0), rtol=1e-5)
    assert residual(action_kinds=Dimensions.of("binary")).corrected(STATE, ACTION, 0).tolist() == [0.5]


class Fixed:
    """Answers with what it is given, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def corrected(self, state: np.ndarray, action: np.ndarray, index: int) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [np.array([np.nan]), np.array([np.inf]), np.zeros(2), ValueError("no"), None, "up"])
def test_what_is_no_action_changes_nothing(answer: Any) -> None:
    assert corrected(Fixed(answer), STATE, ACTION, 0) is ACTION


def test_without_an_observation_the_action_is_the_plans() -> None:
    changed = np.ones(1, np.float32)
    assert corrected(Fixed(changed), None, ACTION, 0) is ACTION
    assert corrected(Fixed(changed), STATE, ACTION, 0) is changed
