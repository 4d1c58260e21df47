r"""Reuse-then-Refine: splice the executed actions to the new chunk, and let an autoencoder smooth the seam.

    position    0            reused                        H
    spliced     | old chunk  |  new chunk                  |       arXiv 2605.24931, section 4.2
    refined     | decode(encode(spliced))                  |
    executed                 d ...

It needs nothing of the sampler: it finishes the chunks of any policy, in the units of its autoencoder, which are robot
units (`policies.chunk_policy.FinishedPolicy`). A first chunk has nothing to be spliced to and is left as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import override

from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError
from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights

Refine = Callable[[Tensor], Tensor]
"""Actions (batch, horizon, action) to the nearest that an autoencoder knows, same shape and units."""


class Splice(Protocol):
    """Says how much of the previous chunk is reused."""

    def reused(self, prefix: Prefix) -> Tensor:
        """Positions taken from the previous chunk. Shape (batch,), integer."""
        ...


@dataclass(frozen=True)
class Executed(Splice):
    """Reuses what will have been executed when the new chunk takes over, ``min(d, known)``: the paper's text."""

    @override
    def reused(self, prefix: Prefix) -> Tensor:
        return prefix.committed


@dataclass(frozen=True)
class Fixed(Splice):
    """Reuses always the same number of steps: the released code, where it is half of the horizon.

    That code takes the last K actions of the previous chunk; they are for the new chunk's first K steps where one chunk
    starts H - K steps after the other. Here a step is a step: the actions are those for these K steps, fewer where the
    previous chunk ends before.

    Attributes:
        steps: K.
    """

    steps: int = 24

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise SpecError(got=f"{self.steps} steps", expected="at least 0", change="reuse 0 steps or more")

    @override
    def reused(self, prefix: Prefix) -> Tensor:
        return prefix.known.clamp(max=self.steps)


class Adjustment(Protocol):
    """Keeps a refined chunk closer to the spliced one. reused has shape (batch,)."""

    def __call__(self, refined: Tensor, spliced: Tensor, reused: Tensor, kinds: Dimensions = LINEAR, /) -> Tensor:
        """Shape (batch, horizon, action)."""
        ...


@dataclass(frozen=True)
class Window(Adjustment):
    """Refine around the seam only, the share falling linearly to zero on either side.

    Attributes:
        steps: Distance from the seam at which nothing is refined any more.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SpecError(got=f"a window of {self.steps} steps", expected="at least 1", change="raise the steps")

    @override
    def __call__(self, refined: Tensor, spliced: Tensor, reused: Tensor, kinds: Dimensions = LINEAR, /) -> Tensor:
        """``share refined + (1 - share) spliced``; the seam lies between the last reused position and the next."""
        distance = (_positions(refined) - (reused[:, None] - 0.5)).abs()
        share = (1 - (distance - 0.5) / self.steps).clamp(min=0).to(refined.dtype)[..., None]
        return kinds.blend(spliced, refined, 1 - share, share)


@dataclass(frozen=True)
class Anchor(Adjustment):
    """Move the refined chunk so that its last reused action is the reused one exactly, and let the offset die away.

    Attributes:
        decay: Factor on the offset from one step to the next, in [0, 1).
    """

    decay: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise SpecError(got=f"decay {self.decay}", expected="in [0, 1)", change="let the offset die away")

    @override
    def __call__(self, refined: Tensor, spliced: Tensor, reused: Tensor, kinds: Dimensions = LINEAR, /) -> Tensor:
        """``refined + decay^(position - last) (spliced - refined)[last]`` from the last reused position on."""
        last = reused - 1
        index = last.clamp(min=0)[:, None, None].expand(-1, 1, refined.shape[2])
        offset = kinds.difference(spliced, refined).gather(1, index)
        age = _positions(refined) - last[:, None]
        share = torch.where((age >= 0) & (last >= 0)[:, None], self.decay ** age.clamp(min=0).to(refined.dtype), 0.0)
        return kinds.add(refined, share[..., None] * offset)


def _positions(actions: Tensor) -> Tensor:
    return torch.arange(actions.shape[1], device=actions.device)


def splice(reference: Tensor, new: Tensor, reused: Tensor) -> Tensor:
    """``concat(reference[:reused], new[reused:])`` (arXiv 2605.24931, section 4.2). Shape (batch, horizon, action)."""
    return torch.where((_positions(new) < reused[:, None])[..., None], reference, new)


def moved(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Measure how far refining has moved a chunk: largest and mean displacement per action dimension, in its own unit.

    Args:
        before: Shape (batch, horizon, action).
        after: Same shape.

    Returns:
        Two of shape (batch, action).
    """
    distance = (after - before).abs()
    return distance.amax(1), distance.mean(1)


@dataclass(frozen=True)
class ReuseThenRefine(Strategy):
    """Reuse-then-Refine (arXiv 2605.24931, section 4.2).

    Attributes:
        refine: ``decode(encode(.))`` of an autoencoder, in the units of the chunks that are finished.
        splice: How much is reused: `Executed` (the paper's text) or `Fixed` (the released code).
        adjustments: `Window`, `Anchor`: applied to the refined chunk, in this order.

    Raises:
        SpecError: Of `hooks`: the chunk is a latent one, which is not what an autoencoder encodes.
    """

    refine: Refine
    splice: Splice = Executed()
    adjustments: tuple[Adjustment, ...] = ()

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        if prefix.stride != 1:
            raise SpecError(
                got=f"a latent chunk of {prefix.stride} control steps per position",
                expected="actions, which the autoencoder of the strategy encodes",
                change="finish the decoded chunk: FinishedPolicy(latent_policy, ReuseThenRefine(...))",
            )
        reused = self.splice.reused(prefix)

        @torch.no_grad()
        def finish(new: Tensor) -> Tensor:
            spliced = splice(prefix.kinds.near(prefix.reference, new), new, reused)
            refined = prefix.kinds.stepped(self.refine(spliced), spliced)
            for adjust in self.adjustments:
                refined = adjust(refined, spliced, reused, prefix.kinds)
            return torch.where((prefix.known > 0)[:, None, None], refined, new)

        return Hooks(no_weights(prefix), finish=finish)
