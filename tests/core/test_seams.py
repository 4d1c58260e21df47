import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.seams import (
    Seam,
    acceleration_jump,
    mode_switch,
    overlap_rmse,
    seam_jump,
    seam_ratio,
    velocity_jump,
)

DT = 0.05
ONE = np.ones(2)
K = 10
size = st.floats(0.01, 100)


def polynomial(degree: int, steps: int = 20) -> np.ndarray:
    return (np.arange(steps, dtype=float) ** degree)[:, None] * np.array([1.0, -0.5])


def piece(degree: int, coefficient: float, steps: int = 20) -> np.ndarray:
    """0 before step K; coefficient * (step - K)^degree from it on, in both dimensions."""
    u = np.arange(steps, dtype=float) - K
    return np.repeat(np.where(u >= 0, coefficient * u**degree, 0.0)[:, None], 2, axis=1)


def seam(old: np.ndarray, new: np.ndarray, delay: int = 0) -> Seam:
    return Seam(step=K + delay, start=K, old=old, new=new)


def test_delay_is_the_first_executed_position():
    assert Seam(step=13, start=10, old=np.zeros((5, 2)), new=np.zeros((8, 2))).delay == 3


def test_overlap_of_a_continued_plan_is_zero():
    new = np.random.default_rng(0).normal(size=(8, 2))
    assert overlap_rmse(seam(new[:5], new), ONE, 0) == 0
    assert not mode_switch(seam(new[:5], new), ONE)


@settings(deadline=None)
@given(size, size)
def test_overlap_of_a_shifted_plan_is_the_shift_in_units_of_scale(shift, scale):
    new = np.random.default_rng(0).normal(size=(8, 2))
    value = overlap_rmse(seam(new[:5] + shift, new), scale * ONE, 0)
    assert value == pytest.approx(shift / scale, rel=1e-6)


def test_overlap_averages_squares_over_positions_and_dimensions():
    old, new = np.zeros((4, 2)), np.zeros((6, 2))
    new[1, 0], new[3, 1], new[5] = 3.0, 4.0, 100.0
    assert overlap_rmse(seam(old, new), ONE, 0) == pytest.approx(math.sqrt(25 / 8))
    assert overlap_rmse(seam(old, new), ONE, 2) == pytest.approx(math.sqrt(16 / 4))


def test_overlap_is_undefined_without_shared_positions():
    short = seam(np.zeros((2, 2)), np.ones((6, 2)), delay=2)
    assert math.isnan(overlap_rmse(short, ONE, short.delay))
    assert not mode_switch(short, ONE)


@pytest.mark.parametrize(("shift", "expected"), [(0.99, False), (1.01, True)])
def test_mode_switch_is_a_threshold_in_standard_deviations(shift, expected):
    old, new = np.zeros((6, 2)), np.zeros((8, 2))
    new[2:] = shift
    assert mode_switch(seam(old, new, delay=2), 2 * ONE) is expected
    assert mode_switch(seam(old, new, delay=2), ONE * shift, threshold=0.5)


def test_mode_switch_looks_at_the_free_overlap_only():
    old, new = np.zeros((6, 2)), np.zeros((8, 2))
    new[:2] = 50
    assert not mode_switch(seam(old, new, delay=2), ONE)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_quadratic_path_has_no_jump(degree):
    assert seam_jump(polynomial(degree), K, ONE) == pytest.approx(0, abs=1e-9)


@settings(deadline=None)
@given(size, size, st.floats(-10, 10))
def test_the_jump_between_parallel_lines_is_their_offset(offset, scale, slope):
    line = slope * np.arange(20.0)[:, None] * np.array([1.0, 1.0])
    jump = seam_jump(line + piece(0, offset), K, scale * ONE)
    assert jump == pytest.approx(offset / scale, rel=1e-6)


def test_the_jump_is_seen_only_at_its_step():
    path = piece(0, 1.0)
    assert [seam_jump(path, k, ONE) for k in (K - 2, K, K + 2)] == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("step", [0, 1, 19, 20])
def test_jump_is_undefined_at_the_ends(step):
    assert math.isnan(seam_jump(polynomial(1), step, ONE))


@pytest.mark.parametrize("step", [2, 18])
def test_jump_is_defined_with_two_commands_on_each_side(step):
    assert seam_jump(polynomial(1), step, ONE) == pytest.approx(0, abs=1e-9)


@settings(deadline=None)
@given(size, st.floats(0.001, 1))
def test_velocity_jump_is_the_change_of_slope(slope, dt):
    assert velocity_jump(piece(1, slope), K, dt) == pytest.approx(slope / dt)


@settings(deadline=None)
@given(size, st.floats(0.001, 1))
def test_acceleration_jump_is_the_change_of_curvature(curvature, dt):
    assert acceleration_jump(piece(2, curvature), K, dt) == pytest.approx(2 * curvature / dt**2)


def test_one_sided_jumps_ignore_lower_orders():
    offset, kink = piece(0, 3.0), piece(0, 3.0) + piece(1, 2.0) + polynomial(1)
    assert velocity_jump(offset, K, DT) == pytest.approx(0, abs=1e-9)
    assert acceleration_jump(kink, K, DT) == pytest.approx(0, abs=1e-9)


def test_jumps_are_undefined_at_the_ends():
    path = polynomial(1)
    assert all(math.isnan(velocity_jump(path, k, DT)) for k in (0, 1, 19, 20))
    assert all(math.isnan(acceleration_jump(path, k, DT)) for k in (0, 2, 18, 20))
    assert velocity_jump(path, 18, DT) == pytest.approx(0, abs=1e-9)
    assert acceleration_jump(path, 17, DT) == pytest.approx(0, abs=1e-9)


def test_seam_ratio_of_a_cubic_is_one():
    assert seam_ratio(polynomial(3, 40), [10, 20, 30]) == pytest.approx(1)


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_seam_ratio_ignores_amplitude_and_offset(a, shift):
    path = np.random.default_rng(1).normal(size=(40, 2))
    assert seam_ratio(a * path + shift, [12, 24]) == pytest.approx(seam_ratio(path, [12, 24]), rel=1e-6)


def test_seam_ratio_of_an_offset_on_a_cubic():
    """Third differences at an offset c are (c, -2 c, c); those of u^3 are 6. Median of |6 + c|, |6 - 2 c|, |6 + c|."""
    path = (np.arange(20.0) ** 3 + 60.0 * (np.arange(20) >= K))[:, None]
    assert seam_ratio(path, [K]) == pytest.approx(66 / 6)


def test_seam_ratio_is_undefined_without_seam_interior_or_jerk():
    rough = np.random.default_rng(1).normal(size=(12, 2))
    assert math.isnan(seam_ratio(rough, []))
    assert math.isnan(seam_ratio(rough, range(1, 12)))
    assert math.isnan(seam_ratio(np.zeros((12, 2)), [6]))
    assert math.isnan(seam_ratio(rough[:3], [2]))
