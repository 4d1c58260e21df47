"""What a policy of Segue owes to LeRobot's engine for real-time chunking, whoever plays LeRobot.

queue  -- left over --> cut or padded to a fixed length -- predict_action_chunk --> merged again
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.core.chunk import Continuation
from segue.policies.chunk_policy import ContinuingPolicy
from segue.strategies.legato import Legato

STATE, ACTION, HORIZON = 4, 2, 16
LENGTH = 20
"""Of the leftover as the engine passes it, more than is ever left."""

CutOrPadded = Callable[[Tensor, int], Tensor]


def observation(seed: int) -> dict[str, Tensor]:
    return {"observation.state": torch.randn(1, STATE, generator=torch.Generator().manual_seed(seed))}


def training_batch(seed: int, size: int = 8, seen: int = 5) -> dict[str, Tensor]:
    """A batch as LeRobot makes it: earlier observations, and flags for what lies outside of the episode."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "observation.state": torch.randn(size, seen, STATE, generator=generator),
        "observation.state_is_pad": torch.rand(size, seen, generator=generator) < 0.3,
        "action": torch.randn(size, HORIZON, ACTION, generator=generator),
        "action_is_pad": torch.arange(HORIZON).expand(size, -1) >= torch.tensor([HORIZON, 5] * (size // 2))[:, None],
    }


def train(policy: Any, updates: int, batches: int = 1000) -> list[float]:
    """Steps as LeRobot's loop makes them, over so many batches again and again; the losses."""
    optimizer = torch.optim.AdamW(policy.get_optim_params(), 1e-3)
    losses = []
    for update in range(updates):
        policy.train()
        loss, said = policy.forward(training_batch(update % batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        policy.update()
        assert said["stage"] in (1.0, 2.0)
        losses.append(loss.item())
    policy.eval()
    return losses


def predicted(policy: Any, batch: dict[str, Tensor], leftover: Tensor | None, delay: int) -> Tensor:
    """As the engine asks, with the same noise every time. (horizon, action)."""
    torch.manual_seed(0)
    return policy.predict_action_chunk(batch, inference_delay=delay, prev_chunk_left_over=leftover).squeeze(0)


def check_the_leftover_is_continued(policy: Any, queue: Any, cut_or_padded: CutOrPadded, executed: int = 6) -> None:
    """Reference, padding and committed actions, through the engine's own queue."""
    first = predicted(policy, observation(1), None, 0)
    queue.merge(first, first, 0)
    for _ in range(executed):
        queue.get()
    left = queue.get_left_over()
    assert torch.equal(left, first[executed:])
    for delay in (0, 1, 4, len(left), len(left) + 9):
        committed = min(delay, len(left))
        new = predicted(policy, observation(2), cut_or_padded(left, LENGTH), delay)
        assert torch.equal(new[:committed], left[:committed]), "committed actions go on to the last bit"
        assert torch.equal(new, predicted(policy, observation(2), left, delay)), "padding is no action"
        assert torch.equal(new, by_our_own_runtime(policy, left, delay)), "the leftover is the reference"
    queue.merge(new, new, 2)
    assert torch.equal(queue.get(), new[2])


def by_our_own_runtime(policy: Any, left: Tensor, delay: int) -> Tensor:
    """What Segue's own plan would have been answered, in the same units."""
    known = len(left)
    prefix = left.numpy().astype(np.float32)
    continuation = Continuation(0, prefix, min(delay, known), HORIZON - known, np.ones(known, np.int64))
    torch.manual_seed(0)
    noise = torch.Generator()
    noise.set_state(torch.get_rng_state())
    seen = observation(2)["observation.state"].numpy()
    chunk = ContinuingPolicy(policy.learned.average, Legato()).next_chunks(seen, [continuation], [noise])
    return torch.as_tensor(chunk[0])


def check_what_is_left_matters(policy: Any) -> None:
    """Actions of the overlap pull the new chunk; none left, or only zeros, is a first chunk."""
    left = torch.randn(10, ACTION, generator=torch.Generator().manual_seed(3))
    new = predicted(policy, observation(2), left, 2)
    moved = left.clone()
    moved[4] += 1
    assert not torch.equal(predicted(policy, observation(2), moved, 2)[4], new[4])
    alone = predicted(policy, observation(2), None, 0)
    assert not torch.equal(new, alone)
    for nothing in (left[:0], torch.zeros(LENGTH, ACTION)):
        assert torch.equal(predicted(policy, observation(2), nothing, 3), alone)


def check_inference_mode(policy: Any) -> None:
    """Guidance through the denoiser included, which differentiates."""
    left = torch.randn(10, ACTION, generator=torch.Generator().manual_seed(3))
    outside = predicted(policy, observation(2), left, 2)
    with torch.inference_mode():
        inside = predicted(policy, {key: each.clone() for key, each in observation(2).items()}, left.clone(), 2)
    assert torch.equal(inside, outside)
