r"""Residual vector quantisation: the latent of a position as a few whole numbers (arXiv 2507.01016, 2107.03312).

    residual <- z;   for each level:   code <- nearest entry to residual,   residual <- residual - entry

The quantised latent is the sum of the entries, so that two levels of n entries tell n^2 latents apart.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.errors import SpecError


class Bottleneck(nn.Module, ABC):
    """Gives a position, of any features, its latent numbers; stands between encoder and decoder."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Latents (batch, positions, latent), deterministic."""

    @abstractmethod
    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents to train the decoder with, and what the loss adds for them, a scalar."""


class ResidualQuantizer(Bottleneck):
    """A bottleneck of ``levels`` codebooks, trained with straight-through gradients (arXiv 1711.00937, equation 3).

    Attributes:
        codebooks: Shape (levels, codes, latent), each level drawn at a third of the scale of the one before.
        commitment: Weight of the term that keeps the encoder near the entries.
    """

    def __init__(self, features: int, latent: int, levels: int = 4, codes: int = 64, commitment: float = 0.25) -> None:
        super().__init__()
        if levels < 1 or codes < 2:
            raise SpecError(
                got=f"{levels} levels of {codes} codes", expected="at least 1 level of 2 codes", change="raise them"
            )
        self.commitment = commitment
        self.project = nn.Linear(features, latent)
        scale = 3.0 ** -torch.arange(levels)
        self.codebooks = nn.Parameter(torch.randn(levels, codes, latent) * scale[:, None, None])

    def codes(self, latents: Tensor) -> Tensor:
        """Nearest entry at each level. Shape (batch, positions, latent) to integers (batch, positions, levels)."""
        residual, chosen = latents, []
        for book in self.codebooks:
            code = torch.cdist(residual, book[None]).argmin(-1)
            residual = residual - book[code]
            chosen.append(code)
        return torch.stack(chosen, -1)

    def entries(self, codes: Tensor) -> Tensor:
        """Sum of the named entries. Integers (batch, positions, levels) to (batch, positions, latent)."""
        return torch.stack([book[code] for book, code in zip(self.codebooks, codes.unbind(-1), strict=True)]).sum(0)

    @override
    def forward(self, features: Tensor) -> Tensor:
        return self.entries(self.codes(self.project(features)))

    @override
    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Quantise latents with the gradient passed straight through, and the terms of codebooks and commitment.

        Nothing is drawn: the generator is there for bottlenecks that do.
        """
        latents = self.project(features)
        quantized = self.entries(self.codes(latents.detach()))
        follow = (quantized - latents.detach()).square().mean()
        commit = (latents - quantized.detach()).square().mean()
        return latents + (quantized - latents).detach(), follow + self.commitment * commit
