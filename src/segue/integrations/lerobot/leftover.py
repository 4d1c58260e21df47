"""LeRobot's leftover is our reference: what is left of the previous chunk, and what continues it.

    leftover  (T, A), the policy's output space  | known rows      | zeros: padding |
    new chunk (H, A)                             | committed | overlap | free       |

The engine cuts or pads the leftover to a fixed length with zeros. In normalised units a zero is the mean action, and
padding taken for actions would pull the robot to it. A delay that is longer than what is known commits what is known.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation, seen, state_of
from segue.errors import SpecError
from segue.policies.chunk_policy import ServingPolicy


def known_rows(leftover: Tensor) -> int:
    """Rows before the zeros at the end. Shape (rows, action)."""
    spoken = (leftover != 0).any(-1).nonzero()
    return int(spoken[-1]) + 1 if len(spoken) else 0


def continuations_of(
    leftover: Tensor | None, delay: int, *, batch: int, horizon: int, action: int
) -> list[Continuation]:
    """What each robot of a batch is to continue.

    Args:
        leftover: Shape (rows, action), for all robots, or (batch, rows, action); None for a first chunk.
        delay: Steps that will have been executed from it, as whoever asks estimates them.
        batch: Robots.
        horizon: H.
        action: Action dimensions.

    Raises:
        SpecError: Another shape.
    """
    if leftover is None:
        return [nothing_to_continue(0, action, horizon)] * batch
    for_all = leftover.ndim == 2 or (leftover.ndim == 3 and len(leftover) in (1, batch))
    if not for_all or leftover.shape[-1] != action:
        raise SpecError(
            got=f"a leftover of shape {tuple(leftover.shape)} for {batch} robots",
            expected=f"(rows, {action}) or ({batch}, rows, {action}), as predict_action_chunk returned them",
            change="pass what is left of the policy's own chunk, before post-processing and without padded dimensions",
        )
    rows = leftover.expand(batch, -1, -1)
    return [_continuation(each[: known_rows(each)].float().cpu().numpy()[:horizon], delay, horizon) for each in rows]


def _continuation(prefix: np.ndarray, delay: int, horizon: int) -> Continuation:
    known = len(prefix)
    return Continuation(
        start=0,
        prefix=prefix,
        delay=min(max(delay, 0), known),
        execution_horizon=max(horizon - known, 1),
        votes=np.ones(known, np.int64),  # at least one chunk has spoken about what is left
    )


def continued(
    policy: ServingPolicy,
    observation: Any,
    leftover: Tensor | None,
    delay: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Chunks that continue a leftover. (batch, horizon, action), in the policy's output space.

    The committed actions are those of the leftover to the last bit, whatever the method, also where an autoencoder
    lies between: they will have been executed when the chunk takes over, and an engine that is wrong about the delay
    goes on with them.

    Args:
        policy: A policy and a method.
        observation: Shape (batch, observation), normalised; with cameras, an `Observation` of tensors.
        leftover: See `continuations_of`.
        delay: Steps that will have been executed from it.
        generators: Of each robot's noise.

    Raises:
        SpecError: Observation or leftover has another shape.
    """
    spec = policy.spec
    asked = continuations_of(
        leftover, delay, batch=len(observation), horizon=spec.horizon, action=len(spec.action_names)
    )
    # As arrays: guidance cannot differentiate through tensors of inference mode.
    pictures = observation.pictures if isinstance(observation, Observation) else {}
    state: Tensor = state_of(observation)
    arrays = seen(state.float().cpu().numpy(), {name: each.cpu().numpy() for name, each in pictures.items()})
    actions = policy.next_chunks(arrays, asked, generators)
    for chunk, continuation in zip(actions, asked, strict=True):
        chunk[: continuation.delay] = continuation.prefix[: continuation.delay]
    return torch.as_tensor(actions, device=state.device)
