"""Batches whose state is ahead of the picture: every frame's number says which frame it is."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segue.errors import DataError, SpecError
from segue.integrations.lerobot.policies.offsets import ahead_of_pictures, delta_timestamps
from segue.integrations.lerobot.policies.units import STATE
from segue.policies.predictors.predictor import CommandedState

HORIZON, MOST, LENGTH = 6, 4, 40
TOP = "observation.images.top"


def opened(index: Tensor) -> dict[str, Any]:
    """What a LeRobotDataset with `delta_timestamps` gives of one episode: frames beyond its end are the last, flagged.

    In frame k the state is (k, -k), the action 100 + k and the picture k.
    """
    batch: dict[str, Any] = {TOP: index.float()[:, None], "task": ["go"] * len(index)}
    for name, seconds in delta_timestamps(10, HORIZON, MOST).items():
        frames = index[:, None] + torch.tensor([round(10 * each) for each in seconds])
        batch[name + "_is_pad"] = frames >= LENGTH
        kept = frames.clamp(max=LENGTH - 1).float()
        batch[name] = torch.stack([kept, -kept], -1) if name == STATE else 100 + kept[..., None]
    return batch


def test_state_and_chunk_begin_at_the_offset_and_pictures_stay() -> None:
    index = torch.arange(LENGTH).repeat(30)
    batch = opened(index)
    ahead = ahead_of_pictures(batch, HORIZON, MOST, torch.Generator().manual_seed(0))
    offset = ahead["action"][:, 0, 0] - 100 - torch.minimum(index, torch.tensor(LENGTH - 1))
    valid = ~ahead["action_is_pad"]
    inside = valid[:, 0]
    assert {int(each) for each in offset[inside]} == set(range(MOST + 1))
    torch.testing.assert_close(ahead[STATE][inside, 0], (index + offset)[inside])
    torch.testing.assert_close(ahead[STATE][inside, 1], -(index + offset)[inside])
    expected = 100 + (index + offset)[:, None, None] + torch.arange(HORIZON)[:, None]
    torch.testing.assert_close(ahead["action"][valid], expected[valid])
    assert ahead["action"].shape == (len(index), HORIZON, 1)
    assert ahead[TOP] is batch[TOP]
    assert ahead["task"] is batch["task"]
    # All offsets alike, and wherever in the episode a sample lies: also at its end, where fewer actions count.
    counts = np.bincount(offset[index < LENGTH - MOST].int().numpy(), minlength=MOST + 1)
    n, p = counts.sum(), 1 / (MOST + 1)
    assert (np.abs(counts - n * p) < 5 * np.sqrt(n * p * (1 - p))).all()
    last = index == LENGTH - 1
    assert inside[last].any()
    assert not inside[last].all()
    assert valid[last].sum(1).max() == 1


def test_the_state_may_be_the_one_that_will_be_commanded() -> None:
    index = torch.arange(LENGTH - MOST - HORIZON)
    batch = opened(index)
    target, added = CommandedState({0: 1}), CommandedState({}, {0: 0})
    for commanded in (target, added):
        ahead = ahead_of_pictures(batch, HORIZON, MOST, torch.Generator().manual_seed(1), commanded)
        for row, k in enumerate(index.tolist()):
            o = round(ahead["action"][row, 0, 0].item()) - 100 - k
            executed = [100.0 + k + i for i in range(o)]
            if commanded is target:
                assert ahead[STATE][row].tolist() == [k, executed[-1] if o else -k]
            else:
                assert ahead[STATE][row].tolist() == [k + sum(executed), -k]


def test_without_an_offset_the_batch_is_that_of_the_present() -> None:
    index = torch.arange(20)
    batch = opened(index)
    now = {**batch, STATE: batch[STATE][:, :1], "action": batch["action"][:, :HORIZON]}
    now["action_is_pad"] = batch["action_is_pad"][:, :HORIZON]
    for commanded in (None, CommandedState({0: 1})):
        ahead = ahead_of_pictures(now, HORIZON, 0, torch.Generator(), commanded)
        assert torch.equal(ahead[STATE], batch[STATE][:, 0])
        assert torch.equal(ahead["action"], now["action"])
        assert torch.equal(ahead["action_is_pad"], now["action_is_pad"])


def test_batches_that_do_not_reach_as_far_say_how_to_open_the_data() -> None:
    batch = opened(torch.arange(4))
    with pytest.raises(DataError, match="delta_timestamps"):
        ahead_of_pictures({**batch, STATE: batch[STATE][:, 0]}, HORIZON, MOST, torch.Generator())
    with pytest.raises(DataError, match=rf"\(batch, {MOST + 1 + HORIZON}"):
        ahead_of_pictures({**batch, STATE: torch.zeros(4, MOST + 2, 2)}, HORIZON, MOST + 1, torch.Generator())
    with pytest.raises(DataError, match="without 'action'"):
        ahead_of_pictures({STATE: batch[STATE]}, HORIZON, MOST, torch.Generator())
    with pytest.raises(SpecError, match="0 or more"):
        ahead_of_pictures(batch, HORIZON, -1, torch.Generator())
