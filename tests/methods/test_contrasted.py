"""A policy beside a weak one: chosen by contrast where the strategy asks for it, and the policy elsewhere."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes.point_mass import policy
from segue.core.chunk import Array, Continuation
from segue.errors import SpecError
from segue.methods.contrasted import Contrasted
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.policy import Policy
from segue.strategies.bid import BID
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.naive import Naive

SEEN = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
WHAT = Continuation(7, np.full((8, 2), 0.5, np.float32), 2, 3, np.ones(8, np.int64))


def chunk(made: Policy, strategy: Strategy) -> Array:
    return ContinuingPolicy(made, strategy, seed=3).next_chunk(SEEN, WHAT)


def other() -> Policy:
    """The policy with other weights."""
    return policy(seed=5)


def test_a_weak_policy_that_is_the_policy_changes_nothing() -> None:
    np.testing.assert_array_equal(chunk(Contrasted(policy(), policy()), BID()), chunk(policy(), BID()))


def test_the_weak_policys_chunks_are_what_is_contrasted_with() -> None:
    seen: list[Tensor] = []

    class Noted(BID):
        def scores(self, chunks: Tensor, weak: Tensor | None, prefix: Prefix) -> Tensor:
            assert weak is not None
            seen.extend([chunks, weak])
            return super().scores(chunks, weak, prefix)

    made = Contrasted(policy(), other())
    chosen = chunk(made, Noted(4))
    strong, weak = seen
    plain = chunk(other(), Naive())
    np.testing.assert_allclose(made.units.to_robot(weak[0], torch.as_tensor(SEEN)[None])[0], plain, atol=1e-5)
    robot = [made.units.to_robot(each, torch.as_tensor(SEEN)[None])[0].numpy() for each in strong]
    assert any(np.allclose(chosen, each, atol=1e-6) for each in robot)


def test_other_strategies_are_the_policys() -> None:
    np.testing.assert_array_equal(chunk(Contrasted(policy(), other()), Naive()), chunk(policy(), Naive()))


def test_a_weak_policy_with_other_chunks_is_refused() -> None:
    with pytest.raises(SpecError, match="weak policy"):
        Contrasted(policy(), policy(horizon=4))
