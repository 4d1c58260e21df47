"""An estimate of the inference delay in control steps."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from segue.core.chunk import check_whole
from segue.errors import SpecError


@dataclass
class WindowQuantile:
    """Quantile of the last observed delays.

    A running maximum never forgets one slow inference; a window does. The first, warm-up inference is never observed
    (the plan does not report it).

    Attributes:
        initial: Estimate before anything was observed [steps].
        window: Observations remembered.
        quantile: 1 is the largest of the window, as RTC's reference algorithm has it.

    Raises:
        SpecError: Steps that are no whole number, a window below 1, or a quantile outside of [0, 1].
    """

    initial: int
    window: int = 10
    quantile: float = 1.0
    _observed: deque[int] = field(init=False)

    def __post_init__(self) -> None:
        check_whole("initial delay", self.initial)
        check_whole("window of delays", self.window)
        if self.window < 1 or not 0 <= self.quantile <= 1:
            raise SpecError(
                got=f"quantile {self.quantile} of a window of {self.window} delays",
                expected="a quantile from 0 to 1 of at least 1 delay",
                change="leave both out for the longest of the last ten",
            )
        self._observed = deque(maxlen=self.window)

    def observe(self, delay: int) -> None:
        """Record a delay that has happened [steps]."""
        self._observed.append(delay)

    def estimate(self) -> int:
        """Return the delay to plan for [steps]."""
        if not self._observed:
            return self.initial
        return sorted(self._observed)[ceil(self.quantile * (len(self._observed) - 1))]
