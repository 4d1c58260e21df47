"""VLASH: windows that begin later than what is seen, and the state that is commanded by then."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from fakes.flow_oracles import randn
from fakes.point_mass import demonstrations, policy, recipe
from segue.data.windows import Windows
from segue.errors import SpecError
from segue.methods.methods import METHODS, objective
from segue.policies.predictors.predictor import CommandedState
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Demonstrated
from segue.strategies.under_delay.vlash import VLASHObjective
from segue.training.data import DemonstratedChunks
from segue.training.loop import train
from segue.training.recipe import train_policy

HORIZON = 6


def test_windows_begin_the_offset_later_and_are_told_the_last_action_before_them() -> None:
    episodes, made = demonstrations((12, 9)), policy(horizon=HORIZON, relative=True)
    chunks, generator = DemonstratedChunks(episodes, made), np.random.default_rng(0)
    index, offset = torch.arange(len(chunks)), torch.as_tensor(generator.integers(0, 5, len(chunks)))
    drawn, state = chunks.offset(index, offset, made)
    actions = made.units.to_robot(drawn.actions, state)
    for k, o in zip(index.tolist(), offset.tolist(), strict=True):
        end = 12 if k < 12 else 21
        wanted = [min(k + o + j, end - 1) for j in range(HORIZON)]
        np.testing.assert_allclose(actions[k], episodes.action[wanted], atol=1e-6)
        assert drawn.valid[k].tolist() == [k + o + j < end for j in range(HORIZON)]
        robot = episodes.observation[k, :2] if o == 0 else episodes.action[min(k + o - 1, end - 1)]
        assert state[k].tolist() == [*robot.tolist(), *episodes.observation[k, 2:].tolist()]


def test_without_an_offset_it_is_the_windows_of_plain_training_to_the_bit() -> None:
    episodes, made = demonstrations((12, 9)), policy(horizon=HORIZON, relative=True)
    chunks, index = DemonstratedChunks(episodes, made), torch.arange(21)
    drawn, state = chunks.offset(index, torch.zeros_like(index), made)
    plain = chunks.batch(index, made, (0, 0), torch.Generator())
    assert torch.equal(drawn.actions, plain.actions)
    assert torch.equal(drawn.valid, plain.valid)
    assert torch.equal(state, chunks.observation)


def test_what_is_told_in_training_is_what_the_method_tells_at_run_time() -> None:
    """Between two windows of one demonstration the plan commits what the training has seen being done."""
    episodes, made = demonstrations((12, 9)), policy(horizon=HORIZON, relative=True)
    chunks, index = DemonstratedChunks(episodes, made), torch.tensor([0, 3, 14])
    steps = np.array([0, 4, 2])
    _, state = chunks.offset(index, torch.as_tensor(steps), made)
    prefix = Windows(episodes, HORIZON).actions[index.numpy()]
    told = CommandedState.of(made).ahead(episodes.observation[index.numpy()], prefix, steps)
    np.testing.assert_array_equal(state.numpy(), told)
    assert METHODS["vlash"].predictor == "commanded"


def test_pairs_are_those_of_plain_flow_matching() -> None:
    actions, generators = randn(4, 6, 2), [torch.Generator().manual_seed(3) for _ in range(2)]
    batch = Demonstrated(actions, torch.ones(4, 6, dtype=torch.bool), actions, torch.zeros(4, dtype=torch.int64))
    one, other = (how.pair(batch, g) for how, g in zip((VLASHObjective(), FlowMatching()), generators, strict=True))
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.target, other.target)
    assert objective("vlash").max_offset == 12


@pytest.mark.parametrize("draws", [1, 3])
def test_a_stage_shows_the_network_commanded_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draws: int
) -> None:
    """Of six offsets one is none: a sixth of the robots is shown as measured, about, and all others as commanded."""
    episodes, made = demonstrations(), policy(horizon=HORIZON, relative=True)
    config = replace(recipe().training, updates=3, draws=draws)
    shown = []
    monkeypatch.setattr(made.units, "encode", lambda seen: shown.append(seen) or seen)
    train(made, episodes, VLASHObjective(5), config, run=tmp_path, title="", console=Console(quiet=True))
    commanded, measured = (
        {tuple(row) for row in each[:, :2].tolist()} for each in (episodes.action, episodes.observation)
    )
    positions = [tuple(row) for seen in shown for row in seen[:, :2].tolist()]
    assert len(positions) == 3 * config.batch
    assert set(positions) <= commanded | measured
    assert 0 < sum(each in measured - commanded for each in positions) < len(positions) / 2


def test_a_policy_that_does_not_say_what_its_actions_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--relative"):
        train_policy(demonstrations(), recipe(), "vlash", VLASHObjective(), run=tmp_path, console=Console(quiet=True))
    assert not list(tmp_path.iterdir())
