"""References of the policy's own: several chunks at every observation, carried on, and the nearest of them taken."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fakes.flow_oracles import randn
from fakes.point_mass import demonstrations, policy
from segue.strategies.legato import LegatoObjective
from segue.strategies.literal_legato import LiteralLegatoObjective
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Demonstrated, Objective
from segue.strategies.training_time_rtc import TrainingTimeRTCObjective
from segue.training.data import DemonstratedChunks, carried_on, nearest

sizes = st.integers(1, 5)


@given(count=sizes, batch=sizes, positions=sizes, dimension=sizes, seed=st.integers(0, 1000))
def test_the_nearest_is_what_a_search_finds(count: int, batch: int, positions: int, dimension: int, seed: int) -> None:
    candidates, wanted = randn(count, batch, positions, dimension, seed=seed), randn(batch, positions, dimension)
    counted = torch.rand(batch, positions, generator=torch.Generator().manual_seed(seed)) < 0.7
    found = nearest(candidates, wanted, counted)
    for i in range(batch):
        distances = [
            sum(
                (candidates[c, i, j, k] - wanted[i, j, k]).item() ** 2
                for j in range(positions)
                if counted[i, j]
                for k in range(dimension)
            )
            for c in range(count)
        ]
        assert torch.equal(found[i], candidates[min(range(count), key=distances.__getitem__), i])


@given(seed=st.integers(0, 1000))
def test_positions_that_do_not_count_decide_nothing(seed: int) -> None:
    """What is beyond the end of an episode, or of what an own chunk knows, may be anything."""
    candidates, wanted = randn(4, 3, 6, 2, seed=seed), randn(3, 6, 2, seed=seed + 1)
    counted = torch.arange(6) < torch.tensor([[2], [4], [5]])
    spoiled = torch.where(counted[..., None], candidates, 1e3 * randn(4, 3, 6, 2, seed=seed + 2))
    found, other = nearest(candidates, wanted, counted), nearest(spoiled, wanted, counted)
    assert torch.equal(found[counted], other[counted])


def test_the_demonstration_itself_is_the_nearest() -> None:
    wanted = randn(5, 6, 2)
    candidates = torch.stack([wanted + 0.1, wanted, wanted - 0.01])
    assert torch.equal(nearest(candidates, wanted, torch.ones(5, 6, dtype=torch.bool)), wanted)


@given(horizon=st.integers(1, 9), seed=st.integers(0, 1000), lead=st.sampled_from([(), (3,), (2, 2)]))
def test_chunks_are_carried_on_alike_under_any_leading_axes(horizon: int, seed: int, lead: tuple[int, ...]) -> None:
    steps = torch.randint(0, 12, (4,), generator=torch.Generator().manual_seed(seed))
    own = randn(*lead, 4, horizon, 2, seed=seed)
    carried, known = carried_on(own, steps)
    assert carried.shape == own.shape
    for i, age in enumerate(steps.tolist()):
        for j in range(horizon):
            assert torch.equal(carried[..., i, j, :], own[..., i, min(j + age, horizon - 1), :])
        assert known[i] == (max(horizon - age, 0) if age else 0)


def sampled(candidates: int) -> DemonstratedChunks:
    made = policy()
    chunks = DemonstratedChunks(demonstrations(), made)
    chunks.renew_own(made, 2, torch.Generator().manual_seed(0), candidates)
    return chunks


def test_candidates_are_samples_of_their_own_and_the_first_is_that_of_one() -> None:
    several = sampled(3).own
    assert several is not None
    assert several.shape == (3, 94, 8, 2)
    assert not any(torch.equal(several[i], several[j]) for i, j in [(0, 1), (0, 2), (1, 2)])
    assert torch.equal(several[:1], sampled(1).own)  # type: ignore[arg-type]


def distance(batch: Demonstrated) -> Tensor:
    """Squared, over what the own chunks know."""
    counted = batch.valid & (torch.arange(8) < batch.own_known[:, None])
    return ((batch.own - batch.actions).square().sum(-1) * counted).sum(-1)


def test_of_a_batch_the_own_chunks_are_the_nearest_of_their_candidates() -> None:
    """Each as near as the nearest that each candidate alone would have given."""
    made, chunks, index = policy(), sampled(4), torch.arange(94)

    def batch() -> Demonstrated:
        return chunks.batch(index, made, (1, 5), torch.Generator().manual_seed(3))

    assert chunks.own is not None
    together, candidates = batch(), chunks.own
    alone = []
    for each in candidates:
        chunks.own = each[None]
        alone.append(distance(batch()))
    known = together.own_known > 0
    assert known.sum() > 80
    torch.testing.assert_close(distance(together)[known], torch.stack(alone).min(0).values[known], rtol=0, atol=0)
    assert (distance(together) < alone[0])[known].any()


@pytest.mark.parametrize(
    ("objective", "chunks"),
    [
        (LegatoObjective(candidates=8), 8),
        (LegatoObjective(candidates=3, own_share=0.1), 3),
        (LegatoObjective(own_share=0), 0),
        (LiteralLegatoObjective(5), 0),
        (TrainingTimeRTCObjective(), 0),
        (FlowMatching(), 0),
    ],
)
def test_chunks_are_sampled_for_objectives_that_look_at_them(objective: Objective, chunks: int) -> None:
    assert objective.own_chunks == chunks


@pytest.mark.parametrize("known", [1, 3, 5])
@pytest.mark.parametrize("hard_share", [0.0, 0.5, 1.0])
def test_nothing_is_kept_beyond_what_an_own_chunk_knows(known: int, hard_share: float) -> None:
    """Of an old chunk fewer positions are known than the longest delay commits."""
    horizon = 12
    batch = Demonstrated(
        randn(400, horizon, 2), torch.ones(400, horizon, dtype=torch.bool), randn(400, horizon, 2, seed=1),
        torch.full((400,), known),
    )  # fmt: skip
    objective = LegatoObjective(max_delay=8, max_ramp=6, hard_share=hard_share, plain_share=0)
    pair = objective.pair(batch, torch.Generator().manual_seed(0))
    assert (pair.w[:, known:] == 0).all()
    assert (pair.w[:, :known] >= 0).all()
    assert (pair.w[:, 0] == 1).any()
    free = replace(batch, own=batch.own.clone())
    free.own[:, known:] = torch.nan  # nothing of it reaches what is trained on
    assert objective.pair(free, torch.Generator().manual_seed(0)).x[:, :known].isfinite().all()
