"""How many robots a server carries: closed forms of the cost of a batch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fakes.served_policies import SPEC, Affine
from segue.links.serving.capacity import SHARE, Capacity, measured

PERIOD = 4 * 0.02
"""Half of the chunks of `SPEC` [s]."""


def test_one_at_a_time_as_many_as_fit_into_the_time() -> None:
    assert Capacity(SPEC, {1: 0.01}).robots == int(SHARE * PERIOD / 0.01)
    assert Capacity(SPEC, {1: 10.0}).robots == 1  # one can always try


@given(fixed=st.floats(1e-4, 0.02), each=st.floats(1e-5, 0.01), most=st.sampled_from([1, 2, 8, 32]))
def test_robots_are_all_answered_in_time_and_one_more_would_not_be(fixed: float, each: float, most: int) -> None:
    """The cost of a batch is a line, so that interpolation is exact, and the sum can be written down."""
    sizes = [2**power for power in range(most.bit_length())]
    robots = Capacity(SPEC, {size: fixed + each * size for size in sizes}).robots

    def cost(count: int) -> float:
        whole, rest = divmod(count, most)
        return whole * (fixed + each * most) + (fixed + each * rest if rest else 0.0)

    assert robots == 1 or cost(robots) <= SHARE * PERIOD * (1 + 1e-9)
    assert cost(robots + 1) > SHARE * PERIOD * (1 - 1e-9)


def test_what_is_measured_while_it_runs_takes_the_place_of_what_was_at_the_start() -> None:
    capacity = Capacity(SPEC, {1: 0.001, 8: 0.008})
    before = capacity.robots
    for _ in range(65):
        capacity.answered(8, 0.016)
        capacity.answered(5, 0.016)  # counts for the next size that was measured
        capacity.answered(1, 0.002)
    assert capacity.seconds(8) == pytest.approx(0.016)
    assert capacity.robots == before // 2
    for _ in range(65):
        capacity.asked(2 * PERIOD)
    assert capacity.robots == before


def test_one_batch_that_took_long_changes_nothing() -> None:
    capacity = Capacity(SPEC, {1: 0.001})
    for _ in range(3):
        capacity.answered(1, 0.001)
    before = capacity.robots
    capacity.answered(1, 100.0)
    capacity.asked(1000.0)  # a robot that paused, of two
    capacity.asked(PERIOD)
    assert capacity.robots == before


def test_the_refusal_says_the_numbers() -> None:
    capacity = Capacity(SPEC, {1: 0.0016})
    assert capacity.refusal(capacity.robots - 1) is None
    assert capacity.refusal(40) == ("this server carries 40 robots at 50 Hz with this policy; yours would be number 41")


class Clocked(Affine):
    """Takes 10 ms, and 1 ms more for each robot, on a clock of its own."""

    now = 0.0

    def next_chunk(self, observation: Any, continuation: Any) -> NDArray:
        self.now += 0.011
        return np.zeros((8, 2), np.float32)

    def chunks(self, observations: Any, continuations: Any) -> NDArray:
        assert len(observations) == len(continuations)
        self.now += 0.01 + 0.001 * len(observations)
        return np.zeros((len(observations), 8, 2), np.float32)


def test_batches_are_measured_at_the_start() -> None:
    policy = Clocked()
    found = measured(policy, 16, lambda: policy.now)
    assert found.most == 16
    assert [found.seconds(size) for size in (1, 4, 6, 16)] == pytest.approx([0.011, 0.014, 0.016, 0.026])
    assert policy.resets == 1


class WithMemory(Clocked):
    stateless = False


def test_a_policy_with_a_memory_is_measured_alone() -> None:
    policy = WithMemory()
    assert measured(policy, 16, lambda: policy.now).most == 1


class Slow(Clocked):
    def chunks(self, observations: Any, continuations: Any) -> NDArray:
        self.now += 2.0
        return np.zeros(0)


def test_measuring_a_slow_policy_ends() -> None:
    policy = Slow()
    assert measured(policy, 32, lambda: policy.now).most == 2
