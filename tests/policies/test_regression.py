"""Regression policies: what the heads can say, what rounding costs, and that a linear map is learned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fakes.point_mass import demonstrations, recipe
from segue.errors import SpecError, UnknownNameError
from segue.policies.heads import Bins, Continuous, build_head
from segue.policies.regression import Regression, RegressionPolicy
from segue.strategies.hooks import Prefix, Strategy, nothing_known
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated
from segue.strategies.rtc import RTC
from segue.strategies.training_time_rtc import TrainingTimeRTC
from segue.training.config import TrainingConfig
from segue.training.recipe import train_policy

HORIZON = 8


def policy(**family_settings: Any) -> RegressionPolicy:
    torch.manual_seed(0)
    made = recipe(horizon=HORIZON, family="regression", family_settings=family_settings).policy(demonstrations())
    assert isinstance(made, RegressionPolicy)
    return made.eval()


def sample(made: RegressionPolicy, observation: torch.Tensor, strategy: Strategy | None = None) -> torch.Tensor:
    noise = torch.randn(len(observation), *made.units.chunk_shape)
    with torch.no_grad():
        return made.continue_chunk(strategy or Naive(), observation, nothing_known(noise), noise, 1)


def bins(low: float, high: float, count: int) -> Bins:
    head = Bins(1, count)
    head.fit(torch.tensor([[[low]], [[high]]]))
    return head


@given(low=st.floats(-5, 5), extent=st.floats(0.01, 10), count=st.integers(2, 300), share=st.floats(0, 1))
def test_an_action_in_range_is_at_most_half_a_bin_from_its_token(
    low: float, extent: float, count: int, share: float
) -> None:
    head = bins(low, low + extent, count)
    action = head.low + share * (head.high - head.low)
    error = (head.centres(head.tokens(action)) - action).abs()
    assert error.item() <= 0.5 * head.bin_width.item() + 1e-5


@given(low=st.floats(-5, 5), extent=st.floats(0.1, 10), count=st.integers(2, 300))
def test_the_worst_error_is_half_a_bin(low: float, extent: float, count: int) -> None:
    """The ends of the range are as far from a centre as an action can be."""
    head = bins(low, low + extent, count)
    for end in (head.low, head.high):
        error = (head.centres(head.tokens(end)) - end).abs()
        assert error.item() == pytest.approx(0.5 * extent / count, abs=1e-5)


def test_centres_are_their_own_tokens_and_beyond_the_range_is_the_last_bin() -> None:
    head = bins(-1, 1, 256)
    tokens = torch.arange(256)[:, None]
    assert torch.equal(head.tokens(head.centres(tokens)), tokens)
    assert head.tokens(torch.tensor([[-9.0], [9.0]])).flatten().tolist() == [0, 255]


def test_a_dimension_that_never_moves_keeps_its_value_to_half_a_bin() -> None:
    head = Bins(2, 256)
    head.fit(torch.stack((torch.full((5, 3), 0.7), torch.rand(5, 3)), -1))
    action = torch.tensor([[0.7, 0.5]])
    assert ((head.centres(head.tokens(action)) - action).abs() <= 0.5 * head.bin_width + 1e-6).all()


def test_the_likeliest_bin_wins_and_certainty_has_no_loss() -> None:
    head = Bins(3, 16)
    target = head.centres(torch.randint(0, 16, (2, 5, 3)))
    scores = 100.0 * torch.nn.functional.one_hot(head.tokens(target), 16)
    output = scores.flatten(-2)
    torch.testing.assert_close(head.chunk(output), target)
    assert head.error(output, target).max() < 1e-6
    assert head.error(torch.zeros(2, 5, 48), target).mean().item() == pytest.approx(np.log(16), rel=1e-5)


def test_the_continuous_head_is_the_absolute_error() -> None:
    head, output, target = Continuous(2), torch.randn(2, 5, 2), torch.randn(2, 5, 2)
    assert torch.equal(head.chunk(output), output)
    assert torch.equal(head.error(output, target), (output - target).abs())


def test_a_policy_with_bins_says_centres_of_the_demonstrated_range() -> None:
    made = policy(head="bins", head_settings={"bins": 16})
    observation = torch.rand(4, 4)
    chunk = sample(made, observation)
    assert isinstance(made.head, Bins)
    torch.testing.assert_close(made.head.centres(made.head.tokens(chunk)), chunk)
    units = made.units.to_policy(torch.as_tensor(demonstrations().action)[:, None], torch.zeros(94, 4))
    torch.testing.assert_close(units.flatten(0, 1).amin(0), made.head.low)


def test_half_precision_rounds_to_eight_bits() -> None:
    """Relative error up to 2^-8, and more than that of single precision."""
    observation = torch.rand(64, 4)
    exact, rounded = sample(policy(), observation), sample(policy(output_dtype="bfloat16"), observation)
    assert rounded.dtype == torch.float32
    relative = ((rounded - exact) / exact).abs()
    assert relative.max() <= 2**-8
    assert relative.max() > 2**-10
    assert torch.equal(rounded.to(torch.bfloat16).float(), rounded)


def test_rounding_alone_makes_jerk() -> None:
    """A straight line through values of half precision is a staircase: third differences of up to 8 half steps."""
    line = torch.linspace(1.0, 1.9, 200)
    third = line.to(torch.bfloat16).float().diff(n=3).abs().max()
    assert line.diff(n=3).abs().max() < 1e-6
    assert 2**-8 < third <= 8 * 2**-8


def test_there_is_nothing_random_in_a_chunk() -> None:
    made, observation = policy(), torch.rand(3, 4)
    assert torch.equal(sample(made, observation), sample(made, observation))
    assert made.denoising_steps == 1


@pytest.mark.parametrize("strategy", [Legato(), RTC(), TrainingTimeRTC()])
def test_strategies_that_steer_a_velocity_are_refused(strategy: Strategy) -> None:
    noise = torch.randn(1, HORIZON, 2)
    known = Prefix(noise, torch.tensor([5]), torch.tensor([2]), torch.ones((1, HORIZON), dtype=torch.int64))
    with pytest.raises(SpecError, match="on a regression policy"):
        policy().continue_chunk(strategy, torch.zeros(1, 4), known, noise, 1)


def test_positions_beyond_the_episode_do_not_count() -> None:
    made, chunk, valid = policy(), torch.randn(4, HORIZON, 2), torch.rand(4, HORIZON) < 0.6
    elsewhere = torch.where(valid[..., None], chunk, chunk + 100)
    losses = [
        made.loss(Regression().pair(Demonstrated(each, valid, each, torch.zeros(4).long()), torch.Generator()),
                  torch.zeros(4, 4))
        for each in (chunk, elsewhere)
    ]  # fmt: skip
    assert torch.equal(*losses)


@pytest.mark.parametrize(("head", "settings", "worst"), [("continuous", {}, 0.1), ("bins", {"bins": 64}, 0.15)])
def test_a_linear_map_is_learned(tmp_path: Path, head: str, settings: dict[str, int], worst: float) -> None:
    """The point mass goes straight to its goal: its chunks are linear in the observation along each way."""
    training = TrainingConfig(batch=64, learning_rate=3e-3, warmup=10, observation_noise=0.0, ema=0.9)
    made = replace(recipe(300, 4, family="regression"), training=training, network_settings={"width": 64, "depth": 2})
    made = replace(made, family_settings={"head": head, "head_settings": settings})
    episodes = demonstrations()
    trained = train_policy(episodes, made, "regression", Regression(), run=tmp_path, console=Console(quiet=True))
    assert isinstance(trained, RegressionPolicy)
    assert [path.name for path in tmp_path.iterdir()] == ["regression"]
    said = trained.units.to_robot(sample(trained, torch.as_tensor(episodes.observation)), torch.zeros(94, 4))[:, 0]
    error = (said - torch.as_tensor(episodes.action)).abs() / torch.as_tensor(episodes.action.std(0))
    assert error.mean() < worst


def test_unknown_heads_and_settings_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'bins'"):
        policy(head="binns")
    with pytest.raises(UnknownNameError, match="bfloat16"):
        policy(output_dtype="float16")
    with pytest.raises(SpecError, match="settings of head 'continuous'"):
        build_head("continuous", {"bins": 3}, 2)
    with pytest.raises(SpecError, match="1 bins"):
        build_head("bins", {"bins": 1}, 2)
    with pytest.raises(SpecError, match="settings of a regression policy"):
        policy(predicts="velocity")
