"""How a chunk takes over from the one before.

    step        0 1 2 3 4 5 6 7 8 9     H = 8, s = 6; inference takes d = 2 steps, as expected
    Continue    0 1 2 3 4 5 6 7|2 3     asked for in step 6, joined where the robot is: actions 0 and 1 are skipped
    Restart     0 1 2 3 4 5|0 1 2 3     asked for in step 4, to be there after s steps
    Wait        0 1 2 3 4 5 . .|0 1     asked for in step 6, waited for

Only what joins continues the chunk before, and is asked for by a trigger.
"""

from enum import Enum

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

    def __init__(self, word: str) -> None:  # found once: these are asked in every control step
        self.joins, self._waits = word == "continue", word == "wait"

    def lead(self, delay: int) -> int:
        """Return how many steps before its chunk is needed a request is made, if inference takes ``delay`` steps."""
        return 0 if self._waits else delay

    def due(self, progress: Progress, trigger: Trigger, delay: WindowQuantile) -> bool:
        """Tell whether to ask: as the trigger says, or `lead` steps before the end of the chunk's own s steps."""
        if self.joins:
            return trigger.due(progress)
        return progress.index >= progress.execution_horizon - self.lead(delay.estimate())

    def start(self, step: int, executed: int) -> int:
        """Return the step in which a chunk starts that has come ``executed`` actions after its request."""
        return step - executed if self.joins else step

    def holds(self, index: int, execution_horizon: int) -> bool:
        """Tell whether the robot holds in the place of its chunk's action ``index``."""
        return self._waits and index >= execution_horizon
