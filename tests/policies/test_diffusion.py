"""Diffusion policies: the noise that is taken out is the noise that was put in."""

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fakes.point_mass import demonstrations, recipe
from segue.errors import MissingExtraError, SpecError, UnknownNameError
from segue.policies import diffusion
from segue.policies.diffusion import TRAINING_STEPS, Denoising, DiffusionPolicy, flow_time, scheduler
from segue.strategies.blend import CrossFade, TemporalEnsembling
from segue.strategies.hooks import Strategy, nothing_known
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated
from segue.strategies.rtc import RTC
from segue.strategies.training_time_rtc import TrainingTimeRTC

pytest.importorskip("diffusers")
HORIZON = 8


def policy(**settings: Any) -> DiffusionPolicy:
    torch.manual_seed(0)
    made = recipe(horizon=HORIZON, family="diffusion", **settings).policy(demonstrations())
    assert isinstance(made, DiffusionPolicy)
    return made.eval()


def remaining(step: Tensor) -> Tensor:
    """``abar`` of the squared cosine, from its definition (arXiv 2102.09672, eq. 17), betas cut at 0.999."""

    def bar(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - bar((k + 1) / TRAINING_STEPS) / bar(k / TRAINING_STEPS), 0.999) for k in range(TRAINING_STEPS)]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)[step].float()[:, None, None]


class Oracle(nn.Module):
    """The exact ``E[noise | x]`` or ``E[A | x]`` for chunks with independent elements ``A ~ N(mean, spread^2)``."""

    def __init__(self, mean: Tensor, spread: float, predicts: str = "noise") -> None:
        super().__init__()
        self.mean, self.spread, self.predicts = mean, spread, predicts

    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        assert not w.any()
        bar = remaining(((1 - t) * TRAINING_STEPS - 1).round().long())
        surprise = (x - bar.sqrt() * self.mean) / (bar * self.spread**2 + 1 - bar)
        if self.predicts == "action":
            return self.mean + bar.sqrt() * self.spread**2 * surprise
        return (1 - bar).sqrt() * surprise


def test_the_noise_schedule_is_the_squared_cosine() -> None:
    steps = torch.arange(TRAINING_STEPS)
    torch.testing.assert_close(scheduler().alphas_cumprod, remaining(steps)[:, 0, 0], rtol=1e-3, atol=1e-6)


def test_networks_are_told_zero_for_noise() -> None:
    t = flow_time(torch.arange(TRAINING_STEPS))
    assert t[-1] == 0
    assert (t.diff() < 0).all()
    assert 0.98 < t[0] < 1


both = pytest.mark.parametrize("predicts", ["noise", "action"])


@both
@pytest.mark.parametrize("steps", [4, 10, TRAINING_STEPS])
def test_with_the_exact_network_the_data_comes_back(steps: int, predicts: str) -> None:
    """One possible chunk: any noise ends there, in any number of steps."""
    made, noise = policy(predicts=predicts), torch.randn(3, HORIZON, 2)
    made.bound.fill_(10)
    data = torch.randn(3, HORIZON, 2)
    made.network = Oracle(data, 0.0, predicts)
    chunk = made.continue_chunk(Naive(), torch.zeros(3, 4), nothing_known(noise), noise, steps)
    torch.testing.assert_close(chunk, data, atol=1e-4, rtol=0)


@both
def test_gaussian_data_comes_back_as_its_own_distribution(predicts: str) -> None:
    """Deterministic sampling carries the noise to ``mean + spread noise``, quantile by quantile."""
    made, noise = policy(predicts=predicts), torch.randn(64, HORIZON, 2)
    made.bound.fill_(10)
    made.network = Oracle(torch.full((HORIZON, 2), 0.4), 0.5, predicts)
    chunk = made.continue_chunk(Naive(), torch.zeros(64, 4), nothing_known(noise), noise, TRAINING_STEPS)
    torch.testing.assert_close(chunk, 0.4 + 0.5 * noise, atol=0.06, rtol=0.03)


def test_nothing_beyond_the_demonstrated_range_is_sampled() -> None:
    made, noise = policy(), 3 * torch.randn(16, HORIZON, 2)
    assert 1 < made.bound < 10
    chunk = made.continue_chunk(Naive(), torch.zeros(16, 4), nothing_known(noise), noise, 10)
    assert chunk.abs().max() <= made.bound * (1 + 1e-5)


def test_sampling_depends_on_the_noise_alone() -> None:
    made, noise = policy(), torch.randn(2, HORIZON, 2)
    observation, prefix = torch.rand(2, 4), nothing_known(noise)
    one, other = (made.continue_chunk(Naive(), observation, prefix, noise, 5) for _ in range(2))
    assert torch.equal(one, other)


