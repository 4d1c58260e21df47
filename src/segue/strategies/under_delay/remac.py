"""REMAC: adapters that bring a plain policy's own noisy chunks back to the demonstration (arXiv 2601.20130).

    input    x = (1 - t) noise + t A~      A~ the demonstration A, or the policy's own chunk of the same observation
    target   A - noise                     always towards the demonstration
    loss     squared error and Charbonnier of the free positions, and what changes at the committed ones

The end of the path that the network is shown is thus another than the one that it is to find, as under a committed part
that it has not chosen. Only adapters learn, which work where something is committed
(`segue.policies.networks.adapted`).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import SpecError, UnknownNameError
from segue.strategies.flow import Field, interpolant
from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw
from segue.strategies.weights import per_position, random_delay, schedule

Mix = Literal["time", "coin"]
Source = Literal["noise", "previous"]


@dataclass(frozen=True)
class REMAC(Strategy):
    """Hard prefix: committed positions are the previous chunk's, the others are sampled given them.

    Attributes:
        source: Where the flow starts: ``noise``, as in training, or the ``previous`` chunk, zero beyond it, as in the
            public code, which makes a chunk without chance.
    """

    source: Source = "noise"

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise UnknownNameError("source", self.source, get_args(Source))

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        weights = prefix.weights(0, "step")
        if self.source == "noise":
            return Hooks(weights)
        position = torch.arange(weights.shape[1], device=weights.device) * prefix.stride
        known, first = position < prefix.known[:, None], (prefix.known == 0)[:, None, None]

        def start(field: Field, noise: Tensor, steps: int) -> Tensor:
            return torch.where(first, noise, known[..., None] * prefix.reference)

        return Hooks(weights, start=start)


@dataclass(frozen=True)
class REMACObjective(Objective):
    """Pairs whose input leads to one chunk and whose target is another.

    Attributes:
        max_delay: Longest committed part [steps], lengths from 1 on uniform. The paper's is 4, of chunks of 8.
        demonstrated: p, share of inputs that lead to the demonstration; the others lead to the policy's own chunk. The
            paper's falls during training.
        mix: What decides: the flow time, ``t < p``, as the public code does, or a ``coin`` of its own.
        rank: Of the adapters.
        charbonnier: c of the term ``sqrt(error + c^2)`` beside the squared error; 0 for the squared error alone.
        keep: Weight of what the adapters change at committed positions, beside 1 of the error; 0 leaves it to them.
    """

    max_delay: int = 12
    demonstrated: float = 0.45
    mix: Mix = "time"
    rank: int = 4
    charbonnier: float = 1e-3
    keep: float = 1.0

    def __post_init__(self) -> None:
        if self.mix not in get_args(Mix):
            raise UnknownNameError("mix", self.mix, get_args(Mix))
        if self.max_delay < 1 or self.rank < 1:
            raise SpecError(f"max_delay {self.max_delay}, rank {self.rank}", "both at least 1", "raise them")
        if not (self.charbonnier >= 0 and self.keep >= 0):
            raise SpecError(f"charbonnier {self.charbonnier}, keep {self.keep}", "both at least 0", "use 0 for none")

    @property
    @override
    def own_chunks(self) -> int:
        return 1

    @property
    @override
    def own_elapsed(self) -> tuple[int, int]:
        return 0, 0

    @property
    @override
    def adapter_rank(self) -> int:
        return self.rank

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        d = 1 + random_delay(len(t), max_delay=self.max_delay - 1, decay=0.0, generator=generator).to(t.device)
        coin = t if self.mix == "time" else torch.rand(len(t), generator=generator).to(t.device)
        shown = torch.where((coin < self.demonstrated)[:, None, None], batch.actions, batch.own)
        w = per_position(schedule(batch.horizon, d, torch.zeros_like(d), "step", dtype=t.dtype), batch.stride)
        x, mask = interpolant(shown, noise, t), batch.valid & (w < 1)
        return TrainingPair(x, t, w, batch.actions - noise, mask, self.charbonnier, self.keep)
