"""Averages of overlapping chunks."""

import numpy as np
import pytest
import torch

from fakes.flow_oracles import randn
from segue.core.chunk import Continuation
from segue.core.spec import PolicySpec
from segue.policies.chunk_policy import FinishedPolicy
from segue.strategies.blend import CrossFade, TemporalEnsembling, WeightedBlend
from segue.strategies.hooks import Prefix, Strategy

H, A = 8, 2


def with_votes(reference: torch.Tensor, known: int, votes: int, delay: int = 0) -> Prefix:
    count = torch.where(torch.arange(H) < known, votes, 0)[None]
    return Prefix(reference, torch.tensor([known]), torch.tensor([delay]), count)


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.5])
def test_running_form_equals_the_weighted_mean_of_all_predictions(decay: float) -> None:
    predictions = [randn(1, H, A, seed=seed) for seed in range(5)]
    weights = [np.exp(-decay * i) for i in range(5)]
    mean = sum(w * p for w, p in zip(weights, predictions, strict=True)) / sum(weights)
    running = predictions[0]
    for n, new in enumerate(predictions[1:], start=1):
        running = TemporalEnsembling(decay).hooks(with_votes(running, H, n)).finish(new)
    torch.testing.assert_close(running, mean, rtol=0, atol=1e-6)


def test_weighted_blend_mixes_the_overlap_and_leaves_the_rest() -> None:
    old, new = randn(1, H, A), randn(1, H, A, seed=1)
    mixed = WeightedBlend(new=0.7).hooks(with_votes(old, 5, 1)).finish(new)
    torch.testing.assert_close(mixed[:, :5], 0.7 * new[:, :5] + 0.3 * old[:, :5])
    assert torch.equal(mixed[:, 5:], new[:, 5:])


def test_cross_fade_leaves_the_old_chunk_linearly() -> None:
    old, new = torch.ones(1, H, A), torch.zeros(1, H, A)
    mixed = CrossFade().hooks(with_votes(old, 6, 1, delay=2)).finish(new)[0, :, 0]
    assert mixed.tolist() == pytest.approx([1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0])


@pytest.mark.parametrize("strategy", [TemporalEnsembling(), WeightedBlend(), CrossFade()])
def test_first_chunk_is_untouched(strategy: Strategy) -> None:
    new = randn(1, H, A)
    finished = strategy.hooks(with_votes(torch.zeros(1, H, A, dtype=torch.float64), 0, 0)).finish(new)
    torch.testing.assert_close(finished, new, rtol=0, atol=0)


class Constant:
    """A chunk policy that always says the same, and notes what it was told."""

    def __init__(self, value: float) -> None:
        self.value, self.told = value, [0]

    spec = PolicySpec(1, 0.1, ("state",), ("action",))

    def next_chunk(self, observation: np.ndarray, continuation: Continuation) -> np.ndarray:
        self.told.append(continuation.known)
        return np.full((H, A), self.value, np.float32)

    def reset(self) -> None:
        self.told = []

    def close(self) -> None:
        self.told = []


def test_any_chunk_policy_can_be_wrapped() -> None:
    inner = Constant(1.0)
    policy = FinishedPolicy(inner, WeightedBlend(new=0.7))
    continuation = Continuation(4, np.zeros((5, A), np.float32), 0, 3, np.ones(5, np.int64))
    actions = policy.next_chunk(np.zeros(3, np.float32), continuation)
    assert actions[:5] == pytest.approx(0.7)
    assert actions[5:] == pytest.approx(1.0)
    assert inner.told[-1] == 0  # the wrapped policy itself continues nothing
    policy.reset()
    assert inner.told == []
