"""Bidirectional decoding: of several chunks, the one that continues the previous one best (arXiv 2408.17355).

Backward coherence is the distance to the previous chunk. Forward contrast, with the chunks of a weak policy, such as an
earlier checkpoint, is the distance to what the policy tends to minus that to what the weak one tends to. Two forms of
both are here: that of RTC's comparison on Kinetix, and that of the official code.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import SpecError
from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights
from segue.strategies.weights import per_position


@dataclass(frozen=True)
class Bidirectional(Strategy, ABC):
    """A base for both forms. It uses nothing of the sampler: any family can be chosen from.

    Attributes:
        draws: Chunks per observation; each costs an inference.
    """

    draws: int

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise SpecError(f"{self.draws} chunks to choose from", "at least 1", "draw 16, as published")

    @abstractmethod
    def scores(self, chunks: Tensor, weak: Tensor | None, prefix: Prefix) -> Tensor:
        """The less, the better. Shape (draws, batch).

        Args:
            chunks: Shape (draws, batch, positions, dimension), policy units.
            weak: As many of the weak policy; None without one.
            prefix: One for each of ``draws * batch``, all alike over the draws.
        """

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        return self.against(None).hooks(prefix)

    def against(self, weak: Tensor | None) -> Strategy:
        """Choose by contrast to the chunks of a weak policy. Shape (draws * batch, positions, dimension)."""
        return _Against(self, weak)


@dataclass(frozen=True, eq=False)
class _Against(Strategy):
    bid: Bidirectional
    weak: Tensor | None

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        def finish(actions: Tensor) -> Tensor:
            chunks, weak = (
                None if each is None else each.unflatten(0, (prefix.draws, -1)) for each in (actions, self.weak)
            )
            assert chunks is not None
            best = self.bid.scores(chunks, weak, prefix).argmin(0)
            return chunks[best, torch.arange(len(best), device=best.device)]

        return Hooks(no_weights(prefix), finish=finish)


def coherence(chunks: Tensor, weights: Tensor, prefix: Prefix) -> Tensor:
    """``sum_i w_i |A_i - R_i|``. (draws, batch, positions, dimension) -> (draws, batch)."""
    off = prefix.kinds.difference(prefix.reference.unflatten(0, chunks.shape[:2]), chunks)
    return (weights.unflatten(0, chunks.shape[:2]) * off.norm(dim=-1)).sum(-1)


def distances(chunks: Tensor, others: Tensor, prefix: Prefix) -> Tensor:
    """``sum_i |A_i - B_i|`` of every pair. (n, batch, ...), (m, batch, ...) -> (n, m, batch)."""
    each = others.expand(len(chunks), *others.shape)
    return prefix.kinds.difference(each, chunks[:, None]).norm(dim=-1).sum(-1)


@dataclass(frozen=True)
class BID(Bidirectional):
    """As it is compared with RTC on Kinetix (arXiv 2506.07339): coherence under RTC's weights, and the right contrast.

    ``sum_i w_i |A_i - R_i| + (1/n) [sum_k |A - A+_k| - sum_k |A - A-_k|]``, with ``A+_k`` and ``A-_k`` those chunks of
    the policy and of the weak one that are nearest to the previous chunk. Where nothing is continued, the first chunk
    is taken, which is plain sampling.

    Attributes:
        draws: n.
        nearest: K, how many of either the contrast is made with.
    """

    draws: int = 16
    nearest: int = 5

    @override
    def scores(self, chunks: Tensor, weak: Tensor | None, prefix: Prefix) -> Tensor:
        weights = prefix.weights(None, "exponential")
        score = coherence(chunks, weights, prefix)
        if weak is not None:
            for sign, made in ((1, chunks), (-1, weak)):
                order = coherence(made, weights, prefix).argsort(stable=True, dim=0)[: self.nearest]
                near = made[order, torch.arange(made.shape[1], device=made.device)]
                score = score + sign * distances(chunks, near, prefix).sum(1) / len(chunks)
        known = prefix.known.unflatten(0, chunks.shape[:2]) > 0
        return torch.where(known, score, 0)


@dataclass(frozen=True)
class OfficialBID(Bidirectional):
    """As in the official code, with its contrast: that of a chunk is to the weak policy's distances of another one.

    The ``n / modes`` most coherent chunks are kept, of the weak policy as well. The score of a kept one is its
    coherence, plus its mean distance to the nearest half of the other kept ones, minus the mean distance of the weak
    policy's chunk *of the same rank* to the nearest half of the kept ones. Without a previous chunk all are kept.

    Attributes:
        draws: n.
        modes: Of n chunks, n / modes are kept.
        decay: beta, weight of a position relative to the one before it.
    """

    draws: int = 15
    modes: int = 3
    decay: float = 0.5

    def __post_init__(self) -> None:
        if self.modes < 1 or self.draws < 2 * self.modes:
            raise SpecError(
                got=f"{self.draws} chunks of {self.modes} modes",
                expected="at least two chunks per mode, and a mode",
                change="draw 15 of 3 modes, as published",
            )

    @override
    def scores(self, chunks: Tensor, weak: Tensor | None, prefix: Prefix) -> Tensor:
        draws, batch, positions, _ = chunks.shape
        age = torch.arange(prefix.horizon, device=chunks.device)
        covered = per_position((age < prefix.known[:, None]).to(chunks.dtype), prefix.stride) >= 1
        weights = covered * self.decay ** age[:positions].to(chunks.dtype)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)  # position 0 has weight 1
        back = coherence(chunks, weights, prefix)
        ranked = back.argsort(stable=True, dim=0)
        score = torch.full_like(back, float("inf"))
        for row in range(batch):
            count = draws // self.modes if covered[row].any() else draws
            kept = ranked[:count, row]
            strong = chunks[kept, row, None]
            apart = distances(strong, strong, prefix)[..., 0].sort(1).values / positions
            score[kept, row] = back[kept, row] + apart[:, 1 : count // 2 + 1].mean(1)  # the first is itself
            if weak is not None:
                others = weak[coherence(weak, weights, prefix)[:, row].argsort(stable=True)[:count], row, None]
                near = distances(others, strong, prefix)[..., 0].sort(1).values / positions
                score[kept, row] -= near[:, : count // 2].mean(1)
        return score
