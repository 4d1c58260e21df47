"""Pause and resume: decides, without I/O, when a robot is let go of and when it goes on, as somebody asks.

    stage        in each slot                                          the next stage
    RUNNING      commands are sent; a pause is asked for               LETTING_GO: chunk and prefix are to be forgotten
    LETTING_GO   commands are sent, and bring the robot to rest        as PAUSED, once it is at rest
    PAUSED       nothing is sent; a pause is asked for                 PAUSED
                 nothing is asked for any more                         RESUMING
    RESUMING     the robot's pose is known, and the ladder is told     RUNNING, in the next slot
                 the pose is not known, or outside of the limits       PAUSED, as if asked for

Pause and resume may be asked for at any time, by any thread; `Operator.slot` is where they are heeded.
"""

from enum import Enum, auto


class Stage(Enum):
    """Stages from running to paused and back."""

    RUNNING = auto()
    LETTING_GO = auto()
    PAUSED = auto()
    RESUMING = auto()


class Operator:
    """Keeps the stage of a run."""

    def __init__(self) -> None:
        self.wanted = False
        self.refused = ""
        """Why the last attempt to resume has failed; empty when it has not."""
        self.begin()

    def begin(self) -> None:
        """Start an episode: a pause that could not be ended is over, and one that was asked for since is not."""
        self.wanted, self.refused, self.stage = self.wanted and not self.refused, "", Stage.RUNNING

    @property
    def has_let_go(self) -> bool:
        """Tell whether the robot is brought to rest, or is left alone."""
        return self.stage in (Stage.LETTING_GO, Stage.PAUSED)

    def let_go(self) -> None:
        """Bring the robot to rest, and go on from there unless a pause is asked for."""
        self.stage = Stage.LETTING_GO

    def slot(self, at_rest: bool) -> Stage:
        """Return the stage of this slot; `refuse` answers a RESUMING where the robot cannot go on.

        ``at_rest`` says whether the robot is at rest, and has taken all of its commands.
        """
        wanted = self.wanted  # looked at once: another thread may change it meanwhile
        if not self.has_let_go:
            self.stage = Stage.LETTING_GO if wanted else Stage.RUNNING
        if self.has_let_go and at_rest:
            self.stage = Stage.PAUSED if wanted else Stage.RESUMING
            self.refused = self.refused if wanted else ""
        return self.stage

    def refuse(self, why: str) -> None:
        """Stay paused until `resume` is asked for again."""
        self.wanted, self.refused, self.stage = True, why, Stage.PAUSED
