"""Heads of regression policies: how the network's output stands for a chunk, and the loss that goes with it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from segue.errors import SpecError, UnknownNameError, settings_of


class Head(nn.Module, ABC):
    """Output of a network (batch, positions, dimension * width) to a chunk (batch, positions, dimension).

    Attributes:
        width: Numbers that the network says per action dimension.
    """

    width: int

    def fit(self, chunks: Tensor) -> None:
        """Take what is needed from all demonstrated chunks (frames, positions, dimension), policy units."""

    @abstractmethod
    def chunk(self, output: Tensor) -> Tensor:
        """Decode the chunk that the output stands for."""

    @abstractmethod
    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Error per element of the target chunk."""


class Continuous(Head):
    """The output is the chunk; absolute error (OpenVLA-OFT, arXiv 2502.19645)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.width = 1

    @override
    def chunk(self, output: Tensor) -> Tensor:
        return output

    @override
    def error(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()


class Bins(Head):
    """The output is a distribution over bins per dimension, as the action tokens of OpenVLA (arXiv 2406.09246).

    Bins are of equal width over the demonstrated range; the chunk has the centre of the likeliest one, which is up to
    half a bin away from any demonstrated action. The loss is the cross-entropy against the target's bin.

    Attributes:
        low: Lower end of the range, shape (dimension,), policy units.
        high: Upper end of the range.
    """

    low: Tensor
    high: Tensor

    def __init__(self, dimension: int, bins: int = 256) -> None:
        super().__init__()
        if bins < 2:
            raise SpecError(got=f"{bins} bins", expected="at least 2", change="raise the number of bins")
        self.width = bins
        self.register_buffer("low", -torch.ones(dimension))
        self.register_buffer("high", torch.ones(dimension))

    @override
    def fit(self, chunks: Tensor) -> None:
        """Take the range of each dimension; one that never moves gets bins around its only value."""
        low, high = chunks.flatten(0, 1).aminmax(dim=0)
        still = (high - low) < 1e-6
        self.low.copy_(torch.where(still, low - 0.5, low))
        self.high.copy_(torch.where(still, high + 0.5, high))

    @property
    def bin_width(self) -> Tensor:
        """Shape (dimension,), policy units."""
        return (self.high - self.low) / self.width

    def tokens(self, chunk: Tensor) -> Tensor:
        """Bin of each element, integer, the outermost beyond the range. Shape of the chunk."""
        return ((chunk - self.low) / self.bin_width).floor().long().clamp(0, self.width - 1)

    def centres(self, tokens: Tensor) -> Tensor:
        """Chunk of the middles of these bins. Shape of the tokens."""
        return self.low + (tokens + 0.5) * self.bin_width

    @override
    def chunk(self, output: Tensor) -> Tensor:
        return self.centres(self._scores(output).argmax(-1))

    @override
    def error(self, output: Tensor, target: Tensor) -> Tensor:
        scores = self._scores(output)
        return F.cross_entropy(scores.movedim(-1, 1), self.tokens(target), reduction="none")

    def _scores(self, output: Tensor) -> Tensor:
        """Shape (batch, positions, dimension, bins)."""
        return output.unflatten(-1, (len(self.low), self.width))


HEADS: dict[str, type[Continuous] | type[Bins]] = {"continuous": Continuous, "bins": Bins}


def build_head(name: str, settings: Mapping[str, Any], dimension: int) -> Head:
    """Head by name, ``continuous`` or ``bins``, for chunks with this many dimensions.

    Raises:
        UnknownNameError: There is no such head.
        SpecError: It has no such setting.
    """
    if name not in HEADS:
        raise UnknownNameError("head", name, HEADS)
    with settings_of(f"head {name!r}"):
        return HEADS[name](dimension, **settings)
