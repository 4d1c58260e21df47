"""What is made of an action in the control step in which it is due, by what is seen then (arXiv 2509.23224).

    plan.tick() -- base action, its index in its chunk --+
    robot.observe() -- state of now ---------------------+-- correction --> action --> limits --> robot

A chunk is as old as its observation; a correction is as new as a control step. The plan goes on with base actions: what
is continued is the policy's chunk, and not what was made of it. Limits come after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import Array, state_of


class Correction(Protocol):
    """Changes an action when it is due."""

    def corrected(self, state: Array, action: Array, index: int) -> Array:
        """Return what is to be sent in place of an action, before limits. Shape (action,), robot units.

        Args:
            state: What is seen in this step, shape (observation,), robot units.
            action: The plan's action of this step, shape (action,), robot units.
            index: Its position in its chunk.
        """
        ...


def corrected(correction: Correction, observed: Any, action: Array, index: int) -> Array:
    """Correct an action; one whose correction fails or is not finite, or of a step without observation, stays itself.

    The same array comes back where nothing was changed.

    Args:
        correction: Whose.
        observed: What is seen in this step; None where nothing can be believed.
        action: Shape (action,), robot units.
        index: Its position in its chunk.
    """
    if observed is None:
        return action
    try:
        found = correction.corrected(np.asarray(state_of(observed), np.float32), action, index)
        return found if found.shape == action.shape and bool(np.isfinite(found).all()) else action
    except Exception:  # of a user's own: the plan's action is good without it
        return action


@dataclass(frozen=True, eq=False)
class Residual(Correction):
    """A small network that was trained on what the policy's chunks lack of the demonstrations, in NumPy.

    Attributes:
        weights: Of each layer, shape (inputs, outputs); ReLU between layers. The first takes state, action, cosine and
            sine of ``2 pi index / horizon``, the first two normalised.
        biases: Of each layer, shape (outputs,).
        observation: Mean and scale, shape (observation,) each, robot units.
        action: Mean and scale, shape (action,) each, robot units; what comes out is in units of the scale.
        horizon: H.
        observation_kinds: What each number of the state is.
        action_kinds: What each number of an action is; binary ones stay as they are.
    """

    weights: Sequence[Array]
    biases: Sequence[Array]
    observation: tuple[Array, Array]
    action: tuple[Array, Array]
    horizon: int
    observation_kinds: Dimensions = LINEAR
    action_kinds: Dimensions = LINEAR

    @override
    def corrected(self, state: Array, action: Array, index: int) -> Array:
        x = np.concatenate([
            _normalised(self.observation_kinds, state, self.observation),
            _normalised(self.action_kinds, action, self.action), phase(index, self.horizon),
        ])  # fmt: skip
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            x = x if layer == last else np.maximum(x, 0)
        return self.action_kinds.add(action, x * self.action[1])


def _normalised(kinds: Dimensions, values: Array, units: tuple[Array, Array]) -> Array:
    mean, scale = units
    return (kinds.near(values, mean) - mean) / scale


def phase(index: NDArray[np.int64] | int, horizon: int) -> Array:
    """Features of a position in a chunk: cosine and sine of ``2 pi index / horizon``. Shape (..., 2)."""
    angle = 2 * np.pi * np.asarray(index) / horizon
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)
