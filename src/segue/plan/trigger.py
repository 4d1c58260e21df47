"""When the next chunk is asked for, while one is executed and no other is under way.

    chunk           |0 1 2 3 4 5 6 7 8 9 . . . . H-1|
    FixedHorizon     s steps ->* ask                     counted from the last request
    QueueThreshold            *<- n actions left         counted from the chunk's end
    Continuously     * ask as soon as the last answer has arrived

At most one inference is under way in any case, and a robot without an action always asks: neither is up to a trigger.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from segue.core.chunk import check_timing, check_whole
from segue.errors import SpecError, TimingError


class Progress(msgspec.Struct, frozen=True):  # made in every control step
    """What a trigger sees.

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
        """Whether the robot gets its chunks in time.

        Args:
            horizon: H.
            delay: d that is planned for.
            execution_horizon: s that the plan is given.

        Raises:
            TimingError: A robot would run out of actions at every chunk.
        """
        ...

    def steps(self, horizon: int, execution_horizon: int) -> int:
        """Steps from one request to the next where inference takes no longer than that, at least 1."""
        ...

    def due(self, progress: Progress) -> bool:
        """Whether to ask now."""
        ...


@dataclass(frozen=True)
class FixedHorizon:
    """Ask s steps after the last request (arXiv 2506.07339): each chunk is executed for s steps."""

    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        """``d <= s <= H - d``."""
        check_timing(horizon, delay, execution_horizon)

    def steps(self, horizon: int, execution_horizon: int) -> int:
        """The plan's s."""
        return execution_horizon

    def due(self, progress: Progress) -> bool:
        """Whether s steps have passed."""
        return progress.asked >= progress.execution_horizon

    def __str__(self) -> str:
        return "fixed"


FIXED_HORIZON: Final = FixedHorizon()
"""What is used unless asked otherwise."""


@dataclass(frozen=True)
class QueueThreshold:
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

    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        """``d <= n < H``: fewer run out while the next chunk is inferred, more are never left."""
        if not delay <= self.actions < horizon:
            raise TimingError(
                got=f"a queue threshold of {self.actions} with a delay of {delay} and chunks of {horizon} steps",
                expected=f"d <= actions left < H, so {delay} to {horizon - 1}",
                change=f"ask with at least {delay} actions left" if self.actions < delay else "say continuous",
            )

    def steps(self, horizon: int, execution_horizon: int) -> int:
        """H - n: a chunk that is joined begins at its request."""
        return max(horizon - self.actions, 1)

    def due(self, progress: Progress) -> bool:
        """Whether the rest of the chunk is short."""
        return progress.left <= self.actions

    def __str__(self) -> str:
        return f"queue:{self.actions}"


@dataclass(frozen=True)
class Continuously:
    """Ask as soon as nothing is under way: the freshest chunks that the hardware can make, and the most seams."""

    def check(self, horizon: int, delay: int, execution_horizon: int) -> None:
        """``d <= H - d``: s is not used."""
        check_timing(horizon, delay, max(delay, 1))

    def steps(self, horizon: int, execution_horizon: int) -> int:
        """1: only inference takes time."""
        return 1

    def due(self, progress: Progress) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return "continuous"


def trigger(text: str) -> Trigger:
    """A trigger from its text: ``fixed``, ``queue:<actions>`` or ``continuous``; ``str`` is the way back.

    Raises:
        SpecError: None of these.
    """
    kind, _, actions = text.partition(":")
    if text == "fixed":
        return FIXED_HORIZON
    if text == "continuous":
        return Continuously()
    if kind == "queue" and actions.isdecimal():
        return QueueThreshold(int(actions))
    raise SpecError(f"trigger {text!r}", "fixed, queue:<actions> or continuous", "for instance queue:16")
