r"""Batches whose state is some steps ahead of the picture, with the chunk that begins there (VLASH, arXiv 2512.01031).

    frame         k        k+o                 k+o+H
    picture       |
    state                  |                             recorded, or commanded by the actions in between
    actions                |-------------------|

At run time the state of the takeover is known before its picture is: `PredictivePolicy` shows the policy exactly this.
A pretrained policy has only seen both of one moment; some training on such batches makes it trust the state. Each
sample has an offset o of its own, uniform from 0 to the largest, wherever in its episode it lies; actions beyond the
episode's end are no actions of the demonstration, and count for nothing.
"""

import numpy as np
import torch
from torch import Tensor

from segue.errors import DataError, SpecError
from segue.integrations.lerobot.policies.units import STATE, Batch
from segue.policies.predictors.predictor import CommandedState

ACTION, IS_PAD = "action", "_is_pad"


def delta_timestamps(fps: float, horizon: int, most: int) -> dict[str, list[float]]:
    """What a LeRobotDataset is to be opened with for `ahead_of_pictures`, seconds by feature.

    Args:
        fps: Of the data set.
        horizon: H.
        most: Largest offset [steps].
    """
    return {
        STATE: [step / fps for step in range(most + 1)],
        ACTION: [step / fps for step in range(most + horizon)],
    }


def ahead_of_pictures(
    batch: Batch, horizon: int, most: int, generator: torch.Generator, commanded: CommandedState | None = None
) -> Batch:
    """The batch with an offset per sample: state (batch, state), actions and their padding (batch, horizon, ...).

    Args:
        batch: Opened with `delta_timestamps`: states (batch, most + 1, state), actions (batch, most + horizon, action).
        horizon: H.
        most: Largest offset [steps].
        generator: Of the offsets.
        commanded: What the state is at run time; None takes the recorded state of the step, which is the only one where
            actions command nothing that is observed.

    Raises:
        SpecError: ``most`` is negative.
        DataError: States or actions do not reach as far.
    """
    if most < 0:
        raise SpecError(f"a largest offset of {most}", "0 or more control steps", "give the longest delay to plan for")
    for name, frames in ((STATE, most + 1), (ACTION, most + horizon)):
        shape = tuple(batch[name].shape) if name in batch else ()
        if len(shape) != 3 or shape[1] != frames:
            raise DataError(
                got=f"{name!r} of shape {shape}" if shape else f"a batch without {name!r}",
                expected=f"(batch, {frames}, numbers): {frames} frames from the present one on",
                change=f"open the data set with delta_timestamps(fps, {horizon}, {most}), and drop incomplete windows",
            )
    states, actions = batch[STATE], batch[ACTION]
    offset = torch.randint(most + 1, (len(states),), generator=generator).to(states.device)
    row = torch.arange(len(states), device=states.device)
    state = states[row, offset] if commanded is None else _commanded(commanded, states[:, 0], actions, offset, most)
    ahead = {**batch, STATE: state, ACTION: _window(actions, offset, horizon)}
    ahead.pop(STATE + IS_PAD, None)
    if (padded := batch.get(ACTION + IS_PAD)) is not None:
        ahead[ACTION + IS_PAD] = _window(padded, offset, horizon)
    return ahead


def _window(frames: Tensor, offset: Tensor, horizon: int) -> Tensor:
    """Rows from each sample's offset on. Shape (batch, horizon, ...)."""
    index = (offset[:, None] + torch.arange(horizon, device=offset.device)).to(frames.device)
    return frames[torch.arange(len(frames), device=frames.device)[:, None], index]


def _commanded(commanded: CommandedState, now: Tensor, actions: Tensor, offset: Tensor, most: int) -> Tensor:
    """What the actions up to the offset make of the state. Shape (batch, state)."""
    if most == 0:
        return now
    executed, steps = actions[:, :most].cpu().numpy(), offset.cpu().numpy().astype(np.int64)
    return torch.as_tensor(commanded.ahead(now.cpu().numpy(), executed, steps)).to(now)