def test_a_training_pair_is_on_the_path_and_asks_for_its_noise() -> None:
    chunk, generator = torch.randn(500, HORIZON, 2), torch.Generator().manual_seed(0)
    valid = torch.rand(500, HORIZON) < 0.8
    batch = Demonstrated(chunk, valid, chunk, torch.zeros(500, dtype=torch.int64))
    pair = Denoising().pair(batch, generator)
    bar = remaining(((1 - pair.t) * TRAINING_STEPS - 1).round().long())
    torch.testing.assert_close(pair.x, bar.sqrt() * chunk + (1 - bar).sqrt() * pair.target, atol=1e-3, rtol=0)
    assert torch.equal(pair.mask, valid)
    assert not pair.w.any()
    assert pair.target.std() == pytest.approx(1, abs=0.03)
    assert len(pair.t.unique()) > 0.9 * TRAINING_STEPS


@both
def test_the_exact_network_has_the_least_loss(predicts: str) -> None:
    made, chunk = policy(predicts=predicts), 0.5 * torch.randn(500, HORIZON, 2)
    batch = Demonstrated(chunk, torch.ones(500, HORIZON).bool(), chunk, torch.zeros(500, dtype=torch.int64))
    pair, context = Denoising().pair(batch, torch.Generator().manual_seed(0)), torch.zeros(500, 4)
    losses = []
    for spread in (0.25, 0.5, 1.0):
        made.network = Oracle(torch.zeros(HORIZON, 2), spread, predicts)
        losses.append(made.loss(pair, context).item())
    assert losses[1] < min(losses[0], losses[2])


def test_a_network_that_knows_the_actions_has_no_loss() -> None:
    made, chunk = policy(predicts="action"), torch.randn(1, HORIZON, 2).expand(300, -1, -1)
    batch = Demonstrated(chunk, torch.ones(300, HORIZON).bool(), chunk, torch.zeros(300, dtype=torch.int64))
    made.network = Oracle(chunk[:1], 0.0, "action")
    assert made.loss(Denoising().pair(batch, torch.Generator().manual_seed(0)), torch.zeros(300, 4)) < 1e-6


def test_a_network_says_noise_or_actions() -> None:
    with pytest.raises(UnknownNameError, match="action, noise"):
        policy(predicts="velocity")


@pytest.mark.parametrize("strategy", [Legato(), RTC(), TrainingTimeRTC()])
def test_strategies_that_steer_a_velocity_are_refused(strategy: Strategy) -> None:
    noise = torch.randn(1, HORIZON, 2)
    prefix = nothing_known(noise)
    known = type(prefix)(noise, prefix.known + 5, prefix.delay + 2, prefix.votes)
    with pytest.raises(SpecError, match="--family flow"):
        policy().continue_chunk(strategy, torch.zeros(1, 4), known, noise, 5)


@pytest.mark.parametrize("strategy", [CrossFade(), TemporalEnsembling()])
def test_finished_chunks_can_be_blended(strategy: Strategy) -> None:
    made, noise = policy(), torch.randn(1, HORIZON, 2)
    prefix = nothing_known(noise)
    known = type(prefix)(noise, prefix.known + 5, prefix.delay + 2, prefix.votes + 1)
    alone = made.continue_chunk(Naive(), torch.zeros(1, 4), known, noise, 5)
    blended = made.continue_chunk(strategy, torch.zeros(1, 4), known, noise, 5)
    assert torch.equal(blended[:, 5:], alone[:, 5:])
    assert not torch.allclose(blended[:, :5], alone[:, :5])


@pytest.mark.parametrize("steps", [0, TRAINING_STEPS + 1])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    noise = torch.randn(1, HORIZON, 2)
    with pytest.raises(SpecError, match=f"{steps} denoising steps"):
        policy().continue_chunk(Naive(), torch.zeros(1, 4), nothing_known(noise), noise, steps)


@pytest.mark.parametrize("network", ["mixer", "unet", "transformer"])
def test_any_network_serves(network: str) -> None:
    made, noise = policy(network=network, network_settings={}), torch.randn(2, HORIZON, 2)
    chunk = made.continue_chunk(Naive(), torch.zeros(2, 4), nothing_known(noise), noise, 2)
    assert chunk.shape == noise.shape
    assert torch.isfinite(chunk).all()


def test_a_missing_package_is_known_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers.schedulers.scheduling_ddim", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[diffusion\]'"):
        policy()
    assert diffusion.TRAINING_STEPS == 100
