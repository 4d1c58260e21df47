"""How many robots a server carries: from what batches cost, measured at its start and while it runs.

    a robot asks once in `period`; in that time everybody has to be answered, within `SHARE` of it:

        whole batches * seconds(most) + seconds(rest)  <=  SHARE * period       robots = whole * most + rest

The rest of the time is for what comes irregularly. Robots that are there already stay, whatever is measured later.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import ChunkPolicy, Continuation, Gathering, is_stateless
from segue.core.observation import blank
from segue.core.spec import PolicySpec

SHARE: Final = 0.8
"""Share of the time that may be planned for; the rest is for questions that come together."""
_REMEMBERED: Final = 64
_CALLS: Final = 3
_LONGEST: Final = 5.0  # of all measurements together [s]


class Capacity:
    """Counts the robots that a policy can be shared by.

    Args:
        spec: Of the policy; its robots are taken to ask after half of a chunk, until they are seen to do otherwise.
        seconds: What a batch of so many questions takes, measured [s]; the largest is the most that is asked at once.
    """

    def __init__(self, spec: PolicySpec, seconds: Mapping[int, float]) -> None:
        self.rate = 1 / spec.dt
        self.most = max(seconds)
        self._seconds = {size: deque([took], _REMEMBERED) for size, took in sorted(seconds.items())}
        self._made: NDArray[np.float64] | None = None
        self._periods = deque([max(spec.horizon // 2, 1) * spec.dt], _REMEMBERED)

    def answered(self, size: int, seconds: float) -> None:
        """Note what a batch took; a size between two measured ones counts for the next larger [s]."""
        bucket = min((each for each in self._seconds if each >= size), default=self.most)
        self._seconds[bucket].append(seconds)
        self._made = None

    def asked(self, period: float) -> None:
        """Note the time between two questions of one robot [s]."""
        self._periods.append(period)

    @property
    def period(self) -> float:
        """Median time between two questions of a robot [s]."""
        return float(np.median(self._periods))

    def seconds(self, size: int) -> float:
        """Return what a batch of this size takes, interpolated between medians [s]; a larger one never takes less."""
        return float(self._table()[size - 1])

    def _table(self) -> NDArray[np.float64]:
        """What batches of 1, 2, ... robots take, made anew after something was measured. Shape (most,)."""
        if self._made is None:
            medians = np.maximum.accumulate([np.median(each) for each in self._seconds.values()])
            self._made = np.interp(np.arange(1, self.most + 1), list(self._seconds), medians)
        return self._made

    @property
    def robots(self) -> int:
        """How many robots can be carried, at least one."""
        left, seconds = SHARE * self.period, self._table()
        batches = int(left / seconds[-1])
        rest = np.searchsorted(seconds[:-1], left - batches * seconds[-1], side="right")
        return max(batches * self.most + int(rest), 1)

    def refusal(self, robots: int) -> str | None:
        """Say why there is no room beside so many robots; None where there is."""
        if robots < (carried := self.robots):
            return None
        return (
            f"this server carries {carried} robot{'s' * (carried > 1)} at {self.rate:g} Hz with this policy; "
            f"yours would be number {robots + 1}"
        )


def measured(policy: ChunkPolicy, most: int, now: Callable[[], float] = time.monotonic) -> Capacity:
    """Measure what batches of 1, 2, 4, ... robots take, up to `most`, and return the capacity that comes of it.

    A policy that has a memory or answers one robot at a time is measured with one. It must be warm.
    """
    spec, seconds, size, begun = policy.spec, dict[int, float](), 1, now()
    seen, prefix = blank(len(spec.observation_names), spec.cameras), np.zeros(spec.chunk_shape, np.float32)
    half = max(spec.horizon // 2, 1)
    known = spec.horizon - half
    asked = Continuation(half, prefix[half:], min(known, 1), half, np.ones(known, np.int64))
    many = policy if isinstance(policy, Gathering) and is_stateless(policy) else None
    while size <= most and now() - begun < _LONGEST:
        took = []
        for _ in range(_CALLS):
            started = now()
            if many is None or size == 1:
                policy.next_chunk(seen, asked)
            else:
                many.chunks([seen] * size, [asked] * size)
            took.append(now() - started)
        seconds[size] = float(np.median(took))
        if many is None:
            break
        size *= 2
    policy.reset()
    return Capacity(spec, seconds)
