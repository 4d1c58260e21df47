"""Braking, against a simulation of its law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.runtime.braking import brake, distance, highest, hold, lowest, release

MOST = st.floats(0.05, 40.0)
VELOCITY = st.floats(-150.0, 150.0) | st.integers(-20, 20).map(float)
SHARE = st.floats(-1.0, 1.0) | st.just(0.0)


def path(v: float, a: float, most: float) -> np.ndarray:
    """Positions of braking, the start included, to rest."""
    positions, p = [0.0], 0.0
    while v or a:
        before, a = a, brake(v, a, most)
        assert abs(a - before) <= 1 + 1e-12
        assert abs(a) <= most
        v += a
        v = 0.0 if abs(v) < 1e-11 else v
        p += v
        positions.append(p)
        assert len(positions) < 20_000, "does not come to rest"
    return np.array(positions)


@given(VELOCITY, SHARE, MOST)
def test_the_closed_form_is_where_braking_leads(velocity: float, share: float, most: float) -> None:
    positions = path(velocity, share * most, most)
    size = 1 + np.abs(positions).max()
    assert distance(velocity, share * most, most) == pytest.approx(positions[-1], abs=1e-9 * size)
    assert lowest(velocity, share * most, most) == pytest.approx(positions.min(), abs=1e-9 * size)
    assert highest(velocity, share * most, most) == pytest.approx(positions.max(), abs=1e-9 * size)


@given(VELOCITY, SHARE, MOST)
def test_braking_only_ever_slows_down_what_releasing_would_leave(velocity: float, share: float, most: float) -> None:
    """The velocity does not change its sign after the acceleration has: braking does not swing."""
    steps = np.sign(np.round(np.diff(path(velocity, share * most, most)), 9))
    assert np.count_nonzero(np.diff(steps[steps != 0])) <= 1


@given(st.floats(0.0, 1e4))
def test_what_is_held_uses_up_the_velocity(velocity: float) -> None:
    held = hold(velocity)
    assert held + release(held) == pytest.approx(velocity, rel=1e-12, abs=1e-12)
    assert hold(-velocity) == 0


@given(st.floats(0.0, 300.0))
def test_release_is_the_sum_of_what_remains(acceleration: float) -> None:
    remaining = acceleration - np.arange(1, 400)
    assert release(acceleration) == pytest.approx(remaining[remaining > 0].sum(), rel=1e-12, abs=1e-12)


@given(VELOCITY, SHARE, MOST)
def test_the_quick_bound_is_never_too_small(velocity: float, share: float, most: float) -> None:
    """The bound of docs/limits.md, in units of the jerk."""
    peak = abs(velocity) + (share * most) ** 2 / 2
    room = peak * (peak / (2 * most) + 1.5 * most + 3)
    reach = max(highest(velocity, share * most, most), -lowest(velocity, share * most, most))
    assert reach <= room * (1 + 1e-12)
    assert abs(velocity) + release(abs(share * most)) <= peak
