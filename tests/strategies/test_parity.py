"""Whole samplers and losses against their papers, written out in NumPy, on fields whose flow is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from fakes.point_mass import policy
from segue.core.chunk import Array, Continuation
from segue.methods.methods import method
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.predictors.predictor import CommandedState
from segue.strategies.bid import BID
from segue.strategies.flow import Field, integrate
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated
from segue.strategies.paint import PAINT
from segue.strategies.rtc import RTC, identity, vjp
from segue.strategies.training_time_rtc import TrainingTimeRTCObjective

H, A, N = 8, 2, 5


def sampled(strategy: Strategy, field: Field, before: Prefix, noise: Tensor) -> Tensor:
    hooks = strategy.hooks(before)
    start = hooks.start(field, noise, N)
    chunk = integrate(field, start, hooks.weights, before.reference, steps=N, guide=hooks.guide)
    return hooks.finish(chunk)


@pytest.mark.parametrize("seed", range(4))
def test_training_time_rtc_is_the_kinetix_recipe_batch_by_batch(seed: int) -> None:
    """Delays 0 to 4, p(d) ~ exp(-d); time 1 in the prefix; loss on the positions behind it, over their number.

    The recipe sums over the dimensions of an action, where ours takes their mean: a factor that no optimiser sees.
    """
    made, rng = policy(horizon=H, predicts="velocity", seed=seed), np.random.default_rng(seed)
    actions = torch.as_tensor(rng.normal(size=(64, H, A)), dtype=torch.float32)
    data = Demonstrated(actions, torch.ones(64, H, dtype=torch.bool), actions, torch.zeros(64, dtype=torch.long))
    pair = TrainingTimeRTCObjective(max_delay=4, decay=1.0).pair(data, torch.Generator().manual_seed(seed))
    noise = torch.randn(actions.shape, generator=torch.Generator().manual_seed(seed)).numpy()
    context = made.units.encode(torch.as_tensor(rng.uniform(-1, 1, (64, 4)), dtype=torch.float32))

    clean, t = actions.numpy(), pair.t.numpy()
    d = (pair.w.numpy() == 1).sum(1)
    free = np.arange(H) >= d[:, None]
    time = np.where(free, t[:, None], 1.0)
    x = (1 - time[..., None]) * noise + time[..., None] * clean
    np.testing.assert_allclose(pair.x.numpy(), x, rtol=0, atol=1e-6)
    np.testing.assert_allclose((pair.t[:, None] + pair.w * (1 - pair.t[:, None])).numpy(), time, rtol=0, atol=1e-7)
    with torch.no_grad():
        u = made.velocity(torch.as_tensor(x), pair.t, pair.w, context).numpy()
        for delay in range(5):
            of = d == delay
            assert of.any() or delay > 2
            error = ((u - (clean - noise)) ** 2).sum(2)[of]
            wanted = (error * free[of]).sum() / max(free[of].sum(), 1) / A
            part = replace(pair, x=pair.x[of], t=pair.t[of], w=pair.w[of], target=pair.target[of], mask=pair.mask[of])
            if of.any():
                assert float(made.loss(part, context[of])) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("known", [5, 8])
@pytest.mark.parametrize("delay", [0, 2, 4])
def test_rtc_is_its_formula_on_a_linear_field_from_the_first_step_to_the_last(known: int, delay: int) -> None:
    """v = M x: x <- x + h (M x + min(5, (1 - t) / (t r^2)) J' W (R - J x)), J = I + (1 - t) M; and with J' = I."""
    matrix, noise = 0.3 * randn(H * A, H * A, seed=1), randn(3, H, A, seed=2)
    before = prefix(randn(3, H, A, seed=3), known, delay)

    def field(x: Tensor, t: float) -> Tensor:
        return (x.flatten(1) @ matrix.T).view_as(x)

    committed = min(delay, known)
    line = [min(max((committed - 1 - i) / (known - committed + 1) + 1, 0), 1) for i in range(H)]
    mask = np.repeat([c * math.expm1(c) / (math.e - 1) if i < known else 0.0 for i, c in enumerate(line)], A)
    m, wanted = matrix.numpy(), before.reference.flatten(1).numpy()
    for jacobian in (vjp, identity):
        x = noise.flatten(1).numpy()
        for k in range(N):
            t = k / N
            j = np.eye(H * A) + (1 - t) * m
            gain = 5.0 if k == 0 else min(5.0, (1 - t) / t * (t**2 + (1 - t) ** 2) / (1 - t) ** 2)
            error = mask * (wanted - x @ j.T)
            x = x + (x @ m.T + gain * (error @ j if jacobian is vjp else error)) / N
        made = sampled(RTC(jacobian), field, before, noise).flatten(1).numpy()
        np.testing.assert_allclose(made, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [-0.8, 0.5, 1.5])
def test_paint_keeps_the_prefix_as_far_as_euler_goes_forth_and_back(rate: float) -> None:
    """v = a x: what is committed comes back as (1 - h^2 a^2)^N R, and what is free is (1 + h a)^N noise."""
    noise, reference = randn(2, H, A, seed=1), randn(2, H, A, seed=2)
    made = sampled(PAINT(), lambda x, t: rate * x, prefix(reference, H, 3), noise)
    torch.testing.assert_close(made[:, :3], (1 - (rate / N) ** 2) ** N * reference[:, :3], rtol=0, atol=1e-12)
    torch.testing.assert_close(made[:, 3:], (1 + rate / N) ** N * noise[:, 3:], rtol=0, atol=1e-12)


def test_bid_takes_the_draw_whose_flow_ends_nearest_to_the_previous_chunk() -> None:
    """v = a x takes every noise to (1 + h a)^N times itself; the distance is sum_i w_i ||A_i - R_i||."""
    draws, known, delay, rate = 16, 6, 2, 0.7
    noise, reference = randn(draws, H, A, seed=1), randn(1, H, A, seed=2)
    before = replace(prefix(reference.expand(draws, H, A), known, delay), draws=draws)
    made = sampled(BID(draws), lambda x, t: rate * x, before, noise)
    chunks = (1 + rate / N) ** N * noise.numpy()
    line = [min(max((delay - 1 - i) / (known - delay + 1) + 1, 0), 1) for i in range(H)]
    weights = np.array([c * math.expm1(c) / (math.e - 1) if i < known else 0.0 for i, c in enumerate(line)])
    distance = (weights * np.linalg.norm(chunks - reference.numpy(), axis=2)).sum(1)
    np.testing.assert_allclose(made[0].numpy(), chunks[distance.argmin()], rtol=0, atol=1e-12)


@pytest.mark.parametrize("delay", [0, 3])
def test_vlash_is_the_plain_policy_at_the_commanded_state_d_steps_later(delay: int) -> None:
    """state <- last committed target, and the chunk starts there: what is committed, then new[0 : H - d]."""
    made = policy(horizon=H, relative=True)
    seen, committed = np.array([0.1, -0.2, 0.3, 0.4], np.float32), np.full((H, 2), 0.5, np.float32)
    committed[:, 1] = np.linspace(-0.5, 0.5, H)
    what = Continuation(7, committed, delay, 5, np.ones(H, np.int64))
    vlash = method("vlash").bound(made, predictor=CommandedState.of(made), seed=3)
    told = seen.copy()
    if delay:
        told[:2] = committed[delay - 1]
    new: Array = ContinuingPolicy(made, Naive(), seed=3).next_chunk(told, what.ahead(delay))
    chunk = vlash.next_chunk(seen, what)
    np.testing.assert_allclose(chunk[:delay], committed[:delay], rtol=0, atol=1e-6)
    np.testing.assert_allclose(chunk[delay:], new[: H - delay], rtol=0, atol=1e-6)
