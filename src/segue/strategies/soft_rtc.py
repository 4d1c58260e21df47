"""Soft RTC: the clean prefix goes on in a window in which the previous chunk is told less and less (arXiv 2605.25537).

The window is as long as the delay says, ``end = min(ceil(n d), P)``, and nothing without a delay; its weights fall
linearly to zero. On the one path this is Legato with the demonstrated chunk as reference and without a pull. The public
code's sampler is another one: it blends with the previous chunk before every step, and then follows the velocity as if
the position had all of flow time before it, ``Y = (1 - w) x + w reference``, ``x <- Y + h v / (1 - w)``, which passes
the estimate by (`docs/derivations.md`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import SpecError
from segue.strategies.flow import Field, Step
from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair, draw, on_path
from segue.strategies.weights import per_position, random_delay, schedule


@dataclass(frozen=True)
class Windowed:
    """A base of all, never used alone: how far the previous chunk is told.

    Attributes:
        factor: n, length of the window in delays; at 1 the prefix is hard.
        longest: P, longest window [steps]; None for no limit. The paper's is 5, of chunks of 8.
    """

    factor: float = 2.0
    longest: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.factor < float("inf"):
            raise SpecError(
                f"a window of {self.factor} delays", "at least 1", "use 1 for a hard prefix, 2 as published"
            )

    def ramp(self, delay: Tensor) -> Tensor:
        """``min(ceil(n d), P) - d``, or 0. Integers (batch,) [steps]."""
        end = torch.ceil(self.factor * delay).long()
        return (end if self.longest is None else end.clamp(max=self.longest)).sub(delay).clamp(min=0)


@dataclass(frozen=True)
class SoftRTC(Windowed, Strategy):
    """Every position follows the velocity in its own flow time: the plain flow from the mixed source."""

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        return Hooks(prefix.weights(self.ramp(prefix.committed), "linear"))


@dataclass(frozen=True)
class LiteralSoftRTC(Windowed, Strategy):
    """The sampler of the public code, to compare `SoftRTC` with."""

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        weights = prefix.weights(self.ramp(prefix.committed), "linear")
        w = weights[..., None]
        left = torch.where(w < 1, 1 - w, 1)  # committed positions are kept, whatever their velocity

        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            u = field(x, step.t) / left
            return u if step.last else u + w * prefix.kinds.difference(prefix.reference, x + step.h * u) / step.h

        return Hooks(weights, guide=guide)


@dataclass(frozen=True)
class SoftRTCObjective(Windowed, Objective):
    """Flow matching behind a window of random length, with the demonstrated chunk as reference.

    Attributes:
        max_delay: Longest committed part [steps]. The paper's is 3, of chunks of 8.
        decay: Delays have a probability proportional to ``exp(-decay d)``; the paper's is 1, 0 is uniform.
    """

    max_delay: int = 12
    decay: float = 0.0

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        noise, t = draw(batch, generator)
        d = random_delay(len(t), max_delay=self.max_delay, decay=self.decay, generator=generator).to(t.device)
        steps = schedule(batch.horizon, d, self.ramp(d), "linear", dtype=t.dtype)
        return on_path(batch, batch.actions, per_position(steps, batch.stride), noise, t)
