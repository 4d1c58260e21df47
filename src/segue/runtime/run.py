"""The settings, counts and endings of a run."""

from dataclasses import dataclass
from enum import Enum
from math import isnan
from typing import Final

from segue.core.chunk import check_whole
from segue.core.robot import Driver
from segue.errors import SpecError

_IMPATIENCE: Final = 3  # calls of a robot's stop, each ended by a signal, after which one that hangs is left alone


class Ending(Enum):
    """Reasons for the end of a run."""

    DONE = "done"
    """The caller's own condition holds; the robot has not been stopped."""
    TIME = "time is up"
    STOPPED = "stopped by the operator"
    ABORTED = "stopped at once"
    FAULT = "fault"


@dataclass(frozen=True)
class Tolerance:
    """Bounds on faults, beyond which a run ends or a plan is made anew.

    Attributes:
        failures: Failed calls of the driver in a row, or observations that are not finite or too old.
        state_age: Age of an observation, where the driver tells it [s].
        hold: Time at rest for lack of actions [s].
        stall: Time that one tick may hang in the driver before the robot is stopped from outside [s], at least two
            control periods; None: for ever.
        standstill: Time in which the plan was not followed, because the machine stood still (suspended, a process that
            was stopped, a call that took long), after which it is forgotten: the robot comes to rest, and goes on from
            where it is then with a plan that is asked for anew [s]. At least three control periods.

    Raises:
        SpecError: A number that is not positive; infinite ones are for ever.
    """

    failures: int = 10
    state_age: float = 0.1
    hold: float = 30.0
    stall: float | None = 1.0
    standstill: float = 1.0

    def __post_init__(self) -> None:
        check_whole("tolerance of failures", self.failures)
        for name in ("failures", "state_age", "hold", "stall", "standstill"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SpecError(f"tolerance {name} = {value}", "a positive number", "math.inf is for ever")


def check_duration(seconds: float) -> None:
    """Raise `SpecError` unless a run can last so long, or infinitely long."""
    if isnan(seconds) or seconds < 0:
        raise SpecError(f"a run of {seconds} s", "0 or more seconds", "math.inf is until it is stopped")


@dataclass
class Counts:
    """Counts of slots in all episodes so far."""

    ticks: int = 0
    skipped: int = 0
    paused: int = 0
    starved: int = 0
    """Ticks without an action, from the first action of an episode on."""
    bad_observations: int = 0
    slow_observations: int = 0
    """Calls of observe that took longer than a control period."""
    failed_sends: int = 0
    slow_sends: int = 0
    """Calls of send that took longer than a control period."""
    saturated: int = 0
    standstills: int = 0
    """Times that the plan was forgotten, see `Tolerance.standstill`."""

    def slowness(self, dt: float) -> str:
        """Say why the robot got fewer commands than one per control period dt [s]; nothing where it did not."""
        slow, call, change = max(
            (self.slow_observations, "observe", "Read cameras and sensors in a thread of their own"),
            (self.slow_sends, "send", "Hand commands to a thread that waits for the bus"),
        )
        if slow <= 0.01 * self.ticks:
            return ""
        return (
            f"{slow} of {self.ticks} calls of the robot's {call} took longer than the control period of {dt:g} s, "
            f"{self.skipped} slots were skipped: the robot got fewer commands than were asked for. "
            f"{change}, or run at a lower rate."
        )


def stop_robot(robot: Driver) -> str:
    """Call the robot's stop, again where a signal has ended it; say why it failed, or nothing."""
    for _ in range(_IMPATIENCE):
        try:
            robot.stop()
            return ""
        except KeyboardInterrupt:  # somebody is impatient, and this is what they want
            continue
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "interrupted"


def never() -> bool:
    """End no run: the condition of one that has none."""
    return False
