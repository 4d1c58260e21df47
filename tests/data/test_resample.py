"""Two rates: what is kept on the way down, and what the way back is exact on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.dimensions import Dimensions
from segue.data.episodes import Episodes
from segue.data.resample import at_high_rate, at_low_rate, cubic, every_phase, held, linear, subsample
from segue.errors import DataError

factors = st.integers(1, 6)
INTERPOLATIONS = pytest.mark.parametrize("interpolation", [held, linear, cubic])


def episodes(lengths: tuple[int, ...]) -> Episodes:
    """Frames that know their own number: observation and first action are it, the second action is 1."""
    frame = np.arange(sum(lengths), dtype=np.float32)
    return Episodes(
        observation=frame[:, None],
        action=np.stack([frame, np.ones_like(frame)], axis=1),
        ends=np.cumsum(lengths, dtype=np.int64),
        dt=0.01,
        observation_names=("frame",),
        action_names=("target", "move"),
        state_of_action=(0, None),
        source="counted",
    )


def test_a_period_sees_its_start_and_commands_what_is_in_force_at_its_end() -> None:
    low = subsample(episodes((9, 4)), 4, kinds=Dimensions.of("linear", "displacement"))
    np.testing.assert_array_equal(low.observation[:, 0], [0, 4, 9])
    np.testing.assert_array_equal(low.action, [[3, 4], [7, 4], [12, 4]])
    np.testing.assert_array_equal(low.ends, [2, 3])
    assert (low.dt, low.state_of_action, low.action_names) == (0.04, (0, None), ("target", "move"))


def test_a_tail_that_makes_no_period_is_left_out_and_so_is_an_episode_without_one() -> None:
    low = subsample(episodes((7, 3, 8)), 4, phase=1)
    np.testing.assert_array_equal(low.observation[:, 0], [1, 11])
    np.testing.assert_array_equal(low.action[:, 0], [4, 14])
    with pytest.raises(DataError, match="no episode"):
        subsample(episodes((3, 2)), 4)


@pytest.mark.parametrize(("factor", "phase"), [(0, 0), (4, 4), (4, -1)])
def test_a_factor_and_a_phase_must_fit(factor: int, phase: int) -> None:
    with pytest.raises(DataError, match="phase"):
        subsample(episodes((9,)), factor, phase=phase)


@given(st.lists(st.integers(1, 15), min_size=1, max_size=4), factors)
def test_every_phase_sees_each_frame_that_a_period_can_start_at_once(lengths: list[int], factor: int) -> None:
    recorded = episodes((*lengths, factor))
    low = every_phase(recorded, factor)
    possible = [
        frame
        for start, end in zip(recorded.starts, recorded.ends, strict=True)
        for frame in range(start, end - factor + 1)
    ]
    assert sorted(low.observation[:, 0]) == possible
    np.testing.assert_array_equal(low.action[:, 0], low.observation[:, 0] + factor - 1)
    for episode in low:
        np.testing.assert_array_equal(np.diff(episode.observation[:, 0]), factor)


@given(factors, st.integers(1, 6), st.integers(0, 5))
def test_the_displacement_of_whole_periods_is_preserved(factor: int, periods: int, rest: int) -> None:
    steps = np.random.default_rng(factor).normal(size=(periods * factor + min(rest, factor - 1), 2))
    low = at_low_rate(steps, factor, kinds=Dimensions.of("displacement", "displacement"))
    assert low.shape == (periods, 2)
    whole = steps[: periods * factor].reshape(periods, factor, 2).sum(1)
    np.testing.assert_allclose(low, whole, atol=1e-5)


@INTERPOLATIONS
@given(factor=factors, periods=st.integers(1, 7), seed=st.integers(0, 99))
def test_the_way_back_keeps_knots_and_sums(interpolation, factor: int, periods: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chunk, previous = rng.normal(size=(periods, 3)), rng.normal(size=3)
    high = at_high_rate(
        chunk, factor, interpolation, previous=previous, kinds=Dimensions.of("linear", "displacement", "displacement")
    )
    assert high.shape == (periods * factor, 3)
    assert high.dtype == np.float32
    np.testing.assert_allclose(
        at_low_rate(high, factor, kinds=Dimensions.of("linear", "displacement", "displacement")), chunk, atol=1e-4
    )


@INTERPOLATIONS
@given(factor=factors, value=st.floats(-3, 3))
def test_a_constant_is_kept(interpolation, factor: int, value: float) -> None:
    steps = np.full((5 * factor, 1), value)
    low = at_low_rate(steps, factor)
    np.testing.assert_allclose(at_high_rate(low, factor, interpolation, previous=steps[0]), steps, atol=1e-5)
    np.testing.assert_allclose(at_high_rate(low, factor, interpolation), steps, atol=1e-5)


@pytest.mark.parametrize(("interpolation", "degree"), [(linear, 1), (cubic, 3)])
@given(factor=factors, periods=st.integers(3, 8), seed=st.integers(0, 99))
def test_polynomials_come_back_to_the_last_step(
    interpolation, degree: int, factor: int, periods: int, seed: int
) -> None:
    coefficients = np.random.default_rng(seed).normal(size=degree + 1)
    time = np.arange(-1, periods * factor) / (periods * factor)
    steps = np.polyval(coefficients, time)[:, None]
    low = at_low_rate(steps[1:], factor)
    back = at_high_rate(low, factor, interpolation, previous=steps[0])
    np.testing.assert_allclose(back, steps[1:], atol=1e-4)


@given(factor=factors, periods=st.integers(3, 6))
def test_a_displacement_that_grows_steadily_comes_back(factor: int, periods: int) -> None:
    steps = (1 + 0.1 * np.arange(periods * factor))[:, None]
    low = at_low_rate(steps, factor, kinds=Dimensions.of("displacement"))
    np.testing.assert_allclose(at_high_rate(low, factor, cubic, kinds=Dimensions.of("displacement")), steps, rtol=1e-4)


def test_a_held_displacement_is_a_straight_path() -> None:
    chunk = np.array([[4.0], [-2.0]])
    straight = [[1], [1], [1], [1], [-0.5], [-0.5], [-0.5], [-0.5]]
    np.testing.assert_allclose(at_high_rate(chunk, 4, held, kinds=Dimensions.of("displacement")), straight)
    np.testing.assert_allclose(at_high_rate(chunk, 4, linear, kinds=Dimensions.of("displacement")), straight)


def test_many_chunks_at_once_are_the_chunks_one_by_one() -> None:
    rng = np.random.default_rng(0)
    chunks, previous = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 3))
    for interpolation in (held, linear, cubic):
        together = at_high_rate(
            chunks, 3, interpolation, previous=previous, kinds=Dimensions.of("linear", "linear", "displacement")
        )
        for chunk, before, expected in zip(chunks, previous, together, strict=True):
            alone = at_high_rate(
                chunk, 3, interpolation, previous=before, kinds=Dimensions.of("linear", "linear", "displacement")
            )
            np.testing.assert_allclose(alone, expected, atol=1e-6)


def test_without_a_previous_action_the_first_target_is_held() -> None:
    chunk = np.array([[1.0], [2.0]])
    np.testing.assert_allclose(at_high_rate(chunk, 2, linear), [[1], [1], [1.5], [2]])


def test_factor_one_changes_nothing() -> None:
    recorded = episodes((5, 6))
    low = subsample(recorded, 1, kinds=Dimensions.of("linear", "displacement"))
    np.testing.assert_array_equal(low.action, recorded.action)
    np.testing.assert_array_equal(low.ends, recorded.ends)
    assert replace(low, source="").dt == recorded.dt


def test_an_angle_is_interpolated_the_shorter_way_round_and_a_switch_is_held() -> None:
    kinds = Dimensions.of("angle:360", "binary", "velocity")
    chunk = np.array([[170.0, 0, 0.1], [-170, 1, 0.3], [-150, 0, 0.3]])
    for interpolation in (held, linear, cubic):
        high = at_high_rate(chunk, 4, interpolation, previous=np.array([150.0, 0, 0.1]), kinds=kinds)
        assert ((high[:, 0] >= 150) & (high[:, 0] <= 210)).all()
        assert high[:, 1].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4
        np.testing.assert_allclose(high[:, 2].reshape(3, 4).mean(1), chunk[:, 2], atol=1e-6)
        low = at_low_rate(high, 4, kinds)
        np.testing.assert_allclose(Dimensions.of("angle:360").difference(low[:, :1], chunk[:, :1]), 0, atol=1e-3)
        np.testing.assert_allclose(low[:, 1:], chunk[:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "periods"),
    [
        ([0, 1, 1, 1, 0, 0, 0, 0], [1, 0]),
        ([1, 1, 1, 1, 1, 0, 1, 1], [1, 0]),
        ([0, 0, 1, 1, 1, 1, 0, 0], [1, 0]),
        ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0]),
    ],
)
def test_a_short_close_of_a_gripper_is_not_lost_at_the_low_rate(steps: list[int], periods: list[int]) -> None:
    one = np.array(steps, np.float64)[:, None]
    assert at_low_rate(one, 4, Dimensions.of("binary"))[:, 0].tolist() == periods
    both = at_low_rate(np.stack([one, 1 - one]), 4, Dimensions.of("binary"))
    assert (both[0] != both[1]).all()
    assert at_low_rate(one[:3], 4, Dimensions.of("binary")).shape == (0, 1)
