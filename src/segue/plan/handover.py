"""How a chunk takes over from the one before.

step        0 1 2 3 4 5 6 7 8 9     H = 8, s = 6; inference takes d = 2 steps, as expected
Continue    0 1 2 3 4 5 6 7|2 3     asked for in step 6, joined where the robot is: actions 0 and 1 are skipped
Restart     0 1 2 3 4 5|0 1 2 3     asked for in step 4, to be there after s steps
Wait        0 1 2 3 4 5 . .|0 1     asked for in step 6, waited for
"""

from enum import Enum
from typing import ClassVar, Final, Protocol

from typing_extensions import override

from segue.plan.delay import WindowQuantile
from segue.plan.trigger import Progress, Trigger


class Handover(Enum):
    """The ways in which a chunk takes over, by the names that they have in files and messages."""

    CONTINUE = "continue"
    """The robot executes on during inference, and the new chunk is joined at the step that has been reached: its first
    d actions are skipped."""
    RESTART = "restart"
    """The robot executes on during inference, and the new chunk is executed from its first action, d steps late."""
    WAIT = "wait"
    """The robot waits during inference: synchronous execution."""


class Takeover(Protocol):
    """Decides for a plan what depends on how chunks take over."""

    joins: ClassVar[bool]
    """Whether a chunk continues what is left of the one before: then a trigger says when it is asked for."""

    def lead(self, delay: int) -> int:
        """Steps in which the robot executes on while an inference takes ``delay`` steps."""
        ...

    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        """Whether to ask for the next chunk."""
        ...

    def start(self, step: int, executed: int) -> int:
        """Step of the first action of a chunk that comes in ``step``, ``executed`` actions after its request."""
        ...

    def holds(self, index: int, execution_horizon: int) -> bool:
        """Whether the robot waits in the place of executing action ``index`` of its chunk."""
        ...


class Continue(Takeover):
    """Joins a chunk at the step that has been reached."""

    joins = True

    @override
    def lead(self, delay: int) -> int:
        return delay

    @override
    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        return trigger.due(progress)

    @override
    def start(self, step: int, executed: int) -> int:
        return step - executed

    @override
    def holds(self, index: int, execution_horizon: int) -> bool:
        return False


class Restart(Takeover):
    """Executes a chunk from its first action, whenever it comes."""

    joins = False

    @override
    def lead(self, delay: int) -> int:
        return delay

    @override
    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        return progress.index >= progress.execution_horizon - delay.estimate()

    @override
    def start(self, step: int, executed: int) -> int:
        return step

    @override
    def holds(self, index: int, execution_horizon: int) -> bool:
        return False


class Wait(Takeover):
    """Lets the robot wait until its next chunk is there."""

    joins = False

    @override
    def lead(self, delay: int) -> int:
        return 0

    @override
    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        return self.holds(progress.index, progress.execution_horizon)

    @override
    def start(self, step: int, executed: int) -> int:
        return step

    @override
    def holds(self, index: int, execution_horizon: int) -> bool:
        return index >= execution_horizon


TAKEOVERS: Final[dict[Handover, Takeover]] = {
    Handover.CONTINUE: Continue(),
    Handover.RESTART: Restart(),
    Handover.WAIT: Wait(),
}
