"""The loop that everything is trained in, on a module whose path is known: one weight on a slope."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from segue.errors import CheckpointError, SpecError, TrainingError
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining
from segue.training.config import TrainingConfig
from segue.training.fit import Descent, Run, average_into, averaged, fit, learning_rate

FORMAT = "segue/slope/1"
CONFIG = AutoencoderTraining(updates=6, batch=5, warmup=1, weight_decay=0.0, checkpoint_every=2)


DESCRIBED = {"training": "as it is"}


class Slope(nn.Module):
    """Has one weight, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.weight = nn.Parameter(torch.zeros(1))


def loss(module: Slope, slope: float) -> Tensor:
    return (slope * module.weight * module.frozen).sum()


def run(folder: Path, resume: bool) -> Run:
    return Run(folder, "slope", {"task": "down"}, FORMAT, resume, Console(quiet=True))


def fitted(folder: Path, slopes: dict[int, float] | None = None, resume: bool = False, **settings: Any) -> Slope:
    """Down a slope of 1, in some updates of another."""
    module = Slope()
    average = averaged(module)

    def batch_of(update: int, process: int, size: int) -> tuple[float]:
        assert (process, size) == (0, CONFIG.batch)
        return ((slopes or {}).get(update, 1.0),)

    fit(module, average, batch_of, loss, CONFIG, run(folder, resume), described=DESCRIBED, **settings)
    return average


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    schedule = replace(CONFIG, updates=100, warmup=10, learning_rate=2.0)
    rates = [learning_rate(update, schedule) for update in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[50] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.0)
    assert max(rates) < 2.0
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_adam_goes_down_a_slope_by_the_learning_rates() -> None:
    """A gradient that stays the same moves a weight by the learning rate, whatever its size (arXiv 1412.6980)."""
    module = Slope()
    descent = Descent(module, [module.weight], loss, CONFIG)
    for update in range(CONFIG.updates):
        before = module.weight.item()
        assert descent.step(update, 3.0) == pytest.approx(3 * before)
    assert module.weight.item() == pytest.approx(-sum(learning_rate(k, CONFIG) for k in range(CONFIG.updates)))
    assert module.frozen.item() == 1


@pytest.mark.parametrize(("clip", "first"), [(None, 30.0), (1.0, 1.0)])
def test_gradients_are_clipped(clip: float | None, first: float) -> None:
    module = Slope()
    Descent(module, [module.weight], loss, CONFIG, clip=clip).step(0, 30.0)
    assert module.weight.grad is not None
    assert module.weight.grad.item() == pytest.approx(first)


def test_the_average_follows_at_a_rate_that_rises_to_its_limit() -> None:
    module, average = Slope(), averaged(Slope())
    nn.init.ones_(module.weight)
    average_into(average, module, 0.5, 0)
    assert average.weight.item() == pytest.approx(0.9)  # decay 1 / 10
    average_into(average, module, 0.5, 1000)
    assert average.weight.item() == pytest.approx(0.95)
    assert not average.training
    assert not any(each.requires_grad for each in average.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_and_spoils_nothing(tmp_path: Path, value: float) -> None:
    whole = fitted(tmp_path / "whole")
    with pytest.raises(TrainingError, match="in update 3"):
        fitted(tmp_path / "broken", {3: value})
    assert checkpoint.load(tmp_path / "broken", FORMAT).info["update"] == 2
    assert torch.equal(fitted(tmp_path / "broken", resume=True).weight, whole.weight)


def test_a_loss_that_is_not_finite_changes_no_weight() -> None:
    module = Slope()
    descent = Descent(module, [module.weight], loss, CONFIG)
    descent.step(0, 1.0)
    before = module.weight.item()
    with pytest.raises(TrainingError):
        descent.step(1, float("nan"))
    assert module.weight.item() == before


def test_checkpoints_say_what_is_measured_by_then(tmp_path: Path) -> None:
    seen = iter(range(10))
    fitted(tmp_path, measured=lambda: {"held_out_error": next(seen)})
    told = {name: checkpoint.load(tmp_path / name, FORMAT).info for name in ("000002", "000004", "000006")}
    assert [each["held_out_error"] for each in told.values()] == [0, 1, 2]
    assert [each["update"] for each in told.values()] == [2, 4, 6]
    assert all((each["training"], each["task"]) == ("as it is", "down") for each in told.values())


def test_weights_that_are_nan_are_not_gone_on_with(tmp_path: Path) -> None:
    module = Slope()
    descent = Descent(module, [module.weight], loss, CONFIG)
    descent.step(0, 1.0)
    nn.init.constant_(module.weight, float("nan"))
    checkpoint.write(tmp_path, 2, module, {"format": FORMAT, "update": 2, **DESCRIBED}, {})
    with pytest.raises(CheckpointError, match="weight with a number that is NaN"):
        fitted(tmp_path, resume=True)


@pytest.mark.parametrize("made", [TrainingConfig(), AutoencoderTraining()], ids=lambda each: type(each).__name__)
def test_settings_below_the_least_are_refused(made: Any) -> None:
    for name, least in made.least.items():
        with pytest.raises(SpecError, match=f"{name} = {least - 1}\\n.*at least {least}\\n.*raise {name}"):
            replace(made, **{name: least - 1})
