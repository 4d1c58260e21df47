"""The time of a control loop: monotonic seconds and absolute deadlines.

    slot        n            n + 1        n + 2
    deadline    |------------|------------|      start + n dt: lateness is never passed on to the next slot
    lateness       |<-- work -->|

Wall-clock time plays no part: it may step by an hour, and pacing and delays do not notice. The time in which a machine
is suspended does count, where the system tells it: a robot has stood still, or has been moved, for as long.
"""

import time
from dataclasses import dataclass
from typing import Final, Protocol

from typing_extensions import override

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's `CLOCK_MONOTONIC` stands still while the machine is suspended; macOS's does not."""


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Return the monotonic time [s]."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return at a time [s], at once if it is past."""
        ...


@dataclass(frozen=True)
class MonotonicClock(Clock):
    """The operating system's monotonic clock that goes on while the machine is suspended, the same in all processes.

    Attributes:
        spin: The last part of every wait, spent awake [s]: a sleep ends up to 0.1 ms late. On a machine whose cores
            are all busy spinning makes matters worse, and 0 is better.
    """

    spin: float = 0.0005

    @override
    def now(self) -> float:
        return time.clock_gettime(_CLOCK)

    @override
    def sleep_until(self, deadline: float) -> None:
        """Sleep, then spin. Signals are handled meanwhile and do not shorten it."""
        if (left := deadline - time.clock_gettime(_CLOCK)) > self.spin:
            time.sleep(left - self.spin)
        while time.clock_gettime(_CLOCK) < deadline:
            pass
