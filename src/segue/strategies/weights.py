r"""Weights that hold each position of a new chunk to the previous one, more or less.

    position   0            d            d+r         H
    weight     1            1 \ .. ramp .. 0         0

One family for every method: RTC's soft mask (arXiv 2506.07339, eq. 5), training-time RTC's hard prefix
(arXiv 2512.05964, r = 0) and Legato's schedule (arXiv 2602.12978).
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from segue.errors import UnknownNameError

Shape = Literal["step", "linear", "cosine", "exponential"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def schedule(
    horizon: int, delay: Tensor, ramp: Tensor, shape: Shape = "linear", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Compute the weight per position. Shape (batch, horizon), values in [0, 1].

    Position ``d + j`` of the ramp has the linear value ``c = (r - j) / (r + 1)``, strictly between 0 and 1, which
    is the convention of RTC's reference implementation.

    Args:
        horizon: H.
        delay: Committed positions d, integer, shape (batch,).
        ramp: Ramp length r, integer, shape (batch,).
        shape: ``step`` ignores the ramp; ``linear`` is c; ``cosine`` is (1 - cos(pi c)) / 2; ``exponential`` is
            RTC's c (e^c - 1) / (e - 1).
        dtype: Of the weights.
    """
    position = torch.arange(horizon, device=delay.device, dtype=dtype)
    d, r = delay[:, None].to(dtype), ramp[:, None].to(dtype)
    linear = ((r - (position - d)) / (r + 1)).clamp(0, 1)
    committed = (position < d).to(dtype)
    match shape:
        case "step":
            return committed
        case "linear":
            curve = linear
        case "cosine":
            curve = (1 - torch.cos(math.pi * linear)) / 2
        case "exponential":
            curve = linear * torch.expm1(linear) / math.expm1(1)
        case _:
            raise UnknownNameError("schedule shape", shape, SHAPES)
    return torch.where(position < d, committed, curve)


def per_position(weights: Tensor, stride: int) -> Tensor:
    """Mean over the ``stride`` control steps of each position. (batch, positions * stride) -> (batch, positions)."""
    return weights.unflatten(1, (-1, stride)).mean(2)


def random_schedule(
    batch: int, horizon: int, *, max_delay: int, max_ramp: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw delays and ramps for training, each uniform, as Legato draws them (arXiv 2602.12978, algorithm 1).

    In training the whole chunk is known, so that only ``d + r <= horizon`` is required, by shortening the ramp.
    """
    delay = torch.randint(0, min(max_delay, horizon) + 1, (batch,), generator=generator)
    ramp = torch.randint(0, max_ramp + 1, (batch,), generator=generator)
    return delay, torch.minimum(ramp, horizon - delay)


def random_delay(batch: int, *, max_delay: int, decay: float, generator: torch.Generator) -> Tensor:
    """Draw training delays with probability proportional to ``exp(-decay * d)`` (arXiv 2512.05964; 0 is uniform)."""
    probability = torch.exp(-decay * torch.arange(max_delay + 1, dtype=torch.float64))
    return torch.multinomial(probability, batch, replacement=True, generator=generator)
