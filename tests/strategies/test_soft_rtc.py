"""Soft RTC: its window, the limits in which it is another method, and what the published sampler does instead."""

import math

import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from segue.errors import SpecError
from segue.strategies.flow import integrate
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato
from segue.strategies.objective import Demonstrated
from segue.strategies.soft_rtc import LiteralSoftRTC, SoftRTC, SoftRTCObjective
from segue.strategies.training_time_rtc import TrainingTimeRTC

H, A, N = 12, 2, 5


def sampled(strategy: Strategy, wanted: Tensor, reference: Tensor, delay: int, steps: int = N) -> Tensor:
    """A policy that is sure of ``wanted``, whatever it is shown."""
    hooks = strategy.hooks(prefix(reference, H, delay))
    return integrate(
        lambda x, t: (wanted - x) / (1 - t), randn(2, H, A, seed=9), hooks.weights, reference, steps=steps,
        guide=hooks.guide,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("factor", "longest", "delay"), [(2, None, 3), (2, 5, 3), (1.5, None, 3), (2, 5, 0), (2, 2, 4)]
)
def test_weights_are_the_papers_line_over_the_window(factor: float, longest: int | None, delay: int) -> None:
    end = max(min(math.ceil(factor * delay), longest or H), delay)  # never within the committed part
    line = [1.0 if i < delay else min(max((end - i) / (end - delay + 1), 0), 1) for i in range(H)]
    weights = SoftRTC(factor, longest).hooks(prefix(randn(1, H, A), H, delay)).weights[0]
    torch.testing.assert_close(weights, torch.tensor(line, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_one_delay_is_a_hard_prefix_and_two_are_legato_without_a_pull(delay: int) -> None:
    before = prefix(randn(2, H, A), H, delay)
    assert torch.equal(SoftRTC(1).hooks(before).weights, TrainingTimeRTC().hooks(before).weights)
    assert torch.equal(SoftRTC(2).hooks(before).weights, Legato(gain=0, ramp=delay).hooks(before).weights)


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_policy_that_is_sure_has_its_way_behind_the_prefix(steps: int) -> None:
    wanted, reference = randn(2, H, A, seed=1), randn(2, H, A, seed=2)
    made = sampled(SoftRTC(), wanted, reference, 3, steps)
    torch.testing.assert_close(made[:, 3:], wanted[:, 3:], rtol=0, atol=1e-12)
    assert torch.equal(made[:, :3], reference[:, :3])


def test_the_published_sampler_is_the_papers_loop_and_passes_what_the_policy_wants_by() -> None:
    reference, wanted = torch.ones(2, H, A, dtype=torch.float64), torch.zeros(2, H, A, dtype=torch.float64)
    made = sampled(LiteralSoftRTC(), wanted, reference, 4)
    w = LiteralSoftRTC().hooks(prefix(reference, H, 4)).weights[..., None]
    x = randn(2, H, A, seed=9)
    for k in range(N):  # as printed: blend, ask at the position's time, go on for h of all of the way
        x = w * reference + (1 - w) * x
        tau = w + (1 - w) * k / N
        x = x + torch.where(w < 1, (wanted - x) / (1 - tau) / N, 0)
    torch.testing.assert_close(made, x, rtol=0, atol=1e-12)
    inside = ((w > 0) & (w < 1)).expand_as(made)
    assert (made[inside] < -0.05).all()  # between 0, what is wanted, and 1, the reference, there is nothing below 0
    assert torch.equal(made[:, :4], reference[:, :4])


@pytest.mark.parametrize("strategy", [SoftRTC(), LiteralSoftRTC()])
def test_without_a_delay_it_is_plain_sampling_to_the_bit(strategy: Strategy) -> None:
    noise, reference = randn(2, H, A), randn(2, H, A, seed=1)
    hooks, x = strategy.hooks(prefix(reference, H, 0)), noise
    for k in range(N):
        x = x + 0.2 * torch.sin(3 * x + k / N)
    made = integrate(lambda x, t: torch.sin(3 * x + t), noise, hooks.weights, reference, steps=N, guide=hooks.guide)
    assert torch.equal(made, x)


def test_the_pair_is_legatos_with_a_window_for_the_ramp_and_times_of_the_positions() -> None:
    n = 2000
    actions = randn(n, H, A)
    data = Demonstrated(actions, torch.ones(n, H, dtype=torch.bool), actions, torch.zeros(n, dtype=torch.long))
    pair = SoftRTCObjective(max_delay=3, longest=5, decay=1.0).pair(data, torch.Generator().manual_seed(7))
    d = (pair.w == 1).sum(1)
    share = torch.bincount(d, minlength=4) / n
    law = torch.exp(-torch.arange(4.0))
    torch.testing.assert_close(share, law / law.sum(), rtol=0, atol=0.05)
    assert ((pair.w > 0).sum(1) == torch.minimum(2 * d, torch.tensor(5))).all()
    noise = torch.randn(actions.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    tau = (pair.t[:, None] + pair.w * (1 - pair.t[:, None]))[..., None]
    torch.testing.assert_close(pair.x, (1 - tau) * noise + tau * actions, rtol=0, atol=1e-12)
    torch.testing.assert_close(pair.target, (1 - pair.w[..., None]) * (actions - noise), rtol=0, atol=1e-12)
    assert torch.equal(pair.mask, pair.w < 1)


@pytest.mark.parametrize("factor", [0.5, float("inf"), float("nan")])
def test_a_window_within_the_delay_is_refused(factor: float) -> None:
    with pytest.raises(SpecError, match="delays"):
        SoftRTC(factor)
