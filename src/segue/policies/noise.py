r"""The noise that a chunk starts from: fresh, or carried along an episode.

    absolute step    k      k+s                 k+H       k+s+H
    chunk at k       n_k .. n_{k+s} ........... n_{k+H-1}
    chunk at k+s            n_{k+s} ........... n_{k+H-1} .. n_{k+s+H-1}        carried: one noise per absolute step

With fresh noise every chunk is another sample of the policy, so that a robot changes its plan at every seam. Carried
noise is drawn once per absolute step of an episode. The noise of each chunk alone is standard normal as before, so
that each chunk is a sample of the policy as before; two chunks that overlap are no longer independent.

The noise of a step is a function of seed, episode and step: nothing is kept between two chunks, whatever became of the
one before, and a server needs no memory of its clients.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from segue.core.chunk import Continuation
from segue.errors import SpecError, UnknownNameError

_WORDS = 4  # 64-bit words that the generator makes at a time


class Noise(ABC):
    """Draws what the chunks of a policy start from.

    Attributes:
        scale: Standard deviation, 1 as in training; less keeps to what the policy finds likely.
    """

    scale: float

    def __post_init__(self) -> None:
        if not 0 <= self.scale < float("inf"):
            raise SpecError(f"a noise scale of {self.scale}", "0 or more, 1 as in training", "try values from 0.5 to 1")

    @abstractmethod
    def draw(
        self,
        shape: tuple[int, int],
        stride: int,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Draw the noise of one chunk per robot. Shape (batch, positions, dimension).

        Args:
            shape: Positions and numbers per position of a chunk in policy units.
            stride: Control steps per position.
            continuations: One per robot: which steps of which episode the chunks are for.
            generators: One per robot.
        """


@dataclass(frozen=True)
class FreshNoise(Noise):
    """Independent noise for every chunk: the next numbers of each generator."""

    scale: float = 1.0

    @override
    def draw(
        self,
        shape: tuple[int, int],
        stride: int,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        noise = torch.stack([torch.randn(shape, generator=each) for each in generators])
        return noise if self.scale == 1 else self.scale * noise


@dataclass(frozen=True)
class CarriedNoise(Noise):
    """One noise per absolute step of an episode, the same in all chunks that speak about the step, or a share of it.

        n_j = scale * (sqrt(share) * carried_j + sqrt(1 - share) * own_j)

    Each chunk alone starts from independent normal noise, whatever the share; it is the correlation between two chunks.

    Attributes:
        share: Of the variance that is carried, in [0, 1]: 1 keeps one plan through an episode, be it good or bad; less
            lets the robot think again.
    """

    scale: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise SpecError(f"a share of {self.share}", "in [0, 1], 1 to carry all of the noise", "try 0.5 or 1")

    @override
    def draw(
        self,
        shape: tuple[int, int],
        stride: int,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Compute the noise from each generator's seed and the episode's steps; no generator moves on.

        Positions of several control steps are counted on one grid through the episode, so that chunks that start
        between two of its points agree to within a position.
        """
        rows = [
            self._row(generator.initial_seed(), each, each.start // stride, shape)
            for each, generator in zip(continuations, generators, strict=True)
        ]
        return self.scale * torch.stack(rows).to(torch.get_default_dtype())

    def _row(self, seed: int, continuation: Continuation, first: int, shape: tuple[int, int]) -> Tensor:
        # the steps choose the carried numbers; the start chooses a stream of the chunk's own
        carried = step_noise(seed, continuation.episode, first, *shape)
        if self.share == 1:
            return carried
        own = step_noise(seed, continuation.episode, first, *shape, stream=1 + continuation.start)
        return self.share**0.5 * carried + (1 - self.share) ** 0.5 * own


def step_noise(seed: int, episode: int, first: int, positions: int, dimension: int, *, stream: int = 0) -> Tensor:
    """Standard normal noise of consecutive positions of an episode. Shape (positions, dimension), float64.

    Position j is a function of seed, episode, stream and ``first + j`` alone: the counter of a Philox generator
    (Salmon et al. 2011) is the position, and the inverse of the normal law takes one number for each of its own.

    Args:
        seed: Of the robot.
        episode: Number of the episode.
        first: Absolute index of the first position, 0 or more.
        positions: How many.
        dimension: Numbers per position.
        stream: Each stream has noise of its own for the same positions.
    """
    # Whole blocks of the generator for each position: its counter can then begin at any of them.
    blocks = -(-dimension // _WORDS)
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, episode & 0xFFFFFFFFFFFFFFFF], np.uint64)
    bits = np.random.Philox(counter=np.array([first * blocks, stream, 0, 0], np.uint64), key=key)
    words = bits.random_raw(positions * blocks * _WORDS).reshape(positions, blocks * _WORDS)[:, :dimension]
    # The upper 53 bits, and half a step more, so that neither 0 nor 1 occurs, whose normal numbers are infinite.
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return torch.special.ndtri(torch.from_numpy(uniform))


NOISES: dict[str, type[Noise]] = {"fresh": FreshNoise, "carried": CarriedNoise}
"""Kinds of noise by name."""


def noise_named(name: str, scale: float = 1.0, share: float | None = None) -> Noise:
    """Make the noise of a name; carried noise is all carried unless a share is given.

    Raises:
        UnknownNameError: There is no such noise.
        SpecError: A share of noise that is not carried, or a value out of range.
    """
    if name not in NOISES:
        raise UnknownNameError("noise", name, NOISES)
    if name == "carried":
        return CarriedNoise(scale, 1.0 if share is None else share)
    if share is not None:
        raise SpecError(
            got=f"a share of {share:g} with fresh noise",
            expected="a share of noise that is carried",
            change="say that the noise is carried, or leave the share out",
        )
    return FreshNoise(scale)
