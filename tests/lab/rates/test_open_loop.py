"""Open-loop measures: closed forms for errors, rotations, differences and the noise control."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.point_mass import demonstrations
from segue.core.dimensions import Dimensions
from segue.data.episodes import Episodes
from segue.data.resample import cubic, held, linear
from segue.errors import DataError, SpecError
from segue.lab.rates.open_loop import (
    Demonstrated,
    Group,
    demonstrated,
    deviation,
    geodesic,
    measures,
    noisy,
    noisy_knots,
    rotation_matrix,
    roughness,
    walk,
)

X = Group("x", (0,), "m")
ANGLE = Group("heading", (0,), "rad", "angle")
ROTATION = Group("rotation", tuple(range(6)), "", "rotation-6d")
QUATERNION = Group("rotation", tuple(range(4)), "", "quaternion")
angles = st.floats(-3.1, 3.1)


def chunk(path: np.ndarray) -> np.ndarray:
    """One chunk of one dimension."""
    return np.asarray(path, float)[None, :, None]


def about_z(angle: np.ndarray) -> np.ndarray:
    """Quaternion, scalar last."""
    angle = np.asarray(angle, float)
    zero = np.zeros_like(angle)
    return np.stack([zero, zero, np.sin(angle / 2), np.cos(angle / 2)], axis=-1)


def columns_about_z(angle: np.ndarray) -> np.ndarray:
    """First two columns of the rotation matrix."""
    angle = np.asarray(angle, float)
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([cos, sin, zero, -sin, cos, zero], axis=-1)


def test_deviation_is_the_mean_absolute_error_in_the_unit_of_the_group() -> None:
    predicted, actual = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    predicted[..., 1], predicted[..., 2] = 2.0, 1.0
    assert deviation(predicted, actual, Group("arm", (1,), "mm", scale=10)) == 20
    assert deviation(predicted, actual, Group("arm", (0, 1, 2), "mm", scale=(9, 1, 4))) == 2


def test_displacements_are_compared_as_the_path_that_they_add_up_to() -> None:
    early, late = chunk(np.array([1, 0, 0, 0])), chunk(np.array([0, 0, 0, 1]))
    assert deviation(early, late, Group("x", (0,), "m", kind="displacement")) == pytest.approx(3 / 4)
    assert deviation(early, late, X) == pytest.approx(2 / 4)


@given(angle=angles, error=angles, turns=st.integers(-2, 2))
def test_an_angle_is_off_by_the_shorter_way_round(angle: float, error: float, turns: int) -> None:
    found = deviation(chunk(np.array([angle + error + 2 * np.pi * turns])), chunk(np.array([angle])), ANGLE)
    assert found == pytest.approx(abs(error), abs=1e-9)


@given(angle=angles, error=angles, flip=st.booleans(), length=st.floats(0.1, 9))
def test_geodesic_error_is_the_angle_between_rotations(angle: float, error: float, flip: bool, length: float) -> None:
    here, there = np.array([[angle]]), np.array([[angle + error]])
    sign = -1 if flip else 1
    assert geodesic(sign * length * about_z(there), about_z(here), QUATERNION) == pytest.approx(abs(error), abs=1e-6)
    assert geodesic(length * columns_about_z(there), columns_about_z(here), ROTATION) == pytest.approx(
        abs(error), abs=1e-6
    )


def test_only_rotations_have_a_geodesic_error() -> None:
    assert np.isnan(geodesic(chunk(np.ones(4)), chunk(np.zeros(4)), X))


def test_a_quaternion_of_either_sign_is_the_same_rotation() -> None:
    path = about_z(np.linspace(0, 1, 8))[None]
    flipped = path.copy()
    flipped[:, 3:5] *= -1
    assert deviation(flipped, path, QUATERNION) == 0
    assert roughness(flipped, QUATERNION, 3) == pytest.approx(roughness(path, QUATERNION, 3))


@given(st.integers(0, 999))
def test_two_columns_that_are_not_orthonormal_still_give_a_rotation(seed: int) -> None:
    matrix = rotation_matrix(np.random.default_rng(seed).normal(size=6))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_differences_of_a_cubic_per_step_and_per_second() -> None:
    time = np.arange(9)
    assert roughness(chunk(5 * time**2), X, 2) == pytest.approx(10)
    assert roughness(chunk(5 * time**3), X, 3) == pytest.approx(30)
    assert roughness(chunk(5 * time**3), X, 3, dt=0.1) == pytest.approx(30e3)
    assert roughness(chunk(7 * time), Group("x", (0,), "m", kind="displacement"), 2) == pytest.approx(7)


def test_the_norm_is_over_the_dimensions_of_a_group() -> None:
    time = np.arange(6)
    both = np.stack([3 * time**2, 4 * time**2], axis=-1)[None] / 2
    assert roughness(both, Group("xy", (0, 1), "m"), 2) == pytest.approx(5)


def test_an_angle_is_unwrapped_before_it_is_differenced() -> None:
    turning = 0.5 * np.arange(40)
    wrapped = (turning + np.pi) % (2 * np.pi) - np.pi
    assert roughness(chunk(wrapped), ANGLE, 3) == pytest.approx(0, abs=1e-9)
    assert roughness(chunk(wrapped), X, 3) > 0.1


def test_a_chunk_of_three_steps_has_no_jerk() -> None:
    assert np.isnan(roughness(chunk(np.zeros(3)), X, 3))


@pytest.mark.parametrize(("group", "size"), [("rotation-6d", 5), ("quaternion", 3), ("linear", 0)])
def test_a_rotation_needs_all_of_its_numbers(group, size: int) -> None:
    with pytest.raises(SpecError, match="dimensions"):
        Group("r", tuple(range(size)), "", group)


def test_a_perfect_prediction_has_no_error_and_the_roughness_of_the_truth() -> None:
    actual = chunk(np.arange(8) ** 3)
    found = measures(actual, actual, X, 0.5)
    assert found["deviation"] == 0
    assert found["jerk"] == pytest.approx(8 * found["jerk_step"])
    assert found["acceleration"] == pytest.approx(4 * found["acceleration_step"])
    assert found["jerk_step"] == pytest.approx(6)


FACTOR, SIGMA = 4, 0.1


def at_rest(*shape: int) -> Demonstrated:
    return Demonstrated(np.zeros(shape), np.zeros((shape[0], shape[2])))


def mean_square_jerk(chunks: np.ndarray) -> float:
    return float(np.mean(np.diff(chunks, n=3, axis=1) ** 2))


def test_white_noise_has_twenty_times_its_variance_in_third_differences() -> None:
    rest = at_rest(400, 100, 1)
    found = mean_square_jerk(noisy(rest, np.array([SIGMA]), seed=0))
    assert found == pytest.approx(20 * SIGMA**2, rel=0.03)


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [(held, 12 * SIGMA**2 / FACTOR), (linear, 12 * SIGMA**2 / FACTOR**3), (cubic, None)],
)
def test_the_same_noise_on_knots_is_smoother_by_the_interpolation_alone(
    interpolation: Callable, expected: float | None
) -> None:
    rest = at_rest(400, 100 * FACTOR, 1)
    chunks = noisy_knots(rest, np.array([SIGMA]), FACTOR, interpolation, seed=0)
    assert chunks[:, FACTOR - 1 :: FACTOR].std() == pytest.approx(SIGMA, rel=0.02)  # the error at knots is the same
    found = mean_square_jerk(chunks)
    if expected is None:
        assert found < 12 * SIGMA**2 / FACTOR**3
    else:
        assert found == pytest.approx(expected, rel=0.05)


def test_noise_is_per_dimension_and_repeatable() -> None:
    rest = at_rest(50, 40, 2)
    one, again = (noisy(rest, np.array([0.0, 1.0]), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one[..., 0].std() == 0
    assert one[..., 1].std() == pytest.approx(1, rel=0.1)


class Recalled:
    """Knows the demonstrations by heart, off by a constant, and remembers what it was asked."""

    def __init__(self, episodes: Episodes, horizon: int, offset: float) -> None:
        self.episodes, self.horizon, self.offset, self.asked = episodes, horizon, offset, []

    def next_chunks(self, observations, continuations, generators):
        chunks = []
        for observation, asked in zip(observations, continuations, strict=True):
            frame = int(np.flatnonzero((self.episodes.observation == observation).all(axis=1))[0])
            chunks.append(self.episodes.action[frame : frame + self.horizon] + self.offset)
            self.asked.append(asked)
        return np.stack(chunks)


def test_a_walk_asks_along_each_episode_and_compares_with_what_followed() -> None:
    episodes = demonstrations((20, 9, 14))
    policy = Recalled(episodes, horizon=8, offset=0.5)
    found = walk(policy, episodes, 8, 3, 2)
    starts = [step for frames in (20, 9, 14) for step in range(0, frames - 7, 3)]
    assert len(found.predicted) == len(starts)
    np.testing.assert_allclose(found.predicted - found.actual, 0.5, atol=1e-6)
    assert sorted(each.start for each in policy.asked) == sorted(starts)
    for each in policy.asked:
        assert (each.known, each.delay) == ((0, 0) if each.start == 0 else (5, 2))
        assert (each.previous is None) == (each.start == 0)
    # straight ways at constant speed: a seam of the truth is a step like any other
    assert len(found.seams) == len(starts) - 3
    np.testing.assert_allclose(np.diff(found.seams, n=2, axis=1), 0, atol=1e-5)


def test_episodes_shorter_than_a_chunk_cannot_be_walked() -> None:
    episodes = demonstrations((5, 6))
    with pytest.raises(DataError, match="8 steps"):
        walk(Recalled(episodes, 8, 0), episodes, 8, 3, 2)


def test_without_noise_the_control_is_what_the_low_rate_alone_costs() -> None:
    truth = demonstrated(demonstrations((20, 9, 14)), 8, 3)
    nothing = np.zeros(2)
    np.testing.assert_array_equal(noisy(truth, nothing, seed=0), truth.chunks)
    # straight ways at constant speed, from a known step before: only the first chunk of an episode has none
    found = noisy_knots(truth, nothing, 4, linear, seed=0)
    np.testing.assert_allclose(found[3:], truth.chunks[3:], atol=1e-5)
    assert np.abs(noisy_knots(truth, nothing, 4, held, seed=0)[3:] - truth.chunks[3:]).max() > 1e-3


def test_noisy_displacements_are_off_by_as_much_at_every_knot_at_either_rate() -> None:
    rest, scale = at_rest(4000, 2 * FACTOR, 1), np.array([SIGMA])
    paths = [
        np.cumsum(chunks, axis=1)[:, FACTOR - 1 :: FACTOR, 0].std(axis=0)
        for chunks in (
            noisy(rest, scale, 0),
            noisy_knots(rest, scale, FACTOR, held, 1, kinds=Dimensions.of("displacement", *["linear"] * 2)),
        )
    ]
    for path in paths:
        np.testing.assert_allclose(path, SIGMA * np.sqrt([FACTOR, 2 * FACTOR]), rtol=0.05)
    assert scale == SIGMA
