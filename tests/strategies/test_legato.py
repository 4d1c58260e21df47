"""Legato, step-count free and literal, against oracle velocities."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import Gaussian, prefix, randn
from segue.errors import SpecError
from segue.methods.methods import METHODS, OBJECTIVES
from segue.policies.flow import FlowPolicyConfig
from segue.strategies.flow import integrate, unguided
from segue.strategies.legato import Legato, LegatoObjective
from segue.strategies.literal_legato import LiteralLegato, LiteralLegatoObjective, literal_target
from segue.strategies.objective import Demonstrated
from segue.strategies.training_time_rtc import TrainingTimeRTC
from segue.strategies.weights import SHAPES, Shape, schedule

H, A = 20, 3
SCHEDULES: list[Shape] = ["step", "linear", "cosine"]


def literal_sample(actions: Tensor, noise: Tensor, w: Tensor, steps: int, sign: int) -> Tensor:
    """Algorithm 1 of the paper, written out: blend, then Euler, with the oracle target of either sign."""
    x, w = noise, w[..., None]
    for k in range(steps):
        t = k / steps
        blended = (1 - w) * x + w * actions
        x = blended + (1 + sign * w * steps * (1 - t)) * (actions - noise) / steps
    return x


@pytest.mark.parametrize("shape", SCHEDULES)
@pytest.mark.parametrize(("delay", "ramp"), [(0, 8), (4, 0), (4, 10), (8, 12)])
def test_literal_legato_reproduces_the_data_and_fails_with_the_sign_flipped(
    shape: Shape, delay: int, ramp: int
) -> None:
    actions, noise = randn(4, H, A), randn(4, H, A, seed=1)
    strategy = LiteralLegato(steps=5, ramp=ramp, shape=shape)
    hooks = strategy.hooks(prefix(actions, H, delay))
    t_of = torch.ones(4, dtype=torch.float64)

    def field(x: Tensor, t: float) -> Tensor:
        return literal_target(actions, noise, hooks.weights, t * t_of, 5)

    found = integrate(field, noise, hooks.weights, actions, steps=5, guide=hooks.guide)
    torch.testing.assert_close(found, actions, rtol=0, atol=1e-12)
    torch.testing.assert_close(literal_sample(actions, noise, hooks.weights, 5, sign=-1), actions, rtol=0, atol=1e-12)
    if (hooks.weights > 0).any():
        flipped = literal_sample(actions, noise, hooks.weights, 5, sign=+1)
        assert (flipped - actions).abs().max() > 0.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spread", [0.05, 0.5, 1.0])
def test_step_count_free_form_equals_literal_legato_at_gain_one(shape: Shape, spread: float) -> None:
    oracle = Gaussian(randn(1, H, A, seed=2), spread)
    reference, noise = randn(4, H, A, seed=3), randn(4, H, A, seed=4)
    before = prefix(reference, H - 6, 4)
    for steps in (1, 2, 3, 5, 8, 10, 50):
        free = Legato(gain=1, fade=0, shape=shape).hooks(before)
        literal = LiteralLegato(steps=steps, shape=shape).hooks(before)
        ours = integrate(
            lambda x, t, h=free: oracle.velocity(x, t, h), noise, free.weights, reference, steps=steps, guide=free.guide
        )
        theirs = integrate(
            lambda x, t, h=literal, n=steps: oracle.literal(x, t, h, n),
            noise, literal.weights, reference, steps=steps, guide=literal.guide,
        )  # fmt: skip
        torch.testing.assert_close(free.finish(ours), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 10, 50])
@pytest.mark.parametrize("gain", [0.0, 0.3, 1.0])
def test_step_count_free_form_is_exact_for_any_number_of_steps(steps: int, gain: float) -> None:
    # The reference is the data, the velocity is the true one: the result must be the data.
    actions, noise = randn(4, H, A), randn(4, H, A, seed=1)
    hooks = Legato(gain=gain).hooks(prefix(actions, H - 5, 4))
    w = hooks.weights[..., None]
    velocity = actions - ((1 - w) * noise + w * actions)
    found = integrate(lambda x, t: velocity, noise, hooks.weights, actions, steps=steps, guide=hooks.guide)
    torch.testing.assert_close(found, actions, rtol=0, atol=1e-12)


def test_hard_step_legato_is_training_time_rtc_exactly() -> None:
    oracle = Gaussian(randn(1, H, A, seed=2), 0.7)
    reference, noise = randn(4, H, A, seed=3), randn(4, H, A, seed=4)
    before = prefix(reference, H - 6, 4)
    samples = []
    for strategy in (Legato(gain=1, fade=0, shape="step"), Legato(gain=0, fade=0, ramp=0), TrainingTimeRTC()):
        hooks = strategy.hooks(before)
        chunk = integrate(
            lambda x, t, h=hooks: oracle.velocity(x, t, h), noise, hooks.weights, reference, steps=5, guide=hooks.guide
        )
        samples.append(hooks.finish(chunk))
    assert torch.equal(samples[0], samples[2])
    assert torch.equal(samples[1], samples[2])


def test_adherence_to_the_reference_grows_with_the_policys_own_uncertainty() -> None:
    # d result / d reference at weight one half: a confident policy overrides the reference, an uncertain one follows.
    adherence = []
    for spread in (0.05, 0.5, 1.0):
        oracle = Gaussian(torch.zeros(1, 1, 1, dtype=torch.float64), spread)
        reference = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
        w = torch.full((1, 1), 0.5, dtype=torch.float64)
        x = w[..., None] * reference
        for k in range(5):
            estimate = oracle.actions(x, k / 5, w)
            pull = w[..., None] * (reference - estimate) if k < 4 else 0
            x = x + (estimate - x) / (1 - k / 5) / 5 + pull
        adherence.append(torch.autograd.grad(x.sum(), reference)[0].item())
    # Computed independently by hand-written recurrences in the literature's notation (Gaussian data, N = 5).
    assert adherence == pytest.approx([0.21, 1.08, 1.04], abs=0.01)


def test_fade_cross_fades_the_finished_chunk() -> None:
    reference, new = randn(2, H, A, seed=3), randn(2, H, A, seed=4)
    hooks = Legato(fade=1.0, ramp=4).hooks(prefix(reference, H - 6, 2))
    w = schedule(H, torch.tensor([2, 2]), torch.tensor([4, 4])).double()[..., None]
    torch.testing.assert_close(hooks.finish(new), w * reference + (1 - w) * new)


def test_ramp_never_reaches_beyond_what_is_known() -> None:
    hooks = Legato(ramp=100).hooks(prefix(randn(1, H, A), 9, 4))
    assert (hooks.weights[:, 9:] == 0).all()
    assert (hooks.weights[:, 4:9] > 0).all()


def test_literal_legato_refuses_another_number_of_steps() -> None:
    hooks = LiteralLegato(steps=5).hooks(prefix(randn(1, H, A), 9, 4))
    with pytest.raises(SpecError, match="10 denoising steps"):
        integrate(unguided_zero, randn(1, H, A), hooks.weights, randn(1, H, A), steps=10, guide=hooks.guide)


def unguided_zero(x: Tensor, t: float) -> Tensor:
    return torch.zeros_like(x)


def demonstrated(batch: int, own_known: int) -> Demonstrated:
    return Demonstrated(
        randn(batch, H, A), torch.ones(batch, H, dtype=torch.bool), randn(batch, H, A, seed=9),
        torch.full((batch,), own_known),
    )  # fmt: skip


def test_training_target_leads_from_noisy_actions_to_the_demonstrated_ones() -> None:
    batch = demonstrated(512, own_known=14)
    pair = LegatoObjective(own_share=0.5).pair(batch, torch.Generator().manual_seed(7))
    reached = pair.x + (1 - pair.t)[:, None, None] * pair.target
    torch.testing.assert_close(reached[pair.mask], batch.actions[pair.mask], rtol=0, atol=1e-12)
    assert torch.equal(pair.mask, pair.w < 1)


@pytest.mark.parametrize("known", [5, 14])
def test_kept_positions_hold_the_own_chunk_where_there_is_one(known: int) -> None:
    """Also where less is known of it than the longest delay: nothing is committed that it does not say."""
    objective = LegatoObjective(own_share=1.0, plain_share=0)
    batch = demonstrated(256, own_known=known)
    pair = objective.pair(batch, torch.Generator().manual_seed(7))
    kept = pair.w >= 1
    assert kept.any()
    assert torch.equal(pair.x[kept], batch.own[kept])
    assert (pair.w[:, known:] == 0).all()
    assert kept.sum(1).max() == min(known, objective.max_delay)


def test_demonstrated_references_are_used_where_there_is_no_own_chunk() -> None:
    batch = demonstrated(256, own_known=0)
    pair = LegatoObjective(own_share=1.0, plain_share=0).pair(batch, torch.Generator().manual_seed(7))
    kept = pair.w >= 1
    assert torch.equal(pair.x[kept], batch.actions[kept])


def test_plain_share_is_the_share_of_free_schedules() -> None:
    batch = demonstrated(4000, own_known=0)
    everything = LegatoObjective(plain_share=1.0).pair(batch, torch.Generator().manual_seed(7))
    assert (everything.w == 0).all()
    some = LegatoObjective(plain_share=0.15, max_delay=12).pair(batch, torch.Generator().manual_seed(7))
    # d = 0 and no ramp also gives zero weights: 0.15 + 0.85 / 13 * (0.3 + 0.7 / 25).
    share = (some.w == 0).all(1).double().mean().item()
    assert share == pytest.approx(0.15 + 0.85 / 13 * (0.3 + 0.7 / 25), abs=0.03)


def test_literal_target_has_the_published_second_moment_on_committed_positions() -> None:
    # E[(1 - N (1 - t))^2] over uniform t is 1 - N + N^2 / 3, per unit variance of A - noise.
    t = torch.rand(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ones = torch.ones(200_000, 1, 1, dtype=torch.float64)
    target = literal_target(ones, torch.zeros_like(ones), torch.ones(200_000, 1, dtype=torch.float64), t, 5)
    assert target.square().mean().item() == pytest.approx(1 - 5 + 25 / 3, abs=0.05)


def test_literal_pair_uses_the_published_target() -> None:
    batch = demonstrated(64, own_known=0)
    pair = LiteralLegatoObjective(steps=5).pair(batch, torch.Generator().manual_seed(7))
    free = (pair.w == 0) & pair.mask
    reached = pair.x + (1 - pair.t)[:, None, None] * pair.target
    torch.testing.assert_close(reached[free], batch.actions[free])
    ramp = (pair.w > 0) & pair.mask
    assert (reached[ramp] - batch.actions[ramp]).abs().max() > 0.1


def test_unguided_is_the_field() -> None:
    from segue.strategies.flow import Step

    x = randn(1, H, A)
    assert torch.equal(unguided(unguided_zero, x, Step(0, 1, True)), torch.zeros_like(x))


def test_literal_legato_is_trained_for_the_steps_that_it_samples_with() -> None:
    """Its target depends on their number, and three defaults name it."""
    objective, strategy = OBJECTIVES["literal-legato"](), METHODS["literal-legato"].strategy
    assert isinstance(objective, LiteralLegatoObjective)
    assert isinstance(strategy, LiteralLegato)
    (sampled,) = (each.default for each in fields(FlowPolicyConfig) if each.name == "denoising_steps")
    assert objective.steps == strategy.steps == sampled
