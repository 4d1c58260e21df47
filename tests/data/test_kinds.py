"""Relative actions, other rates and measures of random mixed kinds: what is said in other words means the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.dimensions import Dimensions
from segue.core.metrics import EpisodeRecord, episode_metrics, prediction_error
from segue.core.robot import Outcome, RobotSpec
from segue.core.seams import Seam
from segue.data.episodes import Episodes
from segue.data.resample import at_high_rate, at_low_rate, cubic, held, linear, subsample
from segue.errors import DataError
from segue.lab.recording import recording_metrics
from segue.lab.scales import action_scale, observation_scale
from segue.policies.processor import demonstrated_chunks

WORDS = ("linear", "angle", "angle:deg", "gripper", "binary", "velocity", "displacement", "constant")
SPECS = st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.booleans(), st.booleans())
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(deadline=None, max_examples=25)


def dimensions(drawn: tuple[list[str], bool, bool]) -> Dimensions:
    words, quaternion, columns = drawn
    return Dimensions.of(*words, *["quaternion"] * 4 * quaternion, *["rotation-6d"] * 6 * columns)


def motion(kinds: Dimensions, seed: int, steps: int = 60) -> np.ndarray:
    """Something that goes on, through every seam that it has. (steps, dimension)."""
    rng, size = np.random.default_rng(seed), len(kinds.kinds)
    values = np.cumsum(0.05 * rng.normal(size=(steps, size)) + 0.05 * rng.uniform(-1, 1, size), axis=0)
    values = values + rng.uniform(-1, 1, size)
    for index, period in kinds.angles:
        values[:, index] *= period
    for index in kinds.named("binary"):
        values[:, index] = np.cumsum(rng.random(steps) < 0.1) % 2
    values[:, list(kinds.named("constant"))] = 2.0
    return kinds.proper(values)


def other_words(kinds: Dimensions, values: np.ndarray, seed: int) -> np.ndarray:
    rng, values = np.random.default_rng(seed + 7), values.copy()
    for index, period in kinds.angles:
        values[..., index] += period * rng.integers(-2, 3, values.shape[:-1])
    for group in kinds.quaternions:
        values[..., group] *= rng.choice([-1, 1], values.shape[:-1])[..., None]
    return values


def recorded(kinds: Dimensions, values: np.ndarray, action: np.ndarray | None = None) -> Episodes:
    size = values.shape[1]
    names, action = tuple(f"n{i}" for i in range(size)), values if action is None else action
    return Episodes(
        values.astype(np.float32), action.astype(np.float32), np.array([len(values) // 2, len(values)]), 0.05, names,
        names, tuple(range(size)), "made", action_kinds=kinds, observation_kinds=kinds,
    )  # fmt: skip


def units(kinds: Dimensions) -> np.ndarray:
    """Of rounding, per dimension."""
    found = np.ones(len(kinds.kinds))
    for index, period in kinds.angles:
        found[index] = period
    return found


@FEW
@given(SPECS, SEEDS)
def test_relative_actions_do_not_depend_on_the_words(drawn: Any, seed: int) -> None:
    kinds = dimensions(drawn)
    if not kinds.kinds:
        return
    values = motion(kinds, seed)
    relative = tuple(i if each.name in ("linear", "angle", "gripper") else None for i, each in enumerate(kinds.kinds))
    one = demonstrated_chunks(recorded(kinds, values), 8, relative)
    words = other_words(kinds, values, seed), other_words(kinds, values, seed + 1)
    other = demonstrated_chunks(recorded(kinds, *words), 8, relative)
    off = kinds.difference(other.astype(np.float64), one) / units(kinds)
    np.testing.assert_allclose(off, 0, atol=1e-4)
    anchored = [i for i, each in enumerate(relative) if each is not None]
    np.testing.assert_allclose(((other - one) / units(kinds))[..., anchored], 0, atol=1e-4)
    assert (np.abs(one[:, 0, anchored] / units(kinds)[anchored]) < 0.5 + 1e-4).all()


@FEW
@given(SPECS, SEEDS, st.sampled_from([held, linear, cubic]), st.integers(2, 5))
def test_other_rates_do_not_depend_on_the_words_and_keep_the_kinds(
    drawn: Any, seed: int, interpolation: Any, factor: int
) -> None:
    kinds = dimensions(drawn)
    if not kinds.kinds:
        return
    values = motion(kinds, seed)
    others = other_words(kinds, values, seed)
    low, other_low = (at_low_rate(each, factor, kinds).astype(np.float64) for each in (values, others))
    high, other_high = (
        at_high_rate(each[:6], factor, interpolation, previous=before, kinds=kinds).astype(np.float64)
        for each, before in ((low, values[0]), (other_low, others[0]))
    )
    for one, other in ((low, other_low), (high, other_high)):
        np.testing.assert_allclose(kinds.difference(other, one) / units(kinds), 0, atol=1e-4)
        np.testing.assert_allclose(kinds.proper(one), one, atol=1e-5)
    binary = list(kinds.named("binary"))
    assert set(low[:, binary].flatten()) | set(high[:, binary].flatten()) <= {0.0, 1.0}
    assert (high[:, list(kinds.named("constant"))] == 2).all()
    steps = np.abs(kinds.difference(high[1:], high[:-1]) / units(kinds))
    assert (steps[:, [index for index, _ in kinds.angles]] < 0.5).all()
    assert subsample(recorded(kinds, values), factor).action_kinds == kinds


def measures(kinds: Dimensions, values: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    size = values.shape[1]
    low = np.full(size, -1e3, np.float32)
    for index, period in kinds.angles:
        low[index] = -period / 2
    high = low.copy()
    high[[index for index, _ in kinds.angles]] *= -1
    high[high < -500] = 1e3
    names = tuple(f"n{i}" for i in range(size))
    spec = RobotSpec("made", 0.05, names, names, low, high, "position", names, action_kinds=kinds, pose_kinds=kinds)
    seams = tuple(Seam(step, step, values[step : step + 6], values[step : step + 6]) for step in (12, 24, 36))
    record = EpisodeRecord(spec, scale, values[1:], values, seams, Outcome(False, 0.0, False), None, 1.0, 100, 3, 0.1)
    return episode_metrics(record)


@FEW
@given(SPECS, SEEDS)
def test_measures_do_not_depend_on_the_words(drawn: Any, seed: int) -> None:
    kinds = dimensions(drawn)
    if not kinds.kinds or not len(kinds.motion(len(kinds.kinds))):
        return
    values = motion(kinds, seed)
    others = other_words(kinds, values, seed)
    one, other = recorded(kinds, values), recorded(kinds, others)
    np.testing.assert_allclose(action_scale(other) / units(kinds), action_scale(one) / units(kinds), atol=1e-4)
    np.testing.assert_allclose(observation_scale(other), observation_scale(one), rtol=1e-3, atol=1e-4)
    scale = observation_scale(one)
    ours = prediction_error(values[3], values[9], scale, kinds)
    theirs = prediction_error(others[3], values[9], scale, kinds)
    assert theirs == pytest.approx(ours, rel=1e-3, nan_ok=True)
    found, again = measures(kinds, values, scale), measures(kinds, others, scale)
    for name, value in found.items():
        assert again[name] == pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True), name
    for a, b in zip(recording_metrics(one, every=8), recording_metrics(other, every=8), strict=True):
        assert b.interval.value == pytest.approx(a.interval.value, rel=1e-2, abs=1e-2, nan_ok=True), a.label


@FEW
@given(SEEDS)
def test_measures_do_not_depend_on_the_unit(seed: int) -> None:
    radians, degrees = Dimensions.of("angle", "linear:m"), Dimensions.of("angle:deg", "linear:mm")
    values, factor = motion(radians, seed), np.array([180 / np.pi, 1000])
    one, other = recorded(radians, values), recorded(degrees, values * factor)
    np.testing.assert_allclose(observation_scale(other), observation_scale(one) * factor, rtol=1e-4)
    assert prediction_error(values[3] * factor, values[9] * factor, observation_scale(other), degrees) == pytest.approx(
        prediction_error(values[3], values[9], observation_scale(one), radians), rel=1e-3
    )
    np.testing.assert_allclose(
        demonstrated_chunks(other, 8, (0, 1)), demonstrated_chunks(one, 8, (0, 1)) * factor, rtol=1e-3, atol=2e-2
    )


def test_a_kind_of_one_unit_is_not_learned_relative_to_a_state_of_another() -> None:
    radians = Dimensions.of("angle")
    episodes = recorded(radians, motion(radians, 0))
    for words in ("angle:deg", "linear:deg"):
        with pytest.raises(DataError, match="one unit"):
            replace(episodes, observation_kinds=Dimensions.of(words))
    replace(episodes, observation_kinds=Dimensions.of("linear"))
    replace(episodes, observation_kinds=Dimensions.of("linear:deg"), state_of_action=(None,))
