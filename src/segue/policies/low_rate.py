"""A policy of a low rate as one of a higher rate: the runtime sees the higher rate only.

prefix, d, s    high rate --- at_low_rate --> low rate policy --- at_high_rate --> chunk, high rate
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from typing_extensions import override

from segue.core.chunk import Array, ChunkPolicy, Continuation
from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import Observed
from segue.core.spec import PolicySpec
from segue.data.resample import Interpolation, at_high_rate, at_low_rate
from segue.errors import SpecError
from segue.policies.chunk_policy import PolicyAround


def at_periods(continuation: Continuation, factor: int, kinds: Dimensions = LINEAR) -> Continuation:
    """A continuation counted in periods of ``factor`` steps.

    Of the prefix only whole periods are kept. A period that is committed in part counts as committed. A past of other
    than whole periods is forgotten: nothing that is predicted in periods can be compared with it.
    """
    prefix, past = at_low_rate(continuation.prefix, factor, kinds), continuation.past
    if past is not None:
        whole = len(past.executed) % factor == 0
        past = replace(past, executed=at_low_rate(past.executed, factor, kinds)) if whole else None
    return replace(
        continuation,
        start=continuation.start // factor,
        prefix=prefix,
        delay=min(math.ceil(continuation.delay / factor), len(prefix)),
        execution_horizon=max(continuation.execution_horizon // factor, 1),
        votes=continuation.votes[factor - 1 :: factor][: len(prefix)],
        previous=None,
        past=past,
    )


class ExpandedPolicy(PolicyAround):
    """A policy of a low rate, its chunks interpolated to a rate that is ``factor`` times higher.

    Interpolation starts from the action that the robot executed last, so that the first period of a chunk is like any
    other.

    Args:
        policy: Of the low rate.
        factor: High over low rate.
        interpolation: `held`, `linear` or `cubic` of `segue.data.resample`.
        kinds: What each action dimension is; as the policy says if not given.
    """

    def __init__(
        self, policy: ChunkPolicy, factor: int, interpolation: Interpolation, *, kinds: Dimensions | None = None
    ) -> None:
        if factor < 1:
            raise SpecError(f"a factor of {factor}", "at least 1", "give the high rate over the low one")
        super().__init__(policy)
        self.factor, self.interpolation = factor, interpolation
        self.kinds = policy.spec.action_kinds if kinds is None else kinds

    @property
    @override
    def spec(self) -> PolicySpec:
        below = self.policy.spec
        return replace(below, horizon=below.horizon * self.factor, dt=below.dt / self.factor, action_kinds=self.kinds)

    @override
    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        low = self.policy.next_chunk(observation, at_periods(continuation, self.factor, self.kinds))
        return self._expanded(low[None], [continuation])[0]

    @override
    def next_chunks(
        self, observations: Observed, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        below = [at_periods(each, self.factor, self.kinds) for each in continuations]
        return self._expanded(self.chunks_below(observations, below, generators), continuations)

    def _expanded(self, low: Array, continuations: Sequence[Continuation]) -> Array:
        # Without a last action the chunk's own first one stands in for it, see `at_high_rate`
        previous = np.stack(
            [
                chunk[0] if each.previous is None else each.previous
                for chunk, each in zip(low, continuations, strict=True)
            ]
        )
        return at_high_rate(low, self.factor, self.interpolation, previous=previous, kinds=self.kinds)
