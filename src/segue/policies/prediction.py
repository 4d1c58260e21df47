"""What the network's output means, and the loss that goes with it.

Velocity and action estimate differ by a known affine map, ``A = x + (1 - t) v``, so that either can be learned. On
small networks the action is much the easier target: the velocity contains the noise, which a network narrower than the
chunk cannot pass through.
"""

from typing import Protocol

from torch import Tensor

from segue.errors import UnknownNameError


class Prediction(Protocol):
    """Meaning of the output of a network. t has shape (batch, 1, 1), the others (batch, horizon, action)."""

    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Velocity that the output stands for."""
        ...

    def error(self, output: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        """Squared error per element against the target velocity, weighted over flow time."""
        ...


class ActionPrediction:
    """The output is the action estimate, ``v = (output - x) / (1 - t)``."""

    time_floor = 0.05
    """Keeps the weight ``1 / (1 - t + floor)`` finite at t = 1. Between the plain action error (weight 1) and the
    velocity error (weight ``1 / (1 - t)^2``)."""

    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """``(output - x) / (1 - t)``."""
        return (output - x) / (1 - t)

    def error(self, output: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        """``(output - x - (1 - t) v)^2 / (1 - t + floor)``."""
        return (output - x - (1 - t) * velocity).square() / (1 - t + self.time_floor)


class VelocityPrediction:
    """The output is the velocity."""

    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The output itself."""
        return output

    def error(self, output: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        """``(output - v)^2``."""
        return (output - velocity).square()


PREDICTIONS: dict[str, Prediction] = {"action": ActionPrediction(), "velocity": VelocityPrediction()}


def prediction(name: str) -> Prediction:
    """Prediction by name, ``action`` or ``velocity``."""
    if name not in PREDICTIONS:
        raise UnknownNameError("prediction", name, PREDICTIONS)
    return PREDICTIONS[name]
