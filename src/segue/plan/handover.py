"""How a chunk takes over from the one before.

    step        0 1 2 3 4 5 6 7 8 9     H = 8, s = 6; inference takes d = 2 steps, as expected
    Continue    0 1 2 3 4 5 6 7|2 3     asked for in step 6, joined where the robot is: actions 0 and 1 are skipped
    Restart     0 1 2 3 4 5|0 1 2 3     asked for in step 4, to be there after s steps
    Wait        0 1 2 3 4 5 . .|0 1     asked for in step 6, waited for

A plan asks its handover whether the next chunk is due, in which step a chunk starts that has come ``executed`` actions
after its request, whether the robot holds in the place of its chunk's action ``index``, and by how many steps a request
leads, of those that its inference takes. Only what joins continues the chunk before, and is asked for by a trigger.
"""

from enum import Enum
from typing import ClassVar, Final

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


class Continue:
    """Joins a chunk at the step that has been reached."""

    joins: ClassVar = True

    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        """As the trigger says."""
        return trigger.due(progress)

    def start(self, step: int, executed: int) -> int:
        """Count from the request."""
        return step - executed

    def holds(self, index: int, execution_horizon: int) -> bool:
        """Never."""
        return False

    def lead(self, delay: int) -> int:
        """All of them."""
        return delay


class Restart:
    """Executes a chunk from its first action, whenever it comes."""

    joins: ClassVar = False

    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        """As long before the end of the chunk's own s steps as the inference takes."""
        return progress.index >= progress.execution_horizon - delay.estimate()

    def start(self, step: int, executed: int) -> int:
        """Count from now."""
        return step

    def holds(self, index: int, execution_horizon: int) -> bool:
        """Never."""
        return False

    def lead(self, delay: int) -> int:
        """All of them."""
        return delay


class Wait:
    """Lets the robot wait until its next chunk is there."""

    joins: ClassVar = False

    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        """At the end of the chunk's own s steps."""
        return self.holds(progress.index, progress.execution_horizon)

    def start(self, step: int, executed: int) -> int:
        """Count from now."""
        return step

    def holds(self, index: int, execution_horizon: int) -> bool:
        """From the end of the chunk's own s steps on."""
        return index >= execution_horizon

    def lead(self, delay: int) -> int:
        """None."""
        return 0


TAKEOVERS: Final = {Handover.CONTINUE: Continue(), Handover.RESTART: Restart(), Handover.WAIT: Wait()}
