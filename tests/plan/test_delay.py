"""The estimator of the inference delay."""

from hypothesis import given
from hypothesis import strategies as st

from segue.plan.delay import WindowQuantile


def test_the_initial_estimate_holds_until_something_was_observed() -> None:
    delay = WindowQuantile(initial=5)
    assert delay.estimate() == 5
    delay.observe(2)
    assert delay.estimate() == 2


def test_a_slow_inference_is_forgotten_with_the_window() -> None:
    delay = WindowQuantile(initial=0, window=3)
    delay.observe(20)
    for expected in (20, 20, 2):
        delay.observe(2)
        assert delay.estimate() == expected


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 12))
def test_the_first_quantile_is_the_largest_of_the_window(observed: list[int], window: int) -> None:
    delay = WindowQuantile(initial=0, window=window)
    for value in observed:
        delay.observe(value)
    assert delay.estimate() == max(observed[-window:])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=10), st.floats(0, 1))
def test_a_quantile_is_an_observed_delay_that_covers_its_share(observed: list[int], quantile: float) -> None:
    delay = WindowQuantile(initial=0, window=10, quantile=quantile)
    for value in observed:
        delay.observe(value)
    estimate = delay.estimate()
    assert estimate in observed
    below = sum(value < estimate for value in observed)
    assert below <= quantile * (len(observed) - 1) + 1
