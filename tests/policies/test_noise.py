"""Noise of chunks: carried noise is one standard normal number per absolute step, whatever was asked for before."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fakes.flow_oracles import Gaussian
from segue.core.chunk import Array, Continuation, nothing_to_continue
from segue.core.dimensions import LINEAR
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Plan, Request
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.noise import CarriedNoise, FreshNoise, Noise, step_noise
from segue.strategies.flow import integrate
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.naive import Naive

BIG = 2**64 - 1
SHAPE = (6, 5)


def at(start: int, episode: int = 0) -> Continuation:
    return replace(nothing_to_continue(start, 2, 3), episode=episode)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(
    start: int,
    *,
    shape: tuple[int, int] = SHAPE,
    stride: int = 1,
    seed: int = 0,
    episode: int = 0,
    scale: float = 1,
    share: float = 1,
) -> Tensor:
    return CarriedNoise(scale, share).draw(shape, stride, [at(start, episode)], [seeded(seed)])[0]


@given(
    first=st.integers(0, 10_000),
    later=st.integers(0, 12),
    positions=st.integers(1, 10),
    dimension=st.integers(1, 17),
    stride=st.integers(1, 8),
    seed=st.integers(0, BIG),
    episode=st.integers(0, BIG),
)
def test_the_noise_of_a_step_is_the_same_in_every_chunk(
    first: int, later: int, positions: int, dimension: int, stride: int, seed: int, episode: int
) -> None:
    same = {"shape": (positions, dimension), "stride": stride, "seed": seed, "episode": episode}
    one, other = drawn(first, **same), drawn(first + later, **same)
    moved = (first + later) // stride - first // stride  # positions on the grid through the episode
    assert torch.equal(one[moved:], other[: max(positions - moved, 0)])
    if moved:
        assert (one[0] != other[0]).all()


def test_starts_within_one_position_agree() -> None:
    same = [drawn(start, stride=4) for start in range(8, 12)]
    assert all(torch.equal(one, other) for one, other in pairwise(same))
    assert not torch.equal(same[0], drawn(12, stride=4))


@given(step=st.integers(0, 10_000), seed=st.integers(0, BIG - 1), episode=st.integers(0, BIG - 1))
def test_other_episodes_and_other_seeds_have_other_noise(step: int, seed: int, episode: int) -> None:
    here = drawn(step, seed=seed, episode=episode)
    for other_seed, other_episode in ((seed + 1, episode), (seed, episode + 1)):
        assert (here != drawn(step, seed=other_seed, episode=other_episode)).all()
    if seed != episode:
        assert (here != drawn(step, seed=episode, episode=seed)).all()


def test_numbers_are_standard_normal() -> None:
    """Kolmogorov-Smirnov over chunks of many episodes, the distance that one in 10^6 samples would exceed."""
    numbers = torch.cat([drawn(7 * e, shape=(16, 6), episode=e).double().flatten() for e in range(600)])
    count = len(numbers)
    law = torch.special.ndtr(numbers.sort().values)
    steps = torch.arange(count + 1, dtype=torch.float64) / count
    distance = torch.maximum((steps[1:] - law).max(), (law - steps[:-1]).max()).item()
    assert distance < np.sqrt(np.log(2e6) / 2 / count)
    for power, (moment, spread) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert numbers.pow(power).mean().item() == pytest.approx(moment, abs=5 * np.sqrt(spread / count))


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_each_chunk_alone_is_independent_noise(share: float) -> None:
    """No correlation of any position and dimension with any other, of one chunk or of neighbouring episodes or seeds.

    Six dimensions take two blocks of the generator, of which the second half is left out.
    """
    count = 2000
    asked = [{"seed": e % 50, "episode": e // 50} for e in range(count)]
    numbers = torch.stack([drawn(40, shape=(4, 6), share=share, **each).flatten() for each in asked]).double()
    pairs = torch.cat([numbers, numbers.roll(1, 0), numbers.roll(50, 0)], dim=1)  # next seed, next episode
    correlation = torch.corrcoef(pairs.T) - torch.eye(pairs.shape[1], dtype=torch.float64)
    assert correlation.abs().max().item() < 5.5 / np.sqrt(count)
    squares = torch.corrcoef(pairs.square().T) - torch.eye(pairs.shape[1], dtype=torch.float64)
    assert squares.abs().max().item() < 7 / np.sqrt(count)  # of heavier tails
    assert numbers.mean(0).abs().max().item() < 5 / np.sqrt(count)
    assert (numbers.var(0) - 1).abs().max().item() < 5 * np.sqrt(2 / count)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_is_the_correlation_of_two_chunks_where_they_overlap(share: float) -> None:
    """Of all positions with all others, it is the share for the same step and dimension, and nothing for any other."""
    count = 2000
    one, other = (
        torch.stack([drawn(start, shape=(4, 2), share=share, episode=e).flatten() for e in range(count)]).double()
        for start in (9, 10)
    )
    found = torch.corrcoef(torch.cat([one, other], dim=1).T)[:8, 8:]
    expected = torch.diag(torch.full((6,), share, dtype=torch.float64), -2)  # position j of the first is j - 1
    assert (found - expected[:, :8]).abs().max().item() < 5 / np.sqrt(count)


@given(start=st.integers(0, 1000), share=st.floats(0, 1), seed=st.integers(0, BIG))
def test_a_chunk_that_is_asked_for_twice_has_the_same_noise_whatever_the_share(
    start: int, share: float, seed: int
) -> None:
    assert torch.equal(drawn(start, share=share, seed=seed), drawn(start, share=share, seed=seed))
    if share < 0.9:
        assert (drawn(start, share=share, seed=seed)[1] != drawn(start + 1, share=share, seed=seed)[0]).any()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(SpecError, match="a share of"):
        CarriedNoise(1.0, share)


def test_a_batch_is_its_robots_one_by_one() -> None:
    asked = [(0, 3, 5), (17, 0, 5), (17, 3, 6), (2, 9, 0)]
    batch = CarriedNoise(0.7).draw(SHAPE, 2, [at(k, e) for k, e, _ in asked], [seeded(seed) for *_, seed in asked])
    for row, (start, episode, seed) in zip(batch, asked, strict=True):
        assert torch.equal(row, drawn(start, stride=2, seed=seed, episode=episode, scale=0.7))


def test_nothing_is_remembered() -> None:
    """Order, repetition and what else was drawn from the generator change nothing."""
    order, generator, noise = [5, 0, 9, 5, 1, 200, 9], seeded(4), CarriedNoise()
    state = generator.get_state()
    mine = []
    for start in order:
        mine.append(noise.draw(SHAPE, 1, [at(start)], [generator])[0])
        assert torch.equal(generator.get_state(), state)
    torch.randn(11, generator=generator)
    mine.append(noise.draw(SHAPE, 1, [at(3)], [generator])[0])
    for start, each in zip([*order, 3], mine, strict=True):
        assert torch.equal(each, drawn(start, seed=4))


def test_every_position_is_finite_and_in_single_precision() -> None:
    noise = step_noise(BIG, BIG, 2**40, 1000, 9)
    assert noise.isfinite().all()
    assert noise.dtype == torch.float64
    assert drawn(0).dtype == torch.get_default_dtype()


def test_fresh_noise_is_what_the_generators_say_next() -> None:
    mine, theirs = [seeded(1), seeded(2)], [seeded(1), seeded(2)]
    for _ in range(3):
        found = FreshNoise().draw(SHAPE, 1, [at(0), at(4)], mine)
        assert torch.equal(found, torch.stack([torch.randn(SHAPE, generator=each) for each in theirs]))


@pytest.mark.parametrize("kind", [FreshNoise, CarriedNoise])
@given(scale=st.floats(0, 3))
def test_the_scale_multiplies(kind: type[FreshNoise] | type[CarriedNoise], scale: float) -> None:
    plain, scaled = (kind(each).draw(SHAPE, 1, [at(3)], [seeded(0)]) for each in (1.0, scale))
    assert torch.equal(scaled, scale * plain)


@pytest.mark.parametrize("kind", [FreshNoise, CarriedNoise])
@pytest.mark.parametrize("scale", [-0.1, float("inf"), float("nan")])
def test_impossible_scales_are_refused(kind: type[FreshNoise] | type[CarriedNoise], scale: float) -> None:
    with pytest.raises(SpecError, match="noise scale"):
        kind(scale)


class Clock(nn.Module):
    """A policy of uncertain targets, one per absolute step; it observes nothing but which step it is.

    Its flow map acts position by position, in double precision. It is its own units.
    """

    stride = 1
    device, kinds = torch.device("cpu"), LINEAR
    spec, denoising_steps = PolicySpec(8, 0.1, ("step",), ("x", "y")), 4

    @property
    def units(self) -> "Clock":
        return self

    @property
    def chunk_shape(self) -> tuple[int, int]:
        return self.spec.horizon, 2

    def to_policy(self, actions: Tensor, observation: Any) -> Tensor:
        return actions.double()

    def to_robot(self, chunk: Tensor, observation: Any) -> Tensor:
        return chunk

    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        step = observation.double()[:, None] + torch.arange(self.spec.horizon, dtype=torch.float64)[:, None]
        oracle = Gaussian(torch.cat([(step / 5).sin(), (step / 3).cos()], dim=-1), spread=0.4)
        hooks = strategy.hooks(prefix)
        chunk = integrate(
            lambda x, t: oracle.velocity(x, t, hooks), noise.double(), hooks.weights.double(), prefix.reference,
            steps=steps, guide=hooks.guide,
        )  # fmt: skip
        return hooks.finish(chunk)


class Driven:
    """A plan in virtual time, whose chunks come late, early or never: all that was said, and what was executed of it.

    A chunk that meets a pause is executed later than it was made for, so that nothing is compared after one.
    """

    def __init__(self, noise: Noise, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.policy = ContinuingPolicy(Clock(), Naive(), noise=noise)  # type: ignore[arg-type]
        self.plan = Plan(8, 2, 3, WindowQuantile(2))
        self.said: list[tuple[int, int, Array]] = []
        self.executed: dict[tuple[int, int], Array] = {}
        self.under_way: tuple[int, Request, Array] | None = None
        self.paused = False

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.plan.due:
                self._ask()
            if self.under_way is not None and self.under_way[0] <= self.plan.step:
                _, request, actions = self.under_way
                self.under_way = None
                assert self.plan.deliver(request, actions) in (Delivery.TAKEN, Delivery.EXPIRED)
            tick = self.plan.tick()
            self.paused |= tick.action is None
            if tick.action is not None and not self.paused:
                self.executed[self.plan.epoch, tick.step] = tick.action

    def _ask(self) -> None:
        request = self.plan.request()
        assert request is not None
        actions = self.policy.next_chunk(np.array([request.step], np.float32), request.continuation)
        self.said.append((self.plan.epoch, request.step, actions))
        if self.plan.chunk is not None and self.rng.random() < 0.1:
            self.plan.abandon(request)  # lost on its way
            return
        late = 0 if self.plan.chunk is None else int(self.rng.integers(0, 5))
        self.under_way = self.plan.step + late, request, actions

    def reset(self) -> None:
        self.plan.reset()
        self.under_way, self.paused = None, False

    @property
    def by_step(self) -> dict[tuple[int, int], list[Array]]:
        """What all chunks of an episode say about each of its steps."""
        found: dict[tuple[int, int], list[Array]] = {}
        for episode, start, actions in self.said:
            for j, action in enumerate(actions):
                found.setdefault((episode, start + j), []).append(action)
        return found


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_is_kept_through_late_early_and_lost_chunks_until_the_reset(seed: int) -> None:
    driven = Driven(CarriedNoise(), seed)
    for _ in range(3):
        driven.run(60)
        driven.reset()
    several = {key: values for key, values in driven.by_step.items() if len(values) > 1}
    assert {episode for episode, _ in several} == {0, 1, 2}
    for values in several.values():
        np.testing.assert_allclose(values, np.broadcast_to(values[0], np.shape(values)), rtol=0, atol=1e-12)
    assert len(driven.executed) > 30
    for key, action in driven.executed.items():
        np.testing.assert_allclose(action, driven.by_step[key][0], rtol=0, atol=1e-6)
    for (episode, step), values in driven.by_step.items():
        if (episode + 1, step) in driven.by_step:
            assert (values[0] != driven.by_step[episode + 1, step][0]).all()


def test_with_fresh_noise_the_same_policy_makes_another_plan_in_every_chunk() -> None:
    driven = Driven(FreshNoise(), 0)
    driven.run(60)
    several = [values for values in driven.by_step.values() if len(values) > 1]
    assert several
    assert all((one != other).all() for values in several for one, other in pairwise(values))


def test_less_noise_is_closer_to_what_the_policy_finds_likely() -> None:
    """The flow of Gaussian data is affine in the noise, so that distances to the mean scale with it."""
    made = {
        scale: ContinuingPolicy(Clock(), Naive(), noise=CarriedNoise(scale)).next_chunk(np.zeros(1), at(0))  # type: ignore[arg-type]
        for scale in (0.0, 0.5, 1.0)
    }
    np.testing.assert_allclose(made[0.5] - made[0.0], 0.5 * (made[1.0] - made[0.0]), rtol=0, atol=1e-7)
    assert np.abs(made[1.0] - made[0.0]).max() > 0.1
