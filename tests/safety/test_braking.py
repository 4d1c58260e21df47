"""Braking, against a simulation of its law."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segue.safety.braking import brake, distance, highest, hold, lowest, release

MOST = st.floats(0.05, 40.0)
VELOCITY = st.floats(-150.0, 150.0) | st.integers(-20, 20).map(float)


@st.composite
def states(draw: st.DrawFn) -> tuple[float, float, float]:
    """Velocity, acceleration and its limit; the acceleration often some whole steps of jerk from its limit or zero."""
    velocity, most = draw(VELOCITY), draw(MOST)
    steps, sign = draw(st.integers(0, 80)), draw(st.sampled_from([-1.0, 1.0]))
    some = draw(st.sampled_from([most - steps, float(steps), draw(st.floats(0, 1)) * most, 0.3 + 0.1 * steps]))
    some = np.nextafter(some, draw(st.sampled_from([-np.inf, some, np.inf])))  # as far as rounding leads
    return velocity, float(sign * min(max(some, -most), most)), most


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


@example((339.3019578450392, -1.244253339733096, 4.2442533397330955))  # three steps to the limit, almost
@given(states())
@settings(max_examples=400)
def test_the_closed_form_is_where_braking_leads(state: tuple[float, float, float]) -> None:
    positions = path(*state)
    size = 1 + np.abs(positions).max()
    assert distance(*state) == pytest.approx(positions[-1], abs=1e-9 * size)
    assert lowest(*state) == pytest.approx(positions.min(), abs=1e-9 * size)
    assert highest(*state) == pytest.approx(positions.max(), abs=1e-9 * size)


@given(states())
@settings(max_examples=400)
def test_braking_only_ever_slows_down_what_releasing_would_leave(state: tuple[float, float, float]) -> None:
    """The velocity does not change its sign after the acceleration has: braking does not swing."""
    steps = np.sign(np.round(np.diff(path(*state)), 9))
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


@given(states())
@settings(max_examples=400)
def test_the_quick_bound_is_never_too_small(state: tuple[float, float, float]) -> None:
    """The bound of docs/limits.md, in units of the jerk."""
    velocity, acceleration, most = state
    peak = abs(velocity) + acceleration**2 / 2
    room = peak * (peak / (2 * most) + 1.5 * most + 3)
    reach = max(highest(*state), -lowest(*state))
    assert reach <= room * (1 + 1e-12)
    assert abs(velocity) + release(abs(acceleration)) <= peak
