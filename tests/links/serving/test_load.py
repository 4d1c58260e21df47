"""Robots that are not there: what they count."""

import asyncio
import math

import numpy as np
import pytest

from fakes.point_mass import policy as point_mass_policy
from fakes.served_policies import Affine, Watching
from fakes.servers import served
from segue.core.chunk import nothing_to_continue
from segue.errors import RemoteError, SpecError
from segue.links.serving.capacity import Capacity
from segue.links.serving.load import Delays, Load, curve, loaded
from segue.methods.methods import METHODS
from segue.policies.chunk_policy import SharedPolicy


def test_quantiles_are_those_of_the_delays_within_a_bin() -> None:
    delays, rng = Delays(), np.random.default_rng(0)
    drawn = rng.lognormal(math.log(0.02), 1.0, 2000)
    for each in drawn:
        delays.add(each)
    for share in (0.01, 0.5, 0.99, 1.0):
        exact = np.quantile(drawn, share, method="inverted_cdf")
        assert exact <= delays.quantile(share) <= exact * 1.0117
    assert delays.answered == len(drawn)
    assert math.isnan(Delays().quantile(0.5))
    delays.add(0.0)
    delays.add(1e9)
    assert delays.answered == len(drawn) + 2


def test_the_numbers_of_robots_to_try() -> None:
    assert [list(curve(most)) for most in (1, 2, 5, 64)] == [[1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8, 16, 32, 64]]


@pytest.mark.parametrize("policy", [Affine, Watching])
def test_every_question_is_answered_or_missed_and_is_one_that_the_policy_understands(policy: type[Affine]) -> None:
    served_policy = policy()
    with served(served_policy) as it:
        found = asyncio.run(loaded(Load(it.url, rate=50.0, steps=2), 3, 0.4))
    assert 3 <= found.asked == found.answered + found.refused["superseded"]
    assert {(each.start, each.delay, each.execution_horizon, each.known) for each in served_policy.asked} == {
        (2, 1, 2, 6)
    }


def test_who_is_turned_away_is_counted_with_the_reason() -> None:
    capacity = Capacity(Affine.spec, {1: 1000.0})
    capacity.answered = lambda *_: None  # type: ignore[method-assign]
    with served(Affine(), capacity=capacity) as it:
        found = asyncio.run(loaded(Load(it.url), 2, 0.3))
        assert found.refused["busy"] == found.missed > 0
        assert "carries 1 robot at 50 Hz" in found.cause
        assert 2 in found.starved


def test_who_is_answered_in_time_is_not_starved() -> None:
    with served(Affine()) as it:  # seven seconds are left of each chunk
        assert asyncio.run(loaded(Load(it.url, rate=1.0, steps=1), 3, 1.0)).starved == []


def test_a_server_that_is_not_there_and_steps_that_a_chunk_has_not_are_errors() -> None:
    with pytest.raises(RemoteError, match="no server"):
        asyncio.run(loaded(Load("ws://127.0.0.1:1"), 1, 0.1))
    with served(Affine()) as it, pytest.raises(SpecError, match="8 steps of chunks of 8"):
        asyncio.run(loaded(Load(it.url, steps=8), 1, 0.1))
    with served(Affine(), max_clients=1) as it, pytest.raises(RemoteError, match="turns a robot away: busy"):
        asyncio.run(loaded(Load(it.url), 2, 0.1))


@pytest.mark.parametrize("name", ["rtc", "naive", "cross-fade"])
def test_robots_together_are_answered_as_each_alone(name: str) -> None:
    """A policy that is shared draws as the policy itself does, one robot after the other."""
    network, rng = point_mass_policy(), np.random.default_rng(1)
    here, shared = (METHODS[name].bound(network, seed=3) for _ in range(2))
    together = SharedPolicy(shared, 3)
    seen = [rng.normal(size=4).astype(np.float32) for _ in range(3)]
    asked = [nothing_to_continue(3 * place, 2, 3) for place in range(3)]
    alone = [here.next_chunk(one, each) for one, each in zip(seen, asked, strict=True)]
    np.testing.assert_allclose(together.chunks(seen, asked), alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(together.next_chunk(seen[0], asked[0]), here.next_chunk(seen[0], asked[0]))
    assert together.stateless is True
