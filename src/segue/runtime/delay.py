"""Estimating the inference delay in control steps."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil


@dataclass
class WindowQuantile:
    """Quantile of the last observed delays.

    A running maximum never forgets one slow inference; a window does. The first, warm-up inference is never observed
    (the plan does not report it).

    Attributes:
        initial: Estimate before anything was observed [steps].
        window: Observations remembered.
        quantile: 1 is the largest of the window, as RTC's reference algorithm has it.
    """

    initial: int
    window: int = 10
    quantile: float = 1.0
    _observed: deque[int] = field(init=False)

    def __post_init__(self) -> None:
        self._observed = deque(maxlen=self.window)

    def observe(self, delay: int) -> None:
        """Record a delay that has happened [steps]."""
        self._observed.append(delay)

    def estimate(self) -> int:
        """Delay to plan for [steps]."""
        if not self._observed:
            return self.initial
        return sorted(self._observed)[ceil(self.quantile * (len(self._observed) - 1))]
