import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.smoothness import (
    jerk,
    nldlj,
    normalised,
    nsparc,
    power_spectrum,
    scale_of_motion,
    sparc,
    speed,
    still,
    straddling,
)

DT = 0.02
amplitude = st.floats(1e-3, 1e3)
offset = st.floats(-100, 100)


def minimum_jerk_speed(samples: int) -> np.ndarray:
    """30 u^2 (1 - u)^2 at the middles of the samples, a reach of length 1 in time 1."""
    u = (np.arange(samples) + 0.5) / samples
    return 30 * u**2 * (1 - u) ** 2


def two_bumps(samples: int = 200) -> np.ndarray:
    u = np.arange(samples) / samples
    return np.sin(np.pi * u) ** 2 * (1.2 + np.cos(4 * np.pi * u))


def random_path(seed: int, steps: int = 40, dimensions: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, dimensions)).cumsum(axis=0)


def test_speed_of_a_straight_line_is_its_length_over_time():
    path = np.linspace([0.0, 0.0], [3.0, 4.0], 11)
    np.testing.assert_allclose(speed(path, 0.1), np.full(10, 5.0))


def test_speed_keeps_double_precision_of_a_single_precision_path():
    assert speed(np.zeros((5, 2), np.float32), DT).dtype == np.float64


