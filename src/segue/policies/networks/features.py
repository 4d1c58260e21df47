"""The parts that all networks share: their base, their sizes, the time of a position, zero-initialised inputs."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segue.errors import SpecError


@dataclass(frozen=True)
class Sizes:
    """Sizes of what goes into a network.

    Attributes:
        horizon: H, actions per chunk.
        action: Numbers per action.
        context: Numbers that an observation is encoded to.
        output: Numbers that the network says per position; as many as an action has where it estimates actions.

    Raises:
        SpecError: A size is below 1.
    """

    horizon: int
    action: int
    context: int
    output: int

    def __post_init__(self) -> None:
        if min(self.horizon, self.action, self.context, self.output) < 1:
            raise SpecError(
                got=f"horizon {self.horizon}, action {self.action}, context {self.context}, output {self.output}",
                expected="all four at least 1",
                change="take the sizes from the demonstrations and from the encoder",
            )

    def check(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> None:
        """Raise `SpecError` unless the four inputs of a network have these sizes and one batch."""
        batch = tuple(x.shape[:1])
        got = tuple(tuple(tensor.shape) for tensor in (x, t, w, context))
        expected = ((*batch, self.horizon, self.action), batch, (*batch, self.horizon), (*batch, self.context))
        if got != expected:
            wrong = [i for i in range(4) if got[i] != expected[i]]
            names = ("x (batch, horizon, action)", "t (batch,)", "w (batch, horizon)", "context (batch, context)")
            raise SpecError(
                got=", ".join(f"{names[i]} of shape {got[i]}" for i in wrong),
                expected=", ".join(str(expected[i]) for i in wrong),
                change="give the network inputs of one batch, or build it with the sizes of the data",
            )


class Network(nn.Module, ABC):
    """Estimates what a policy asks for at every position, from flow state, time, weights and context.

    The weights enter in two ways: through the flow time of each position, ``tau = t + w (1 - t)``, and by themselves
    through a projection without bias, ``weights_input``, that starts at zero. So with w = 0 a network is exactly the
    plain flow-matching network, and a plain checkpoint can go on to train with schedules.
    """

    sizes: Sizes
    weights_input: nn.Linear | nn.Conv1d

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        """Estimate velocity, action or noise, as the policy has it. Shape (batch, horizon, output).

        Args:
            x: Flow state, normalised, shape (batch, horizon, action).
            t: Flow time, 0 noise, 1 action, shape (batch,).
            w: Weights per position, 1 committed, 0 free, shape (batch, horizon).
            context: Encoded observation, shape (batch, context).

        Raises:
            SpecError: The shapes are not those that the network was built for.
        """


def position_time(t: Tensor, w: Tensor) -> Tensor:
    """Flow time of each position, ``tau = t + w (1 - t)``. Shape (batch, horizon).

    With the ground truth as reference the flow state at a position is the ordinary interpolant at tau; where w is 0,
    tau is t exactly.

    Args:
        t: Flow time, shape (batch,).
        w: Weights per position, shape (batch, horizon).
    """
    t = t[:, None]
    return t + w * (1 - t)


def zero_linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Linear layer that starts as the constant 0."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class SinCos(nn.Module):
    """Sines and cosines of a flow time, shape (...) to (..., width).

    Periods are spaced geometrically between 4e-3 and 4, as in pi0 (arXiv 2410.24164): the longest does not repeat on
    [0, 1].
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise SpecError(
                got=f"width {width} for sines and cosines",
                expected="an even width of at least 2",
                change="use an even width for the network",
            )
        period = torch.logspace(math.log10(4e-3), math.log10(4), width // 2)
        self.register_buffer("frequencies", 2 * math.pi / period, persistent=False)

    def forward(self, tau: Tensor) -> Tensor:
        """Features of a flow time."""
        angle = tau[..., None] * self.frequencies
        return torch.cat((angle.sin(), angle.cos()), -1)


class TimeFeatures(nn.Module):
    """Embedding of a flow time, shape (...) to (..., width): sines and cosines, then Linear, SiLU, Linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(SinCos(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, tau: Tensor) -> Tensor:
        """Embedding of a flow time."""
        return self.layers(tau)


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's ``h (1 + scale) + shift`` (arXiv 2212.09748); the identity at zero."""
    return torch.addcmul(shift, h, 1 + scale)
