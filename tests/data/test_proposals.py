"""What the numbers say of a dimension's kind."""

import numpy as np
import pytest

from segue.core.dimensions import Dimensions
from segue.data.episodes import Episodes
from segue.data.proposals import proposed_kinds
from segue.lab.recording import recording_metrics, roughest
from segue.lab.scales import action_scale

TIME = np.linspace(0, 8 * np.pi, 400)
PLAIN = np.sin(TIME)


def recorded(*columns: np.ndarray, kinds: Dimensions = Dimensions()) -> Episodes:  # noqa: B008  # a frozen value
    values = np.stack(columns, axis=1).astype(np.float32)
    names = tuple(f"n{i}" for i in range(len(columns)))
    anchors = tuple(range(len(columns)))
    return Episodes(
        values,
        values,
        np.array([200, 400]),
        0.02,
        names,
        names,
        anchors,
        "",
        action_kinds=kinds,
        observation_kinds=kinds,
    )


def wrapped(period: float = 2 * np.pi) -> np.ndarray:
    return ((TIME + np.pi) % (2 * np.pi) - np.pi) * period / (2 * np.pi)


@pytest.mark.parametrize(
    ("column", "word"),
    [
        (wrapped(), "angle: "), (wrapped(360.0), "angle:360: "), (np.full(400, 0.3), "constant"),
        (np.sign(PLAIN - 0.5), "binary"),
    ],
)  # fmt: skip
def test_what_does_not_look_linear_is_said(column: np.ndarray, word: str) -> None:
    said = proposed_kinds(recorded(PLAIN, column))
    assert len(said) == 2, "action and observation"
    assert all("'n1' looks like " + word in each for each in said)


def test_what_is_linear_or_declared_is_not_said_again() -> None:
    assert proposed_kinds(recorded(PLAIN, 20 * PLAIN, TIME)) == []
    assert proposed_kinds(recorded(wrapped(), PLAIN, kinds=Dimensions.of("angle", "linear"))) == []
    apart = np.where(np.arange(400) < 200, 0.0, 6.0) + 0.1 * PLAIN  # a jump between episodes is none
    assert proposed_kinds(recorded(apart)) == []


def test_four_numbers_of_length_one_are_a_quaternion() -> None:
    turned = [np.cos(TIME / 9), 0 * TIME, np.sin(TIME / 9), 0 * TIME]
    assert len([each for each in proposed_kinds(recorded(PLAIN, *turned)) if "quaternion" in each]) == 8


@pytest.mark.parametrize(("word", "period"), [("angle", 2 * np.pi), ("angle:360", 360.0)])
def test_measures_of_a_turn_do_not_depend_on_how_it_is_described(word: str, period: float) -> None:
    kinds = Dimensions.of(word, "linear")
    one = recorded(wrapped(period), PLAIN, kinds=kinds)
    other = recorded(TIME * period / (2 * np.pi), PLAIN, kinds=kinds)
    np.testing.assert_allclose(action_scale(one), action_scale(other), rtol=1e-4)
    for a, b in zip(recording_metrics(one, every=8), recording_metrics(other, every=8), strict=True):
        if np.isfinite(b.interval.value):
            assert a.interval.value == pytest.approx(b.interval.value, rel=0.1, abs=1e-2), a.label
    assert roughest(one)[0][0] == "n1", "not the jump of the numbers"
