"""Chunks at absolute steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.chunk import Chunk, check_timing, hold_last, nothing_to_continue
from segue.errors import SpecError, TimingError


def numbered(horizon: int, start: int) -> Chunk:
    """Every action is its own absolute step, in two dimensions of opposite sign."""
    steps = np.arange(start, start + horizon, dtype=np.float32)
    return Chunk(np.stack([steps, -steps], 1), start)


def test_a_chunk_covers_the_steps_from_its_start_to_its_end() -> None:
    chunk = numbered(5, start=7)
    assert chunk.end == 12
    assert [chunk.covers(step) for step in (-1, 6, 7, 11, 12)] == [False, False, True, True, False]


@given(horizon=st.integers(1, 20), start=st.integers(-5, 30), step=st.integers(-10, 60))
def test_since_re_indexes_to_a_step(horizon: int, start: int, step: int) -> None:
    expected = [k for k in range(start, start + horizon) if k >= step]
    assert numbered(horizon, start).since(step)[:, 0].tolist() == expected


def test_one_axis_is_not_a_chunk() -> None:
    with pytest.raises(SpecError, match="two axes"):
        Chunk(np.zeros(3, np.float32), 0)


@given(known=st.integers(1, 12), horizon=st.integers(1, 12))
def test_reference_is_the_prefix_and_then_its_last_action(known: int, horizon: int) -> None:
    reference = hold_last(numbered(known, 0).actions, horizon)
    assert reference.shape == (horizon, 2)
    assert reference[:, 0].tolist() == [min(j, known - 1) for j in range(horizon)]


def test_without_a_prefix_the_reference_is_empty_of_meaning_but_has_a_shape() -> None:
    assert not hold_last(np.zeros((0, 3), np.float32), 4).any()
    assert hold_last(np.zeros((0, 3), np.float32), 4).shape == (4, 3)


def test_first_chunk_continues_nothing() -> None:
    continuation = nothing_to_continue(start=3, action=2, execution_horizon=8)
    assert (continuation.known, continuation.delay, len(continuation.votes)) == (0, 0, 0)
    assert continuation.prefix.shape == (0, 2)


@given(h=st.integers(1, 12), d=st.integers(-2, 14), s=st.integers(-2, 14))
def test_timing_is_refused_exactly_when_an_inequality_is_violated(h: int, d: int, s: int) -> None:
    if 0 <= d <= s <= h - d and s >= 1:
        check_timing(h, d, s)
    else:
        with pytest.raises(TimingError) as caught:
            check_timing(h, d, s)
        assert caught.value.change


@pytest.mark.parametrize(
    ("d", "s", "says"),
    [(-1, 4, "whole control steps"), (0, 0, "whole control steps"), (5, 4, "at least 5 steps"), (3, 6, "at most 5")],
)
def test_the_message_names_the_change(d: int, s: int, says: str) -> None:
    with pytest.raises(TimingError, match=says):
        check_timing(8, d, s)


def test_no_execution_horizon_is_suggested_where_none_is_possible() -> None:
    """At d = 5 and H = 8, s would have to be at least 5 and at most 3."""
    with pytest.raises(TimingError) as caught:
        check_timing(8, 5, 6)
    assert caught.value.change == "train with a horizon of at least 11"
