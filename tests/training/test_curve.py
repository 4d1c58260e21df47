"""What is written and said while a training goes on: the curve, what is held out, the time left, trackers."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import LoggerType
from rich.console import Console

from fakes.point_mass import demonstrations, recipe
from segue.core.dimensions import Dimensions
from segue.errors import CheckpointError, DataError, MissingExtraError, SpecError, UnknownNameError
from segue.policies.flow import FlowPolicy
from segue.strategies.naive import FlowMatching
from segue.training import checkpoint, fit
from segue.training.config import Conduct
from segue.training.curve import COLUMNS, NAME, Curve, read
from segue.training.held_out import column, measured
from segue.training.progress import duration, training_progress
from segue.training.recipe import FIRST_STAGE, train_policy

QUIET = Console(quiet=True)
PLAIN = FlowMatching()


def rows(folder: Path) -> list[int]:
    return [int(row["update"]) for row in read(folder)]


def trained(run: Path, updates: int = 8, lengths: tuple[int, ...] = (30, 24, 40), **conduct: Any) -> Any:
    resume = conduct.pop("resume", True)
    return train_policy(
        demonstrations(lengths), recipe(updates), "plain", PLAIN, run=run, console=QUIET, resume=resume,
        conduct=Conduct(**conduct),
    )  # fmt: skip


@pytest.fixture
def every_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows every two updates."""
    monkeypatch.setattr(fit, "SHOW_EVERY", 2)


def test_a_curve_goes_on_without_doubles_and_its_seconds_add_up(tmp_path: Path) -> None:
    curve = Curve(tmp_path, 0)
    for update in (100, 200, 300):
        curve.add(update, 1 / update, {}, update / 10)
    with (tmp_path / NAME).open("a") as file:
        file.write("400,0.1")  # killed while it wrote
    resumed = Curve(tmp_path, 200)
    resumed.add(300, 0.5, {}, 7.0)
    assert rows(tmp_path) == [100, 200, 300]
    assert [row["seconds"] for row in read(tmp_path)] == ["10.00", "20.00", "27.00"]
    assert list(read(tmp_path)[0]) == list(COLUMNS)
    Curve(tmp_path, 0).add(100, 0.5, {"error": 2.0, "error of a, b [mm]": 3.0}, 1.0)
    [row] = read(tmp_path)
    assert (row["update"], row["error"], row["error of a, b [mm]"]) == ("100", "2", "3")


@pytest.mark.usefixtures("every_two")
def test_every_stage_has_a_curve_and_a_resumed_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FlowPolicy.loss
    calls: Iterator[int] = iter(range(100))

    def loss(self: FlowPolicy, *args: Any) -> torch.Tensor:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(FlowPolicy, "loss", loss)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path)
    assert rows(tmp_path / FIRST_STAGE) == [2]
    trained(tmp_path)
    assert rows(tmp_path / FIRST_STAGE) == rows(tmp_path / "plain") == [2, 4]
    assert all(row["held-out loss"] == row["error"] == "" for row in read(tmp_path / "plain"))
    trained(tmp_path)  # is done already
    assert rows(tmp_path / "plain") == [2, 4]


