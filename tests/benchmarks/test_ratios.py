"""The timing script: everybody takes the same number of turns, and everything that it times runs."""

import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from segue.data.bundled import adroit_door
from segue.policies.families import config_for, policy_for
from segue.policies.flow import FlowPolicy
from segue.training.config import TrainingConfig

RATIOS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "ratios.py"))


def test_each_takes_its_turn_in_every_round() -> None:
    calls: Counter[str] = Counter()
    rounds, repeats = 4, 3
    work = {name: lambda name=name: calls.update([name]) for name in "abc"}
    times = RATIOS["measure"](work, rounds, repeats)
    assert calls == dict.fromkeys("abc", (rounds + 1) * repeats)  # and once to warm up
    assert all(times[name].shape == (rounds,) for name in "abc")


@pytest.fixture(scope="module")
def small() -> FlowPolicy:
    torch.manual_seed(0)
    episodes = adroit_door()
    config = config_for("flow", episodes, horizon=32, network_settings={"width": 8, "depth": 1})
    made = policy_for(config, episodes)
    assert isinstance(made, FlowPolicy)
    return made


def test_everything_that_is_timed_runs(small: FlowPolicy) -> None:
    episodes = adroit_door()
    for sample in RATIOS["sampling"](small, episodes, 2).values():
        assert sample().shape == (2, 32, 28)
    sizes = {label: refine().shape for label, refine in RATIOS["refining"](small, 2).items()}
    assert sizes == {"convolutional": (2, 32, 28), "global": (2, 32, 28), "published size": (2, 48, 10)}
    for update in RATIOS["training"](small, episodes, TrainingConfig(batch=4)).values():
        update()
    assert all(torch.isfinite(parameter).all() for parameter in small.parameters())


def test_the_ratio_is_the_median_over_the_rounds() -> None:
    shown = RATIOS["new_table"]("title", "time")
    RATIOS["row"](shown, "twice", np.array([2.0, 4.0, 60.0]), np.array([1.0, 2.0, 3.0]))
    assert list(shown.columns[1].cells) == ["2.00"]
