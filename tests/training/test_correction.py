"""Training of corrections: what is learned is what a policy's own chunks lack of the demonstrations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from fakes.point_mass import OBSERVATION, demonstrations, policy
from segue.core.correction import Residual
from segue.core.dimensions import Dimensions
from segue.core.spec import PolicySpec
from segue.errors import CheckpointError
from segue.policies.normalizer import Normalizer
from segue.training.correction.residual import (
    CorrectionTraining,
    ResidualNetwork,
    lacking,
    load_correction,
    train_correction,
)
from segue.training.data import DemonstratedChunks

H = 8
SHORT = CorrectionTraining(updates=6, batch=32, warmup=1, refresh=3, checkpoint_every=4)
QUIET = Console(quiet=True)


def network(kinds: tuple[str, ...] = ()) -> ResidualNetwork:
    spec = PolicySpec(H, 0.1, OBSERVATION, ("a", "b"), action_kinds=Dimensions.of(*kinds))
    torch.manual_seed(0)
    made = ResidualNetwork(spec, 6, Normalizer(np.arange(4.0), np.full(4, 2)), Normalizer([1, 2], [0.5, 3]))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.mark.parametrize("kinds", [(), ("angle", "binary")])
def test_in_numpy_it_is_what_was_learned(kinds: tuple[str, ...]) -> None:
    made = network(kinds)
    states, actions, index = torch.randn(5, 4), torch.randn(5, 2) + 3, torch.arange(5)
    with torch.no_grad():
        wanted = made.spec.action_kinds.add(actions, made(states, actions, index) * made.action.scale)
    pairs = zip(states.numpy(), actions.numpy(), strict=True)
    found = [made.residual().corrected(state, action, k) for k, (state, action) in enumerate(pairs)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert all(each.dtype == np.float32 for each in found)


def test_the_loss_is_what_base_actions_lack_where_something_was_demonstrated() -> None:
    made, zeros = network(), torch.zeros(2, 2)
    torch.nn.init.zeros_(made.layers[-1].weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(made.layers[-1].bias)  # type: ignore[arg-type]
    wanted, there = torch.tensor([[0.5, 3.0], [9.0, 9.0]]), torch.tensor([1.0, 0.0])
    loss = lacking(made, torch.zeros(2, 4), zeros, torch.zeros(2, dtype=torch.int64), wanted, there)
    assert loss.item() == 1  # one scale in each dimension, and the second sample is beyond the end


def error(correction: Residual | None) -> float:
    """Mean distance of a policy's chunks to the demonstrations, their actions corrected when they are due."""
    made, episodes = policy(horizon=H), demonstrations()
    chunks = DemonstratedChunks(episodes, made)
    chunks.renew_own(made, 3, torch.Generator().manual_seed(5))
    assert chunks.own is not None
    total = []
    for frame in range(0, 20):
        for k in range(H):
            action = chunks.own[0, frame, k].numpy()
            if correction is not None:
                action = correction.corrected(episodes.observation[frame + k], action, k)
            total.append(np.abs(action - episodes.action[frame + k]).mean())
    return float(np.mean(total))


def test_it_learns_what_the_policy_lacks_and_begins_as_the_policy(tmp_path: Path) -> None:
    episodes, made = demonstrations(), policy(horizon=H)
    none = train_correction(
        episodes, made, replace(SHORT, updates=1, learning_rate=0), run=tmp_path / "0", console=QUIET
    )
    assert error(none) == error(None)
    longer = CorrectionTraining(updates=300, batch=64, warmup=10, ema=0.9, refresh=50, learning_rate=5e-3)
    learned = train_correction(episodes, made, longer, run=tmp_path / "1", width=32, console=QUIET)
    assert error(learned) < 0.2 * error(None)


def test_a_resumed_training_is_the_one_that_was_never_interrupted(tmp_path: Path) -> None:
    """Also where it stops between two renewals of the policy's chunks."""
    episodes, made = demonstrations(), policy(horizon=H)
    whole = train_correction(episodes, made, SHORT, run=tmp_path / "whole", console=QUIET)
    train_correction(episodes, made, SHORT, run=tmp_path / "part", console=QUIET)
    (tmp_path / "part" / "last").unlink()
    (tmp_path / "part" / "last").symlink_to("000004")
    again = train_correction(episodes, made, SHORT, run=tmp_path / "part", resume=True, console=QUIET)
    assert all(np.array_equal(one, other) for one, other in zip(whole.weights, again.weights, strict=True))
    loaded = load_correction(tmp_path / "part", made)
    assert all(np.array_equal(one, other) for one, other in zip(loaded.weights, again.weights, strict=True))
    np.testing.assert_array_equal(loaded.action, again.action)


def test_it_belongs_to_one_policy(tmp_path: Path) -> None:
    train_correction(demonstrations(), policy(horizon=H), SHORT, run=tmp_path, console=QUIET)
    with pytest.raises(CheckpointError, match="train-correction"):
        load_correction(tmp_path, policy(horizon=H, seed=1))
    with pytest.raises(CheckpointError, match="policy"):
        train_correction(demonstrations(), policy(horizon=H, seed=1), SHORT, run=tmp_path, resume=True, console=QUIET)
