"""BID: both forms against their definitions, written out chunk by chunk, and what is drawn for them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from fakes.point_mass import policy
from segue.core.chunk import Continuation
from segue.errors import SpecError
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.noise import CarriedNoise
from segue.strategies.bid import BID, Bidirectional, OfficialBID
from segue.strategies.hooks import Prefix
from segue.strategies.naive import Naive

N, H, A = 6, 5, 2


def asked(known: int = 4, delay: int = 1) -> tuple[Tensor, Tensor, Prefix]:
    """Chunks and weak ones, (draws, 1, positions, dimension), of one observation."""
    reference = randn(1, H, A, seed=1)
    before = replace(prefix(reference.expand(N, H, A), known, delay), draws=N)
    return randn(N, 1, H, A, seed=2), randn(N, 1, H, A, seed=3), before


def apart(one: Tensor, other: Tensor) -> list[float]:
    return [math.dist(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]


def test_coherence_has_rtcs_weights_and_the_contrast_is_to_the_most_coherent() -> None:
    strong, weak, before = asked()
    weights = before.weights(None, "exponential")[0].tolist()
    reference = before.reference[0]

    def back(chunk: Tensor) -> float:
        return sum(w * off for w, off in zip(weights, apart(chunk, reference), strict=True))

    plain = [back(each[0]) for each in strong]
    found = BID(N, nearest=2).scores(strong, None, before)[:, 0]
    torch.testing.assert_close(found, torch.tensor(plain, dtype=torch.float64), rtol=0, atol=1e-12)

    best, worst = (sorted((each[0] for each in made), key=back)[:2] for made in (strong, weak))
    contrast = [
        back(each[0]) + (sum(sum(apart(each[0], b)) for b in best) - sum(sum(apart(each[0], b)) for b in worst)) / N
        for each in strong
    ]
    found = BID(N, nearest=2).scores(strong, weak, before)[:, 0]
    torch.testing.assert_close(found, torch.tensor(contrast, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_weak_policy_that_is_the_policy_changes_nothing() -> None:
    strong, _, before = asked()
    torch.testing.assert_close(BID(N).scores(strong, strong, before), BID(N).scores(strong, None, before))


@pytest.mark.parametrize("known", [0, 3])
def test_the_official_form_keeps_the_coherent_and_charges_them_with_another_ones_contrast(known: int) -> None:
    strong, weak, before = asked(known, 0)
    beta = [0.5**i for i in range(known)]
    reference = before.reference[0]

    def back(chunk: Tensor) -> float:
        return sum(w * off for w, off in zip(beta, apart(chunk, reference), strict=False)) / sum(beta) if beta else 0.0

    def mean(one: Tensor, other: Tensor) -> float:
        return sum(apart(one, other)) / H

    count = N // 2 if known else N
    kept, others = (sorted((each[0] for each in made), key=back)[:count] for made in (strong, weak))
    wanted = []
    for i, each in enumerate(kept):
        near = sorted(mean(each, other) for j, other in enumerate(kept) if j != i)[: count // 2]
        far = sorted(mean(others[i], other) for other in kept)[: count // 2]  # of the weak one, not of this one
        wanted.append(back(each) + sum(near) / len(near) - sum(far) / len(far))
    found = OfficialBID(N, modes=2).scores(strong, weak, before)[:, 0]
    assert int(found.isinf().sum()) == N - count
    torch.testing.assert_close(
        found[~found.isinf()].sort().values, torch.tensor(sorted(wanted), dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_the_best_is_left_of_what_is_drawn_and_each_robot_has_its_own() -> None:
    reference = randn(2, H, A, seed=1)
    before = replace(prefix(reference.repeat(N, 1, 1), H, 1), draws=N)
    chunks = randn(N, 2, H, A, seed=2)
    chunks[4, 0], chunks[2, 1] = reference[0], reference[1]
    assert torch.equal(BID(N).hooks(before).finish(chunks.flatten(0, 1)), reference)


def test_without_a_prefix_the_first_is_taken_to_the_bit() -> None:
    strong, weak, before = asked(0, 0)
    for chosen in (BID(N).hooks(before), BID(N).against(weak.flatten(0, 1)).hooks(before)):
        assert torch.equal(chosen.finish(strong.flatten(0, 1)), strong[0])


def test_the_policy_draws_so_many_and_the_first_is_the_plain_one() -> None:
    flow, seen = policy(), np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    what = Continuation(7, np.full((8, 2), 0.5, np.float32), 2, 3, np.ones(8, np.int64))
    for noise in (None, CarriedNoise()):
        given: Any = {} if noise is None else {"noise": noise}
        plain = ContinuingPolicy(flow, Naive(), seed=3, **given).next_chunk(seen, what)
        one = ContinuingPolicy(flow, BID(1), seed=3, **given).next_chunk(seen, what)
        assert np.array_equal(one, plain)
        many = ContinuingPolicy(flow, BID(16), seed=3, **given).next_chunk(seen, what)
        assert many.shape == plain.shape

        def off(chunk: np.ndarray) -> float:
            weights = prefix(torch.zeros(1, 8, 2), 8, 2).weights(None, "exponential")[0].numpy()
            return float((weights * np.linalg.norm(chunk - what.prefix, axis=1)).sum())

        assert off(many) < off(plain)


@pytest.mark.parametrize("made", [lambda: BID(0), lambda: OfficialBID(5, 3), lambda: OfficialBID(4, 0)])
def test_nothing_to_choose_from_is_refused(made: Callable[[], Bidirectional]) -> None:
    with pytest.raises(SpecError, match="chunks"):
        made()
