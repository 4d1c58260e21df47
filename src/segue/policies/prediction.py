"""Predictions: a network's output is a velocity or an action estimate, and has the loss that goes with it.

Velocity and action estimate differ by a known affine map, ``A = x + (1 - t) v``, so that either can be learned. On
small networks the action is much the easier target: the velocity contains the noise, which a network narrower than the
chunk cannot pass through.
"""

from typing import Protocol

from torch import Tensor
from typing_extensions import override

from segue.errors import UnknownNameError


class Prediction(Protocol):
    """Meaning of the output of a network. t has shape (batch, 1, 1), the others (batch, horizon, action)."""

    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Velocity that the output stands for."""
        ...

    def error(self, output: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        """Squared error per element against the target velocity, weighted over flow time."""
        ...


class ActionPrediction(Prediction):
    """The output is the action estimate, ``v = (output - x) / (1 - t)``; the error is divided by ``1 - t + floor``."""

    time_floor = 0.05
    """Keeps the weight ``1 / (1 - t + floor)`` finite at t = 1. Between the plain action error (weight 1) and the
    velocity error (weight ``1 / (1 - t)^2``)."""

    @override
    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return (output - x) / (1 - t)

    @override
    def error(self, output: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        return (output - x - (1 - t) * velocity).square() / (1 - t + self.time_floor)


class VelocityPrediction(Prediction):
    """The output is the velocity."""

    @override
    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return output

    @override
    def error(self, output: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        return (output - velocity).square()


PREDICTIONS: dict[str, Prediction] = {"action": ActionPrediction(), "velocity": VelocityPrediction()}


def prediction(name: str) -> Prediction:
    """Prediction by name, ``action`` or ``velocity``."""
    if name not in PREDICTIONS:
        raise UnknownNameError("prediction", name, PREDICTIONS)
    return PREDICTIONS[name]
