"""A low-rate policy behind a high-rate seam."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fakes import point_mass
from segue.core.chunk import Array, Continuation, Past, nothing_to_continue
from segue.core.dimensions import Dimensions
from segue.core.spec import PolicySpec
from segue.data.resample import at_high_rate, cubic, held, linear
from segue.errors import SpecError
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy
from segue.policies.low_rate import ExpandedPolicy, at_periods
from segue.strategies.blend import WeightedBlend
from segue.strategies.naive import Naive

F, H = 4, 8


class Recorded:
    """Answers with a fixed chunk and remembers what it was asked."""

    spec = PolicySpec(3, 0.04, ("o",), ("target", "move"))

    def __init__(self, chunk: list[list[float]]) -> None:
        self.chunk, self.asked, self.log = np.array(chunk, np.float32), [], []

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        self.asked.append(continuation)
        return self.chunk

    def next_chunks(self, observations: Array, continuations, generators) -> Array:
        return np.stack([self.next_chunk(*each) for each in zip(observations, continuations, strict=True)])

    def reset(self) -> None:
        self.log.append("reset")

    def close(self) -> None:
        self.log.append("close")


CHUNK = [[1.0, 4.0], [2.0, 0.0], [3.0, -4.0]]


@given(known=st.integers(0, 30), delay=st.integers(0, 12), s=st.integers(1, 12), factor=st.integers(1, 6))
def test_a_continuation_in_periods_keeps_the_timing_possible(known: int, delay: int, s: int, factor: int) -> None:
    delay = min(delay, known)
    steps = np.arange(known, dtype=np.float32)[:, None]
    low = at_periods(Continuation(24, steps, delay, s, np.arange(known), episode=5), factor)
    assert low.episode == 5
    assert low.known == known // factor
    assert 0 <= low.delay <= low.known
    assert low.delay * factor >= min(delay, low.known * factor)
    assert low.execution_horizon >= 1
    np.testing.assert_array_equal(low.prefix[:, 0], np.arange(factor - 1, known, factor))
    np.testing.assert_array_equal(low.votes, low.prefix[:, 0])


def test_the_chunk_starts_from_the_last_executed_action_and_displacements_keep_their_sum() -> None:
    policy = ExpandedPolicy(Recorded(CHUNK), F, linear, kinds=Dimensions.of("linear", "displacement"))
    previous = np.array([-3.0, 9.0], np.float32)
    found = policy.next_chunk(
        np.zeros(1, np.float32), Continuation(8, np.zeros((0, 2), np.float32), 0, 4, previous=previous)
    )
    np.testing.assert_allclose(found[:5, 0], [-2, -1, 0, 1, 1.25])
    np.testing.assert_allclose(found[:, 1], [1] * 4 + [0] * 4 + [-1] * 4)


def test_the_policy_below_is_asked_at_its_own_rate() -> None:
    below = Recorded(CHUNK)
    prefix = np.stack([np.arange(10), np.ones(10)], axis=1).astype(np.float32)
    policy = ExpandedPolicy(below, F, held, kinds=Dimensions.of("linear", "displacement"))
    policy.next_chunk(np.zeros(1, np.float32), Continuation(8, prefix, 3, 6, np.ones(10, np.int64)))
    (asked,) = below.asked
    np.testing.assert_array_equal(asked.prefix, [[3, 4], [7, 4]])
    assert (asked.start, asked.delay, asked.execution_horizon) == (2, 1, 1)


def test_the_first_chunk_holds_its_own_first_target() -> None:
    policy = ExpandedPolicy(Recorded(CHUNK), F, linear)
    found = policy.next_chunk(np.zeros(1, np.float32), nothing_to_continue(0, 2, 4))
    np.testing.assert_allclose(found[:6, 0], [1, 1, 1, 1, 1.25, 1.5])


@pytest.mark.parametrize("interpolation", [held, linear, cubic])
def test_a_learned_policy_is_expanded_for_many_robots_as_for_one(interpolation) -> None:
    below = ContinuingPolicy(point_mass.policy(horizon=H), Naive())
    policy = ExpandedPolicy(below, F, interpolation)
    assert (policy.spec.horizon, policy.spec.dt) == (H * F, pytest.approx(point_mass.SPEC.dt / F))
    observations = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    previous = [None, np.ones(2, np.float32), np.zeros(2, np.float32)]
    asked = [Continuation(0, np.zeros((0, 2), np.float32), 0, 4, previous=each) for each in previous]
    together = policy.next_chunks(observations, asked, [torch.Generator().manual_seed(i) for i in range(3)])
    assert together.shape == (3, H * F, 2)
    low = below.next_chunks(observations, asked, [torch.Generator().manual_seed(i) for i in range(3)])
    np.testing.assert_allclose(together[:, F - 1 :: F], low, atol=1e-5)
    for i, before in enumerate(previous):
        np.testing.assert_allclose(together[i], at_high_rate(low[i], F, interpolation, previous=before), atol=1e-5)


def test_reset_and_close_reach_the_policy_below() -> None:
    below = Recorded(CHUNK)
    policy = ExpandedPolicy(below, F, held)
    policy.reset()
    policy.close()
    assert below.log == ["reset", "close"]
    with pytest.raises(SpecError, match="factor of 0"):
        ExpandedPolicy(below, 0, held)


def test_finished_chunks_of_many_robots_are_those_of_each() -> None:
    below = Recorded(CHUNK)
    policy = FinishedPolicy(below, WeightedBlend(new=0.25))
    prefix = np.array([[5.0, 1.0], [6.0, 2.0]], np.float32)
    asked = [nothing_to_continue(0, 2, 1), Continuation(3, prefix, 1, 1, np.ones(2, np.int64))]
    together = policy.next_chunks(np.zeros((2, 1), np.float32), asked, [torch.Generator()] * 2)
    for chunk, each in zip(together, asked, strict=True):
        np.testing.assert_array_equal(chunk, policy.next_chunk(np.zeros(1, np.float32), each))
    assert all(each.known == 0 for each in below.asked)
    assert not np.array_equal(together[0], together[1])


def test_a_policy_for_one_robot_cannot_be_finished_for_many() -> None:
    class Single:
        spec, next_chunk, reset, close = Recorded.spec, Recorded.next_chunk, Recorded.reset, Recorded.close

    policy = FinishedPolicy(Single(), WeightedBlend())  # pyright: ignore[reportArgumentType]
    with pytest.raises(SpecError, match="next_chunks"):
        policy.next_chunks(np.zeros((1, 1), np.float32), [nothing_to_continue(0, 2, 1)], [torch.Generator()])


@pytest.mark.parametrize("steps", range(1, 10))
def test_a_past_of_whole_periods_is_told_and_another_is_not(steps: int) -> None:
    """Targets are those at the end of each period, displacements what its steps add up to."""
    executed = np.arange(2 * steps, dtype=np.float32).reshape(steps, 2)
    asked = Continuation(24, executed[:0], 0, 4, past=Past(np.ones(1, np.float32), executed))
    past = at_periods(asked, F, kinds=Dimensions.of("linear", "displacement")).past
    assert (past is None) == (steps % F > 0)
    if past is not None:
        assert past.state.tolist() == [1]
        assert past.executed[:, 0].tolist() == executed[F - 1 :: F, 0].tolist()
        assert past.executed[:, 1].tolist() == executed[:, 1].reshape(-1, F).sum(1).tolist()
