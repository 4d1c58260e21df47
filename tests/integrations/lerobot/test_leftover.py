"""What is left of a chunk, as LeRobot hands it over: for all robots or for each, padded with zeros."""

import pytest
import torch

from segue.errors import SpecError
from segue.integrations.lerobot.leftover import continuations_of

BATCH, HORIZON, ACTION = 3, 8, 2


@pytest.mark.parametrize("shape", [(5, ACTION), (1, 5, ACTION), (BATCH, 5, ACTION)])
def test_each_robot_continues_what_is_its_own(shape: tuple[int, ...]) -> None:
    left = torch.rand(shape) + 1
    left[..., 4:, :] = 0  # padding
    found = continuations_of(left, 9, batch=BATCH, horizon=HORIZON, action=ACTION)
    for each, rows in zip(found, left.expand(BATCH, 5, ACTION), strict=True):
        assert torch.equal(torch.from_numpy(each.prefix), rows[:4])
        assert (each.delay, each.execution_horizon) == (4, 4)


@pytest.mark.parametrize(
    "shape", [(ACTION,), (5, ACTION + 1), (BATCH - 1, 5, ACTION), (BATCH, 5, ACTION + 1), (1, BATCH, 5, ACTION)]
)
def test_a_leftover_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="a leftover of shape"):
        continuations_of(torch.ones(shape), 1, batch=BATCH, horizon=HORIZON, action=ACTION)
