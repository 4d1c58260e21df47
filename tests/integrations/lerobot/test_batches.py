"""LeRobot's batches as ours: what was seen when, what counts, and the policy's own chunks of before."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from segue.errors import SpecError
from segue.integrations.lerobot.batches import Seen, demonstrated_in, seen_in, with_own
from segue.policies.policy import Policy

HORIZON, ELAPSED = 8, (6, 3)


class Counting:
    """In a chunk for the observation (k,), action i is k + i, ten times as large in policy units."""

    units = SimpleNamespace(
        chunk_shape=(HORIZON, 1),
        stride=1,
        to_policy=lambda actions, observation: 10 * actions,
        to_robot=lambda chunk, observation: chunk / 10,
    )

    def continue_chunk(self, strategy: Any, observation: Tensor, prefix: Any, noise: Tensor, steps: int) -> Tensor:
        return 10 * (observation[:, None] + torch.arange(HORIZON)[:, None])


COUNTING = cast(Policy, Counting())


def test_vectors_stand_one_after_the_other_and_the_last_frame_is_now() -> None:
    batch = {
        "observation.state": torch.arange(12.0).view(2, 3, 2),
        "observation.environment_state": torch.arange(100.0, 106.0).view(2, 3, 1),
        "observation.state_is_pad": torch.tensor([[True, False, False], [False, False, False]]),
    }
    seen = seen_in(batch, ["observation.state", "observation.environment_state"])
    assert seen.now.tolist() == [[4, 5, 102], [10, 11, 105]]
    assert seen.frames[0, 0].tolist() == [0, 1, 100]
    assert seen.valid.tolist() == [[False, True, True], [True, True, True]]
    now = {key: each[:, -1] for key, each in batch.items()}
    assert torch.equal(seen_in(now, ["observation.state", "observation.environment_state"]).now, seen.now)
    with pytest.raises(SpecError, match="without observation"):
        seen_in({"observation.state": torch.zeros(1, 2)}, ["observation.state", "observation.environment_state"])


def test_what_lies_beyond_the_episode_does_not_count() -> None:
    padded = torch.tensor([[False] * 5 + [True] * 3, [False] * 8])
    seen = Seen(torch.zeros(2, 1, 1), torch.ones(2, 1, dtype=torch.bool))
    batch = demonstrated_in({"action": torch.ones(2, HORIZON, 1), "action_is_pad": padded}, COUNTING, seen)
    assert torch.equal(batch.valid, ~padded)
    assert torch.equal(batch.actions, torch.full((2, HORIZON, 1), 10.0))
    assert batch.own_known.tolist() == [0, 0]


def test_own_chunks_are_those_of_then_at_the_positions_of_now() -> None:
    size, now = 64, 50.0
    frames = torch.tensor([*(now - e for e in ELAPSED), now])[None, :, None].expand(size, -1, -1)
    valid = torch.ones(size, len(ELAPSED) + 1, dtype=torch.bool)
    valid[: size // 2, 0] = False  # the older one lies before the first frame
    seen = Seen(frames, valid)
    batch = demonstrated_in({"action": torch.zeros(size, HORIZON, 1)}, COUNTING, seen)
    batch = with_own(batch, COUNTING, seen, ELAPSED, 1, torch.Generator().manual_seed(0))
    known = batch.own_known.tolist()
    assert set(known[: size // 2]) == {0, HORIZON - 3}
    assert set(known[size // 2 :]) == {HORIZON - 6, HORIZON - 3}
    for own, reach in zip(batch.own[..., 0].tolist(), known, strict=True):
        # a chunk of the same motion says the same about a step, whenever it was made, as far as it reaches
        assert own[:reach] == [10 * (now + i) for i in range(reach)]
        assert reach == 0 or own[reach:] == [own[reach - 1]] * (HORIZON - reach)
