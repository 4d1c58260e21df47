"""Whom `segue run` drives: the simulator of a task, or a robot of one's own; and who may interrupt it."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

from numpy.typing import NDArray

from segue.cli.options import console
from segue.cli.robots import OWN, Options, made, robot_from
from segue.core.robot import Robot, Simulator
from segue.errors import SpecError, UnknownNameError
from segue.lab.scales import action_scale, cruise_speed
from segue.lab.tasks import tasks
from segue.lab.tasks.tasks import Task
from segue.runtime.executor import Executor
from segue.runtime.operated import Keys, operated, say
from segue.runtime.run import stop_robot
from segue.trace.measures import robot_header


@dataclass(frozen=True)
class Driven:
    """A robot, and what is known of it besides.

    Attributes:
        robot: Is driven.
        task: Of a simulator: how long an episode is, and what was demonstrated; None for a robot of one's own.
    """

    robot: Robot
    task: Task | None = None

    @property
    def simulator(self) -> Simulator | None:
        """The robot, if it is one of a task."""
        return self.robot if self.task is not None and isinstance(self.robot, Simulator) else None

    @property
    def folder(self) -> str:
        """Of its traces, in ``runs``."""
        own = re.sub(r"\W+", "-", self.robot.spec.name).strip("-") or "robot"
        return own if self.task is None else self.task.name

    @property
    def pose(self) -> Callable[[], NDArray] | None:
        """Measures its motion, where it can beside its observations."""
        return getattr(self.robot, "pose", None)

    def execution_horizon(self, horizon: int) -> int:
        """Steps to execute of a chunk unless asked otherwise: the task's, or a quarter, as `segue doctor` says."""
        return ceil(horizon / 4) if self.task is None else self.task.execution_horizon

    def header(self) -> Mapping[str, Any]:
        """What a trace says of it."""
        if self.task is None:
            return {"robot": robot_header(self.robot.spec)}
        shown, spec = self.task.demonstrations(), self.robot.spec
        return {"task": self.task.name, "robot": robot_header(spec, action_scale(shown), cruise_speed(shown, spec))}

    def release(self) -> None:
        """Stop a robot of one's own, which may have been stopped before, or never have been driven; let go of its port.

        May be called twice.
        """
        if self.task is None:
            stop_robot(self.robot)
            if (disconnect := getattr(self.robot, "disconnect", None)) is not None:
                disconnect()


def check_whom(task: str | None, run: object, robot: str | None) -> None:
    """Raise `SpecError` unless one is named, a task or a robot, and the task is there."""
    if robot is not None and run is not None:
        raise SpecError(f"a task, {task}, and a robot, {robot}", "one of them", OWN)
    if robot is None and task is None:
        raise SpecError("neither a task nor a robot", "segue run TASK RUN", OWN)
    if robot is None:
        try:
            tasks.task(task or "")
        except UnknownNameError as error:
            raise SpecError(error.got, error.expected, f"{error.change}\n            {OWN}") from error


def driven(task: str | None, robot: str | None, options: Options) -> Driven:
    """Make the robot of a name, or the simulator of a task.

    Raises:
        SegueError: See `robot_from`.
    """
    if robot is not None:
        return Driven(robot_from(robot, options))
    settings = tasks.task(task or "")
    return Driven(settings.simulator(), settings)


@contextmanager
def listening(operator: str | None, executor: Executor) -> Iterator[None]:
    """Heed keys, where there is a terminal, or what ``module:function`` makes.

    Raises:
        SpecError: There is no such function.
        RobotError: It failed.
    """
    keys = Keys()
    if operator is not None:
        with operated(made(operator), executor, say):
            yield
    elif keys.there:
        console.print("keys: space holds and goes on, q or Esc stops", highlight=False)
        with keys, operated(keys, executor, say):
            yield
    else:
        yield