@settings(deadline=None)
@given(st.integers(0, 1000), offset)
def test_speed_and_jerk_ignore_where_the_path_is(seed, shift):
    path = random_path(seed)
    np.testing.assert_allclose(speed(path + shift, DT), speed(path, DT), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(jerk(path + shift), jerk(path), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_jerk_of_a_quadratic_is_zero(degree):
    path = (np.arange(20.0) ** degree)[:, None] * np.array([1.0, -2.0])
    np.testing.assert_allclose(jerk(path), 0, atol=1e-9)


@settings(deadline=None)
@given(amplitude, st.sampled_from([0.01, 0.05, 1.0]))
def test_jerk_of_a_cubic_is_six_times_its_leading_coefficient(a, dt):
    time = np.arange(12) * dt
    path = (a * time**3)[:, None] * np.array([3.0, 4.0])
    np.testing.assert_allclose(jerk(path, dt), 6 * a * 5, rtol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 1000), amplitude, st.floats(1e-3, 1))
def test_jerk_scales_with_amplitude_and_inverse_cube_of_dt(seed, a, dt):
    path = random_path(seed)
    np.testing.assert_allclose(jerk(a * path, dt), a * jerk(path) / dt**3, rtol=1e-9)


def test_normalised_divides_by_scale_and_leaves_still_dimensions():
    actions = np.array([[2.0, 3.0, 5.0]])
    np.testing.assert_array_equal(normalised(actions, np.array([2.0, 0.0, 1e-9])), [[1.0, 3.0, 5.0]])


def test_sparc_of_a_minimum_jerk_reach_is_the_arc_length_of_its_transform():
    """The transform of (1 - u^2)^2 on [-1, 1], relative to that at 0, is 15 j_2(w) / w^2, with w = pi f T."""
    w = np.linspace(0.05, 20, 200_000)  # closer to 0 the closed form cancels
    bessel = (3 / w**3 - 1 / w) * np.sin(w) - 3 * np.cos(w) / w**2
    magnitude = np.abs(15 * bessel / w**2)
    last = np.flatnonzero(magnitude >= 0.05)[-1]
    w, magnitude = w[: last + 1], magnitude[: last + 1]
    exact = np.sum(np.hypot(np.diff(w) / w[-1], np.diff(magnitude)))
    assert exact == pytest.approx(1.4, abs=0.01)
    # the zero-padded grid has a few dozen bins below the threshold's frequency, so that the band ends up to one early
    assert nsparc(minimum_jerk_speed(4096), 1 / 4096) == pytest.approx(exact, abs=0.02)


def test_sparc_on_the_published_grid():
    """100 samples are padded to 2^(7 + 4) = 2048; each bin summed by itself."""
    profile = np.abs(np.diff(random_path(6, 101, 1)[:, 0]))
    frequency = np.arange(1025) / (2048 * DT)
    waves = np.exp(-2j * np.pi * np.outer(frequency, np.arange(100) * DT))
    magnitude = np.abs(waves @ profile)
    magnitude /= magnitude.max()
    kept = np.flatnonzero((magnitude >= 0.05) & (frequency <= 10))
    f, m = frequency[kept[0] : kept[-1] + 1], magnitude[kept[0] : kept[-1] + 1]
    arc = sum(math.hypot((f[i + 1] - f[i]) / (f[-1] - f[0]), m[i + 1] - m[i]) for i in range(len(f) - 1))
    assert nsparc(profile, DT) == pytest.approx(arc, rel=1e-9)


def test_nsparc_anchor_of_a_minimum_jerk_reach():
    assert nsparc(minimum_jerk_speed(200), 1 / 200) == pytest.approx(1.406, abs=1e-3)


@settings(deadline=None)
@given(amplitude)
def test_nsparc_ignores_amplitude(a):
    assert nsparc(a * two_bumps(), DT) == pytest.approx(nsparc(two_bumps(), DT), rel=1e-9)


@settings(deadline=None)
@given(st.floats(0.02, 0.1))
def test_nsparc_ignores_the_time_scale_of_a_slow_motion(dt):
    assert nsparc(two_bumps(), dt) == pytest.approx(nsparc(two_bumps(), DT), rel=1e-9)


def test_nsparc_ignores_the_direction_of_time():
    assert nsparc(two_bumps()[::-1], DT) == pytest.approx(nsparc(two_bumps(), DT), rel=1e-9)


def test_nsparc_ignores_what_is_above_ten_hertz():
    time = np.arange(500) * 0.004
    slow = np.sin(np.pi * time / 2) ** 2
    shaken = slow * (1 + 0.5 * np.cos(2 * np.pi * 40 * time))
    assert nsparc(shaken, 0.004) == pytest.approx(nsparc(slow, 0.004), abs=0.01)


def test_nsparc_rises_with_every_stop():
    u = np.arange(400) / 400
    values = [nsparc(np.sin(np.pi * stops * u) ** 2, DT) for stops in (1, 2, 4)]
    assert values[0] < values[1] < values[2]


def test_sparc_is_the_negative():
    assert sparc(two_bumps(), DT) == -nsparc(two_bumps(), DT) < 0


@pytest.mark.parametrize("profile", [np.zeros(50), np.ones(3), np.zeros(0)])
def test_nsparc_is_undefined_without_motion(profile):
    assert math.isnan(nsparc(profile, DT))


def test_nldlj_of_a_minimum_jerk_reach_is_ln_of_204_8():
    """integral of (60 - 360 u + 360 u^2)^2 = 720, v_peak = 30 / 16, so that 720 / (30 / 16)^2 = 204.8."""
    exact = math.log(720 / (30 / 16) ** 2)
    assert nldlj(minimum_jerk_speed(20_000), 1 / 20_000) == pytest.approx(exact, abs=1e-3)
    assert nldlj(minimum_jerk_speed(400), 1 / 400) == pytest.approx(5.30, abs=0.01)


def test_nldlj_of_a_parabola():
    """v = u (1 - u): v'' = -2, v_peak = 1 / 4, so that ln(4 / (1 / 16)) = ln 64."""
    u = (np.arange(2000) + 0.5) / 2000
    assert nldlj(u * (1 - u), 1 / 2000) == pytest.approx(math.log(64), abs=1e-5)


@settings(deadline=None)
@given(amplitude, st.floats(1e-3, 1))
def test_nldlj_ignores_amplitude_and_time_scale(a, dt):
    assert nldlj(a * two_bumps(), dt) == pytest.approx(nldlj(two_bumps(), 1.0), abs=1e-9)


def test_nldlj_inside_chunks_ignores_what_happens_at_a_joint():
    smooth = np.sin(np.linspace(0, 3, 61))[:, None]
    broken = smooth + 0.01 * (np.arange(61) >= 30)[:, None]
    whole, cut = (nldlj(speed(broken, DT), DT, leave_out) for leave_out in ((), (30,)))
    assert whole > cut + 1
    # NLDLJ is relative to the peak speed, which the offset may raise
    peaks = np.max(speed(broken, DT)) / np.max(speed(smooth, DT))
    assert cut + 2 * math.log(peaks) == pytest.approx(nldlj(speed(smooth, DT), DT, [30]), abs=1e-9)


def test_nldlj_does_not_fall_merely_because_samples_are_left_out():
    u = np.arange(100) / 100
    parabola = u * (1 - u)
    assert nldlj(parabola, DT, [20, 50, 80]) == pytest.approx(nldlj(parabola, DT), abs=1e-9)


@pytest.mark.parametrize("profile", [np.zeros(50), np.full(50, 2.0), np.ones(2), np.zeros(0)])
def test_nldlj_is_undefined_without_motion_or_jerk(profile):
    assert math.isnan(nldlj(profile, DT))


def test_nldlj_is_undefined_when_every_sample_straddles():
    assert math.isnan(nldlj(two_bumps(10), DT, range(1, 11)))


@settings(deadline=None)
@given(st.integers(1, 30))
def test_straddling_marks_exactly_the_differences_with_points_on_both_sides(step):
    samples = 27
    both_sides = [j <= step - 1 and j + 3 >= step for j in range(samples)]
    np.testing.assert_array_equal(straddling(samples, [step]), both_sides)


def test_power_spectrum_of_a_tone():
    frequency, dt, n = 5.0, 0.01, 200
    time = np.arange(n + 1) * dt
    path = np.sin(2 * np.pi * frequency * time)[:, None]
    bins, density = power_spectrum(path, dt)
    velocity_amplitude = 2 * np.sin(np.pi * frequency * dt) / dt
    assert bins[np.argmax(density)] == pytest.approx(frequency)
    assert np.sum(density) * bins[1] == pytest.approx(velocity_amplitude**2 / 2)


@pytest.mark.parametrize("steps", [40, 41])
def test_power_spectrum_adds_up_to_the_windowed_mean_square(steps):
    path = random_path(5, steps)
    velocity = np.diff(path, axis=0) / DT
    window = np.sin(np.pi * np.arange(steps - 1) / (steps - 1))[:, None] ** 2
    total = np.sum(((velocity - velocity.mean(axis=0)) * window) ** 2) / np.sum(window**2)
    bins, density = power_spectrum(path, DT)
    assert np.sum(density) * bins[1] == pytest.approx(total)


def test_power_spectrum_ignores_offset_and_constant_velocity():
    path = random_path(3)
    drift = path + 7 + 3 * np.arange(float(len(path)))[:, None]
    np.testing.assert_allclose(power_spectrum(drift, DT)[1], power_spectrum(path, DT)[1], rtol=1e-6, atol=1e-9)


def test_power_spectrum_adds_up_over_dimensions_and_squares_amplitude():
    path = random_path(4)
    parts = [power_spectrum(path[:, [i]], DT)[1] for i in range(path.shape[1])]
    np.testing.assert_allclose(power_spectrum(3 * path, DT)[1], 9 * np.sum(parts, axis=0))


def test_power_spectrum_of_two_points_is_empty():
    assert [part.size for part in power_spectrum(np.zeros((2, 3)), DT)] == [0, 0]


T = np.arange(2000) / 100
REACH = 0.1 * np.stack([np.sin(T), np.cos(0.7 * T)], 1)
"""Two coordinates that move over 20 cm."""
RESTING = {
    "noise of a sensor": lambda rng: 0.3 + 2e-6 * rng.normal(size=2000),
    "two ticks of an encoder": lambda rng: 1.5e-4 * rng.integers(0, 2, 2000),
    "nothing": lambda rng: np.full(2000, 0.3),
    "noise on a drift": lambda rng: 4e-4 * np.sin(T / 9) + 2e-6 * rng.normal(size=2000),
    "a drift below what is measured": lambda rng: 5e-6 * np.sin(T / 9) + 1e-6 * rng.normal(size=2000),
}
MOVING = {
    "small and smooth": lambda rng: 3e-4 * np.sin(T),
    "a smooth drift": lambda rng: 2e-5 * T,
    "small, with little noise": lambda rng: 3e-4 * np.sin(T) + 1e-6 * rng.normal(size=2000),
    "a gripper beside millimetres": lambda rng: 4e-4 * (np.sin(0.8 * T) > 0),
    "noise as large as the motion": lambda rng: 0.05 * rng.normal(size=2000),
}


@pytest.mark.parametrize("name", RESTING)
@pytest.mark.parametrize("unit", [1.0, 1e3, 1e-3])
def test_what_rests_beside_a_motion_stands_still_in_any_unit(name, unit):
    path = unit * np.hstack([REACH, RESTING[name](np.random.default_rng(0))[:, None]])
    np.testing.assert_array_equal(still(path, [1000, 2000]), [False, False, True])
    scale = scale_of_motion(path, [1000, 2000])
    np.testing.assert_array_equal(scale[:2], np.std(path[:, :2], axis=0))
    assert scale[2] == pytest.approx(5e-3 * scale[:2].max())


@pytest.mark.parametrize("name", MOVING)
def test_what_moves_little_or_roughly_does_not_stand_still(name):
    path = np.hstack([REACH, MOVING[name](np.random.default_rng(0))[:, None]])
    assert not still(path, [1000, 2000]).any()
    np.testing.assert_array_equal(scale_of_motion(path, [1000, 2000]), np.std(path, axis=0))


def test_steps_from_one_episode_to_the_next_are_no_noise():
    lifted = np.repeat([0.0, 4e-4] * 10, 100) + 1e-5 * np.sin(T)
    path = np.hstack([REACH, lifted[:, None]])
    assert not still(path, np.arange(100, 2001, 100)).any()


def test_nothing_stands_still_beside_nothing():
    assert not still(np.full((9, 2), 3.0), [9]).any()
    assert not still(np.zeros((1, 2)), [1]).any()