@pytest.mark.usefixtures("every_two")
def test_held_out_episodes_are_measured_and_change_nothing_else(tmp_path: Path) -> None:
    episodes = demonstrations()
    learned, _ = episodes.split(0.4, 0)
    policy = trained(tmp_path / "held", held_out=0.4)
    alone = train_policy(learned, recipe(8), "plain", PLAIN, run=tmp_path / "alone", console=QUIET)
    for one, other in zip(policy.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    last = read(tmp_path / "held" / "plain")[-1]
    assert list(last) == [*COLUMNS, "error of target x", "error of target y"]
    assert all(float(value) > 0 for name, value in last.items() if name != "seconds")
    assert checkpoint.load(tmp_path / "held" / "plain").info["conduct"] == {"held_out": 0.4}
    assert "conduct" not in checkpoint.load(tmp_path / "alone" / "plain").info
    with pytest.raises(CheckpointError, match="conduct"):
        trained(tmp_path / "held")
    with pytest.raises(DataError, match="held out"):
        trained(tmp_path / "one", lengths=(30,), held_out=0.1)


def test_the_error_is_that_of_the_actions_in_their_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that answers what was demonstrated, but for 0.25 in one dimension and a whole turn in the other."""
    kinds = Dimensions.of("linear:mm", "angle")
    episodes = replace(demonstrations(), action_kinds=kinds, state_of_action=(None, None))
    torch.manual_seed(0)
    policy = recipe().policy(episodes)
    measure = measured(policy, episodes, PLAIN, 0)
    from segue.data.windows import Windows

    wanted = Windows(episodes, 8).actions
    answer = torch.as_tensor(wanted + np.array([0.25, 2 * np.pi], np.float32))
    monkeypatch.setattr(type(policy.units), "to_robot", lambda *_: answer)
    said = measure()
    assert said["error of target x [mm]"] == pytest.approx(0.25, abs=1e-5)
    assert said["error of target y [rad]"] == pytest.approx(0, abs=1e-5)
    assert said["error"] == pytest.approx(0.125 / episodes.action[:, 0].std(), abs=1e-4)
    assert measure() == said
    assert column("x", "") == "error of x"


def test_parts_of_a_batch_have_the_gradient_of_the_whole(tmp_path: Path) -> None:
    """Down a slope, whose gradient is the mean over the batch: the mean over the parts is the same."""
    seen = []

    class Slope(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

    def batch_of(update: int, process: int, size: int) -> tuple[Any, ...]:
        seen.append((update, process, size))
        return (torch.arange(16.0)[process * size : (process + 1) * size],)

    def slope(module: Slope, batch: torch.Tensor) -> torch.Tensor:
        return (module.weight * batch).mean()

    gradients = {}
    for parts in (1, 4):
        module = Slope()
        run = fit.Run(tmp_path / str(parts), "slope", {}, "slope/1", False, QUIET, Conduct(accumulate=parts))
        settings = replace(recipe().training, updates=1)
        fit.fit(module, fit.averaged(module), batch_of, slope, settings, run, described={})
        assert module.weight.grad is not None
        gradients[parts] = module.weight.grad.item()
    assert gradients[4] == pytest.approx(gradients[1]) == pytest.approx(7.5)
    assert seen[1:] == [(0, part, 4) for part in range(4)]


def test_bf16_rounds_what_is_multiplied_and_keeps_the_weights_whole(tmp_path: Path) -> None:
    """1 + 2^-12 is 1 in bfloat16, which has 8 bits: the product is exact in single precision alone."""
    layer, seen = torch.nn.Linear(1, 1, bias=False), {}
    for bf16 in (False, True):
        torch.nn.init.ones_(layer.weight)
        descent = fit.Descent(layer, layer.parameters(), lambda m, x: m(x).sum(), recipe().training, bf16=bf16)
        seen[bf16] = descent.step(0, torch.full((1, 1), 1 + 2**-12))
        assert layer.weight.dtype == torch.float32
    assert seen == {False: 1 + 2**-12, True: 1}
    trained(tmp_path, updates=2, precision="bf16")
    assert checkpoint.load(tmp_path / "plain").info["conduct"] == {"precision": "bf16"}


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for wrong in (lambda: Conduct(held_out=1.0), lambda: Conduct(held_out=-0.1), lambda: Conduct(accumulate=0)):
        with pytest.raises(SpecError):
            wrong()
    with pytest.raises(UnknownNameError, match="bf16, float32"):
        Conduct(precision="fp8")
    with pytest.raises(UnknownNameError, match="did you mean 'tensorboard'"):
        Conduct(track="tensorbord")
    with pytest.raises(SpecError, match="--device cpu"):
        trained(tmp_path, device="gpu9")


def test_how_long_all_takes_is_said_from_the_first_seconds_on() -> None:
    """Two seconds an update, the first one ten, and 100 more in a stage behind this one of 200."""
    screen, now = StringIO(), [0.0]
    console = Console(file=screen, width=200)
    with training_progress("stage", 200, 8, console, later=100, clock=lambda: now[0]) as show:
        for update, seconds in enumerate([10, 2, 2, 2], 1):
            now[0] += seconds
            show(update, 0.5)
        said = screen.getvalue()
        assert said.splitlines() == ["stage: about 7 min left for 197 updates, 10 min with those that follow"]
        for update in range(5, 41):
            now[0] += 2
            show(update, 0.5)
    lines = screen.getvalue().splitlines()[1:]
    assert lines[0] == "stage: update 26/200, loss 0.5000, 4 samples/s, 348 s left"  # a minute without a line
    assert len(lines) == 1
    assert [duration(each) for each in (99, 100, 5999, 9000)] == ["99 s", "2 min", "100 min", "2.5 h"]


@pytest.mark.usefixtures("every_two")
def test_a_tracker_is_told_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text(
        "rows = []\n"
        "class _Run:\n"
        "    def log(self, row, step=None, **_): rows.append((step, row))\n"
        "    def finish(self): rows.append('closed')\n"
        "def init(**said): rows.append(said); return _Run()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(
        "accelerate.tracking._available_trackers", [LoggerType.WANDB]
    )  # what accelerate found when imported
    trained(tmp_path / "run", updates=4, track="wandb")
    told = sys.modules["wandb"].rows  # type: ignore[attr-defined]
    assert [each[0] for each in told if isinstance(each, tuple)] == [2, 2]  # of both stages
    assert told[0]["project"] == "segue"
    assert told.count("closed") == 2
    sys.modules.pop("wandb")


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.training.curve.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'\.\[tensorboard\]'"):
        trained(tmp_path, track="tensorboard")
