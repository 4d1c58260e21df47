"""What the network of a regression policy says about each action dimension, and the loss that goes with it."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.errors import SpecError, UnknownNameError


class Head(Protocol):
    """Output of a network (batch, positions, dimension * width) to a chunk (batch, positions, dimension)."""

    width: int

    def fit(self, chunks: Tensor) -> None:
        """Take what is needed from all demonstrated chunks (frames, positions, dimension), policy units."""
        ...

    def chunk(self, output: Tensor) -> Tensor:
        """The chunk that the output stands for."""
        ...

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Error per element of the target chunk."""
        ...


class Continuous(nn.Module):
    """The output is the chunk; absolute error (OpenVLA-OFT, arXiv 2502.19645).

    Attributes:
        width: 1, numbers per action dimension.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.width = 1

    def fit(self, chunks: Tensor) -> None:
        """Nothing to take."""

    def chunk(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """``|output - A|``."""
        return (output - target).abs()


class Bins(nn.Module):
    """The output is a distribution over bins per dimension, as the action tokens of OpenVLA (arXiv 2406.09246).

    Bins are of equal width over the demonstrated range; the chunk has the centre of the likeliest one, which is up to
    half a bin away from any demonstrated action.

    Attributes:
        width: Bins, numbers per action dimension.
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

    def chunk(self, output: Tensor) -> Tensor:
        """Centre of the likeliest bin."""
        return self.centres(self._scores(output).argmax(-1))

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy against the target's bin."""
        scores = self._scores(output)
        return F.cross_entropy(scores.movedim(-1, 1), self.tokens(target), reduction="none")

    def _scores(self, output: Tensor) -> Tensor:
        """Shape (batch, positions, dimension, bins)."""
        return output.unflatten(-1, (len(self.low), self.width))


HEADS: dict[str, type[Continuous] | type[Bins]] = {"continuous": Continuous, "bins": Bins}


def build_head(name: str, settings: Mapping[str, Any], dimension: int) -> Continuous | Bins:
    """Head by name, ``continuous`` or ``bins``, for chunks with this many dimensions.

    Raises:
        UnknownNameError: There is no such head.
        SpecError: It has no such setting.
    """
    if name not in HEADS:
        raise UnknownNameError("head", name, HEADS)
    try:
        return HEADS[name](dimension, **settings)
    except TypeError as error:
        raise SpecError(
            got=str(error), expected=f"settings of head {name!r}", change="leave it out, or correct its name"
        ) from error
