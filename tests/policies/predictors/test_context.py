"""Prediction of what a policy makes of pictures: contexts in the place of observations, rolled and learned."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import point_mass_with_pictures as sighted
from fakes.policies_with_pictures import CPU, FEATURES, HORIZON, KINDS, context_of, made, view, views
from segue.core.chunk import Array, Continuation, nothing_to_continue
from segue.core.observation import Encoded, stacked, state_of
from segue.data.pictures import Pictures
from segue.errors import SpecError
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.encoders.resnet import ResNet
from segue.policies.latent import LatentUnits
from segue.policies.observation import first_of, of_one, on_device
from segue.policies.policy import Policy
from segue.policies.predictors.context import ContextPredictor, context_names, predictable
from segue.policies.predictors.predictor import Measured, PredictivePolicy
from segue.policies.processor import NormalizedUnits
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.training.context_predictor import (
    encoded,
)
from segue.training.predictor import predictor_for

PREFIX = np.random.default_rng(0).uniform(-1, 1, (6, 2)).astype(np.float32)
HELD = Continuation(7, PREFIX, 3, 2, np.ones(6, np.int64))


def predictor(policy: Policy, drift: float = 0.0) -> ContextPredictor:
    """One that adds ``drift`` times one step's usual change to every number in every step."""
    torch.manual_seed(0)
    network = predictor_for(encoded(sighted.demonstrations((6, 8)), policy)).requires_grad_(False)
    network.linear.weight.zero_()
    network.linear.bias.fill_(drift)
    return ContextPredictor(network, predictable(policy))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches of pictures that are encoded."""
    batches, original = list[int](), ResNet.forward

    def counted(self: ResNet, pictures: Any) -> torch.Tensor:
        batches.append(len(pictures[0]))
        return original(self, pictures)

    monkeypatch.setattr(ResNet, "forward", counted)
    return batches


def test_what_is_encoded_is_a_batch_like_any_observation() -> None:
    one = Encoded(np.arange(5, dtype=np.float32), np.zeros(2, np.float32))
    other = Encoded(one.context + 1, one.state + 1)
    both = stacked([one, other])
    assert isinstance(both, Encoded)
    assert len(both) == 2
    assert np.array_equal(both[1].context, other.context)
    assert np.array_equal(state_of(both), [[0, 0], [1, 1]])
    single = of_one(one)
    assert isinstance(single, Encoded)
    assert single.context.shape == (1, 5)
    back = first_of(single)
    assert isinstance(back, Encoded)
    assert np.array_equal(back.context, one.context)
    tensors = on_device(Encoded(both.context.astype(np.float64), both.state), CPU)
    assert tensors.context.dtype == tensors.state.dtype == torch.float32
    for mixed in ([one, view()], [one, one.state]):
        with pytest.raises(SpecError, match="only some of them encoded"):
            stacked(mixed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_takes_its_own_context_for_an_observation(kind: str, looks: list[int]) -> None:
    policy, strategy = made(kind), Legato() if kind in ("flow", "latent") else Naive()
    seen = views(3)
    context = context_of(policy, seen)
    looks.clear()
    chunks = [
        ContinuingPolicy(policy, strategy).next_chunks(
            observed, [HELD] * 3, [torch.Generator().manual_seed(n) for n in range(3)]
        )
        for observed in (seen, context)
    ]
    assert np.array_equal(chunks[0], chunks[1])
    assert looks == [3]  # the second time, nothing was looked at


def test_a_context_of_another_size_is_refused() -> None:
    policy = made()
    context = context_of(policy, views(2))
    for wrong in (Encoded(context.context[:, 1:], context.state), Encoded(context.context[0], context.state)):
        with pytest.raises(SpecError, match=rf"\(batch, {2 + FEATURES}\)"):
            policy.units.encode(on_device(wrong, CPU))


def test_actions_are_relative_to_the_state_beside_the_context() -> None:
    context, moved = context_of(made(), views(2)), np.array([[0.25, -0.5], [1, 0]], np.float32)
    chunks = [
        ContinuingPolicy(made(), Naive()).next_chunks(
            Encoded(context.context, state), [nothing_to_continue(0, 2, 3)] * 2, [torch.Generator().manual_seed(0)] * 2
        )
        for state in (context.state, context.state + moved)
    ]
    np.testing.assert_allclose(chunks[1] - chunks[0], np.broadcast_to(moved[:, None], (2, HORIZON, 2)), atol=1e-6)


@pytest.mark.parametrize("kind", ["flow", "latent"])
@settings(max_examples=10)
@given(steps=st.lists(st.integers(0, 5), min_size=1, max_size=4), drift=st.sampled_from([0.5, -2.0]))
def test_a_constant_change_adds_up_over_the_steps(kind: str, steps: list[int], drift: float) -> None:
    """Of a network that says the same change always, c + d change; the state in it, in robot units."""
    policy = made(kind)
    roll, seen, counts = predictor(policy, drift), views(len(steps)), np.array(steps)
    before, after = context_of(policy, seen), roll.ahead(seen, np.ones((len(steps), 5, 2), np.float32), counts)
    change = drift * roll.network.change.numpy()
    np.testing.assert_allclose(after.context, before.context + counts[:, None] * change, rtol=1e-4, atol=1e-5)
    inside = policy.units.inside if isinstance(policy.units, LatentUnits) else policy.units
    assert isinstance(inside, NormalizedUnits)
    scale = inside.observation.scale.numpy()
    np.testing.assert_allclose(
        after.state, before.state + counts[:, None] * change[:2] * scale, rtol=1e-4, atol=1e-5
    )  # fmt: skip
    still = counts == 0
    assert np.array_equal(after.context[still], before.context[still])
    assert np.array_equal(after.state[still], seen.state[still])


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_is_made_of_the_predicted_context_and_pictures_are_encoded_once(kind: str, looks: list[int]) -> None:
    policy = made(kind)
    roll = predictor(policy, 0.5)
    looks.clear()
    chunk = PredictivePolicy(ContinuingPolicy(policy, Naive(), seed=4), roll).next_chunk(view(1), HELD)
    assert looks == [1]
    later = roll.ahead(of_one(view(1)), PREFIX[None, :3], np.array([3]))[0]
    expected = ContinuingPolicy(policy, Naive(), seed=4).next_chunk(later, HELD.ahead(3))
    assert np.array_equal(chunk[:3], PREFIX[:3])
    np.testing.assert_allclose(chunk[3:], expected[: HORIZON - 3], atol=1e-6)
    now = ContinuingPolicy(policy, Naive(), seed=4).next_chunk(view(1), HELD.ahead(3))
    assert not np.allclose(expected, now, atol=1e-3)


def test_robots_that_commit_nothing_get_the_chunks_of_a_policy_without_predictor() -> None:
    policy, seen = made(), views(3)
    continuations = [HELD, nothing_to_continue(7, 2, 2), replace(HELD, delay=0)]
    below = ContinuingPolicy(policy, Naive())

    def chunks(served: Any) -> Array:
        return served.next_chunks(seen, continuations, [torch.Generator().manual_seed(n) for n in range(3)])

    predicted, plain = chunks(PredictivePolicy(below, predictor(policy, 0.5))), chunks(below)
    assert np.array_equal(predicted[1:], plain[1:])
    assert not np.array_equal(predicted[0], plain[0])


def test_a_predictor_of_contexts_is_not_asked_whether_a_state_is_surprising() -> None:
    assert not isinstance(predictor(made()), Measured)


def test_what_cannot_be_predicted_is_said() -> None:
    roll = predictor(made())
    with pytest.raises(SpecError, match="actions of 3 dimensions"):
        roll.ahead(views(1), np.zeros((1, 2, 3), np.float32), np.ones(1, np.int64))
    with pytest.raises(SpecError, match="no picture of 'top'"):
        roll.ahead(np.zeros((1, 2), np.float32), np.zeros((1, 2, 2), np.float32), np.ones(1, np.int64))

    class Cached:
        """A policy whose context is something else."""

        units = object()

    with pytest.raises(SpecError, match="whose context cannot be predicted"):
        predictable(Cached())  # type: ignore[arg-type]


def test_contexts_are_those_of_the_middle_of_the_pictures() -> None:
    policy, episodes = made(), sighted.demonstrations()
    found = encoded(episodes, policy)
    assert found.observation_names == context_names(episodes.observation_names, 2 + FEATURES)
    assert found.pictures == {}
    rows = np.array([0, 40, len(found.observation) - 1])
    seen = episodes.observed(rows)
    np.testing.assert_allclose(found.observation[rows], context_of(policy, seen).context, atol=1e-6)
    edges = episodes.pictures[sighted.CAMERA][:].copy()
    edges[:, :3], edges[:, :, -3:] = 255, 0  # a crop of 0.75 of 24 pixels leaves 3 on each side
    other = replace(episodes, pictures={sighted.CAMERA: Pictures.of(edges)})
    assert np.array_equal(encoded(other, policy).observation, found.observation)
