"""Between robot units and those of a policy: names are checked, actions anchored to the observation at hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from segue.core.chunk import Array
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import SpecError


def check_observation(observation: Tensor, names: Sequence[str]) -> None:
    """Raise `SpecError` unless the observation has shape (batch, observation)."""
    expected = len(names)
    if observation.ndim != 2 or observation.shape[1] != expected:
        raise SpecError(
            got=f"observations of shape {tuple(observation.shape)}",
            expected=f"(batch, {expected}): {', '.join(names[:6])}" + (" ..." if expected > 6 else ""),
            change="give the policy the observation that it was trained on, in the same order",
        )


def shifted(actions: Tensor, observation: Tensor, relative_to: Sequence[int | None], sign: int) -> Tensor:
    """Actions plus ``sign`` times the observation that each is relative to. (batch, horizon, action).

    Args:
        actions: Shape (batch, horizon, action).
        observation: Shape (batch, observation), robot units.
        relative_to: Per action dimension, the index of its observation, or None for an absolute action.
        sign: 1 or -1.
    """
    relative = [i for i, index in enumerate(relative_to) if index is not None]
    if not relative:
        return actions
    anchor = [index for index in relative_to if index is not None]
    actions = actions.clone()
    actions[..., relative] += sign * observation[:, None, anchor]
    return actions


def demonstrated_chunks(episodes: Episodes, horizon: int, relative_to: Sequence[int | None]) -> Array:
    """All windows of the demonstrations as a policy sees them before normalisation. (frames, horizon, action)."""
    anchors = [0 if index is None else index for index in relative_to]
    relative = np.array([index is not None for index in relative_to])
    chunks = Windows(episodes, horizon).actions
    return chunks - (episodes.observation[:, anchors] * relative)[:, None]


def described(episodes: Episodes, *, relative: bool) -> dict[str, Any]:
    """The fields of a policy's configuration that demonstrations decide.

    Args:
        episodes: Demonstrations; they name the observation that each action can be relative to.
        relative: Learn actions relative to the observed state, where the demonstrations name one.
    """
    anchors: Sequence[int | None] = episodes.state_of_action if relative else [None] * len(episodes.action_names)
    return {
        "dt": episodes.dt,
        "observation_names": tuple(episodes.observation_names),
        "action_names": tuple(episodes.action_names),
        "relative_to": tuple(anchors),
    }
