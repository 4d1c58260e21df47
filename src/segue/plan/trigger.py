"""Triggers decide when the next chunk is asked for, while one is executed and no other is under way.

    chunk           |0 1 2 3 4 5 6 7 8 9 . . . . H-1|
    FixedHorizon     s steps ->* ask                     counted from the last request
    QueueThreshold            *<- n actions left         counted from the chunk's end
    Continuously     * ask as soon as the last answer has arrived

At most one inference is under way in any case, and a robot without an action always asks: neither is up to a trigger.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from typing_extensions import override

from segue.core.chunk import check_timing, check_whole
from segue.errors import SpecError, TimingError


class Progress(msgspec.Struct, frozen=True):  # made in every control step
    """Tells a trigger how far the robot is.

    Attributes:
        asked: Steps since the last request, without those of a hold that was longer than s.
        left: Actions of the executing chunk that are still to be executed.
        execution_horizon: s of the plan [steps].
        index: Place in the executing chunk of the action that is due.
    """

    asked: int
    left: int
    execution_horizon: int
    index: int


class Trigger(Protocol):
    """Decides whether the next chunk is due."""

    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        """Raise `TimingError` where the robot would run out of actions at every chunk, with H, d and s of a plan."""
        ...

    def steps(self, horizon: int, execution_horizon: int) -> int:
        """Return the steps from one request to the next if inference takes no longer than that, at least 1."""
        ...

    def due(self, progress: Progress) -> bool:
        """Tell whether to ask now."""
        ...


@dataclass(frozen=True)
class FixedHorizon(Trigger):
    """Ask s steps after the last request (arXiv 2506.07339): each chunk is executed for s steps."""

    @override
    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        check_timing(horizon, delay, execution_horizon)

    @override
    def steps(self, horizon: int, execution_horizon: int) -> int:
        return execution_horizon

    @override
    def due(self, progress: Progress) -> bool:
        return progress.asked >= progress.execution_horizon

    def __str__(self) -> str:
        return "fixed"


FIXED_HORIZON: Final = FixedHorizon()
"""The default of a plan."""


@dataclass(frozen=True)
class QueueThreshold(Trigger):
    """Ask when no more than so many actions are left (SmolVLA's asynchronous inference, arXiv 2506.01844).

    Attributes:
        actions: Actions left; must cover the inference delay for the robot not to run out of them.

    Raises:
        SpecError: No whole number, or below 0.
    """

    actions: int

    def __post_init__(self) -> None:
        check_whole("queue threshold", self.actions)
        if self.actions < 0:
            raise SpecError(
                f"a queue threshold of {self.actions}",
                "0 actions or more",
                "give how many actions are left when the next chunk is asked for",
            )

    @override
    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        # Fewer run out while the next chunk is inferred, more are never left
        if not delay <= self.actions < horizon:
            raise TimingError(
                got=f"a queue threshold of {self.actions} with a delay of {delay} and chunks of {horizon} steps",
                expected=f"d <= actions left < H, so {delay} to {horizon - 1}",
                change=f"ask with at least {delay} actions left" if self.actions < delay else "say continuous",
            )

    @override
    def steps(self, horizon: int, execution_horizon: int) -> int:
        return max(horizon - self.actions, 1)  # a chunk that is joined begins at its request

    @override
    def due(self, progress: Progress) -> bool:
        return progress.left <= self.actions

    def __str__(self) -> str:
        return f"queue:{self.actions}"


@dataclass(frozen=True)
class Continuously(Trigger):
    """Ask as soon as nothing is under way: the freshest chunks that the hardware can make, and the most seams."""

    @override
    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        check_timing(horizon, delay, max(delay, 1))  # s is not used

    @override
    def steps(self, horizon: int, execution_horizon: int) -> int:
        return 1

    @override
    def due(self, progress: Progress) -> bool:
        return True

    def __str__(self) -> str:
        return "continuous"


def trigger(text: str) -> Trigger:
    """Read a trigger: ``fixed``, ``queue:<actions>`` or ``continuous``, else `SpecError`; `str` writes it."""
    kind, _, actions = text.partition(":")
    if text == "fixed":
        return FIXED_HORIZON
    if text == "continuous":
        return Continuously()
    if kind == "queue" and actions.isdecimal():
        return QueueThreshold(int(actions))
    raise SpecError(f"trigger {text!r}", "fixed, queue:<actions> or continuous", "for instance queue:16")
