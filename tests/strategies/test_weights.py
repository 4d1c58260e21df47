"""Schedules: the reference table of RTC, bounds and order for all schedules, laws of the random ones."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import UnknownNameError
from segue.strategies.weights import SHAPES, Shape, random_delay, random_schedule, schedule


def row(horizon: int, delay: int, ramp: int, shape: Shape = "linear") -> list[float]:
    return schedule(horizon, torch.tensor([delay]), torch.tensor([ramp]), shape)[0].tolist()


def test_linear_weights_reproduce_the_reference_table_of_rtc() -> None:
    # Start 2, end 6, of 10: the example drawn in the reference implementation of arXiv 2506.07339.
    assert row(10, 2, 4) == pytest.approx([1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0])


def test_exponential_weights_are_the_papers_formula_of_the_linear_ones() -> None:
    expected = [c * (math.exp(c) - 1) / (math.e - 1) for c in (0.8, 0.6, 0.4, 0.2)]
    assert row(10, 2, 4, "exponential") == pytest.approx([1, 1, *expected, 0, 0, 0, 0])


def test_cosine_weights_are_half_at_the_middle_of_the_ramp() -> None:
    assert row(8, 1, 3, "cosine") == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0, 0, 0, 0])


def test_step_has_no_ramp() -> None:
    assert row(6, 2, 3, "step") == [1, 1, 0, 0, 0, 0]


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.sampled_from(SHAPES))
def test_weights_are_one_then_fall_strictly_inside_the_ramp_then_zero(h: int, d: int, r: int, shape: Shape) -> None:
    weights = row(h, d, r, shape)
    assert all(w == 1 for w in weights[:d])
    assert all(w == 0 for w in weights[d + r :])
    assert all(a >= b for a, b in pairwise(weights))
    if shape != "step":
        assert all(0 < w < 1 for w in weights[d : d + r])


def test_unknown_shape_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"linear(.|\n)*did you mean 'linear'"):
        row(4, 1, 2, "linaer")  # type: ignore[arg-type]


def test_random_schedules_stay_within_their_limits_and_reach_them() -> None:
    generator = torch.Generator().manual_seed(0)
    d, r = random_schedule(20_000, 16, max_delay=6, max_ramp=12, generator=generator)
    assert (d.min(), d.max(), r.min(), r.max()) == (0, 6, 0, 12)
    assert ((d + r) <= 16).all()
    counts = torch.bincount(d)
    # Uniform: each of 7 counts is within five standard deviations of 20 000 / 7.
    deviation = math.sqrt(20_000 / 7 * (1 - 1 / 7))
    assert ((counts - 20_000 / 7).abs() < 5 * deviation).all()


def test_random_delay_follows_the_exponential_law() -> None:
    generator = torch.Generator().manual_seed(0)
    d = random_delay(50_000, max_delay=3, decay=1.0, generator=generator)
    share = torch.bincount(d, minlength=4) / 50_000
    law = torch.exp(-torch.arange(4.0))
    torch.testing.assert_close(share, law / law.sum(), rtol=0, atol=0.012)
