"""What `segue run` is made of: a plan for the policy, the trace, and the loop over episodes.

This is the control process. It does not import torch; what it knows of the policy is what the policy process says.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.cli.screen import console
from segue.core.robot import Resting, RobotSpec, Simulator
from segue.errors import DataError, RobotError, SpecError
from segue.lab.report.trace_page import console_tables, measures_of
from segue.lab.scales import action_scale, cruise_speed
from segue.lab.tasks.tasks import Task
from segue.links.link import Hello
from segue.links.process import ProcessLink
from segue.methods import policy_process
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Handover, Plan
from segue.plan.trigger import FIXED_HORIZON, trigger
from segue.runtime.clock import MonotonicClock
from segue.runtime.executor import CAUSES, STATES, Executor
from segue.runtime.realtime import realtime
from segue.runtime.run import Ending, check_duration
from segue.runtime.signals import Received, on_signals
from segue.safety.ladder import Ladder
from segue.safety.limits import UNLIMITED, JointLimits
from segue.trace.file import TraceWriter, plan_header, read
from segue.trace.measures import episode_records, latencies, robot_header
from segue.trace.rerun import RerunSink
from segue.trace.sink import Sinks
from segue.trace.summary import summarise_run

LATENCIES = "latencies.txt"
"""Beside the trace, one per line in seconds, for ``segue eval --delay-trace``."""


@dataclass(frozen=True)
class Motion:
    """Limits of every joint, in units of the actions.

    Attributes:
        velocity: [unit/s]
        acceleration: [unit/s^2]
        jerk: [unit/s^3]
    """

    velocity: float = UNLIMITED
    acceleration: float = UNLIMITED
    jerk: float = UNLIMITED

    def limits(self, spec: RobotSpec) -> JointLimits:
        """Limits of a robot; its positions are kept to its own range in any case."""
        n = len(spec.action_names)
        return JointLimits(
            names=spec.action_names,
            units=("1",) * n,
            low=tuple(map(float, spec.action_low)),
            high=tuple(map(float, spec.action_high)),
            velocity=(self.velocity,) * n,
            acceleration=(self.acceleration,) * n,
            jerk=(self.jerk,) * n,
            kinds=spec.kinds,
        )

    def ladder(self, robot: Simulator, dt: float) -> Ladder:
        """The ladder of a robot that stands where it is."""
        return Ladder(self.limits(robot.spec), dt, _position(robot)().tolist())


@dataclass
class Episodes:
    """How the episodes of a run went."""

    done: int = 0
    solved: int = 0


def source_of(
    run: Path | None, method: str, server: str | None, seed: int, device: str, task: str
) -> policy_process.Source:
    """What the policy process is told to build; raises `SpecError` for a run folder and a server."""
    if server is None:
        return policy_process.local(run or Path("runs") / task / "seed-0", method, seed=seed, device=device)
    if run is not None:
        raise SpecError("a run folder and a server", "one of them", "leave the folder out: the server has the policy")
    return policy_process.remote(server)


def check_numbers(seconds: float, rate: float | None) -> None:
    """Raise `SpecError` for what passes every bound of the command line: no number, and infinitely many ticks."""
    check_duration(seconds)
    for name, value in (("seconds", seconds), ("rate", rate)):
        if value is not None and not isfinite(value):
            raise SpecError(f"--{name} {value}", "a finite number", f"give --{name} a number")


def plan_for(hello: Hello, dt: float, execution_horizon: int, quantile: float, trigger_text: str) -> Plan:
    """A plan for a policy whose inference took as long as it says; s is raised to the delay, as in evaluation."""
    delay = 0 if hello.handover is Handover.WAIT else ceil(hello.inference / dt)
    return Plan(
        hello.spec.horizon,
        len(hello.spec.action_names),
        max(execution_horizon, delay),
        WindowQuantile(delay, quantile=quantile),
        hello.handover,
        trigger(trigger_text),
    )


def _position(robot: Simulator) -> Callable[[], NDArray]:
    """Where a robot is in units of its actions; nowhere in particular if all of these are at rest at zero."""
    spec = robot.spec
    if isinstance(robot, Resting):
        return robot.rest
    if len(spec.kinds.moves) == len(spec.action_names):
        return lambda: np.zeros(len(spec.action_names))
    if len(spec.pose_names) == len(spec.action_names):
        return robot.pose
    raise SpecError(
        f"{spec.name}, which does not say where it is in units of its actions",
        "a method `rest`",
        "add it, see segue.core.robot.Resting",
    )


def sink_for(
    path: Path, settings: Task, spec: RobotSpec, plan: Plan, about: Mapping[str, Any], seconds: float, view: bool
) -> Sinks:
    """The trace of a run and, if it is to be viewed, Rerun."""
    demonstrations = settings.demonstrations()
    header = {
        "task": settings.name,
        **about,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "robot": robot_header(spec, action_scale(demonstrations), cruise_speed(demonstrations, spec)),
        "plan": plan_header(plan),
        "ladder": [state.value for state in STATES],
        "causes": [cause.value for cause in CAUSES],
    }
    ticks = ceil((seconds + 10) * about["rate"])
    often = max(plan.execution_horizon // 2, 1) if plan.trigger == FIXED_HORIZON else 1
    views = [RerunSink(spec.action_names, [state.value for state in STATES])] if view else []
    writer = TraceWriter(
        path, header, action=plan.action, observation=len(spec.observation_names), horizon=plan.horizon,
        pose=len(spec.pose_names), ticks=ticks, chunks=ticks // often,
    )  # fmt: skip
    return Sinks(writer, *views)


def executor_for(
    robot: Simulator, plan: Plan, ladder: Ladder, link: ProcessLink, sink: Sinks, hello: Hello
) -> Executor:
    """The executor of a simulator against the clock."""
    return Executor(
        robot, plan, ladder, link,
        clock=MonotonicClock(), position=_position(robot), sink=sink, pose=robot.pose, policy_dt=hello.spec.dt,
    )  # fmt: skip


def drive(
    executor: Executor, robot: Simulator, settings: Task, motion: Motion, seconds: float, seed: int
) -> tuple[Received, Ending, Episodes]:
    """One episode after the other until the time is up or a signal comes."""
    with on_signals(executor.stop) as received:
        return received, *_episodes(executor, robot, settings, motion, seconds, seed)


def _episodes(
    executor: Executor, robot: Simulator, settings: Task, motion: Motion, seconds: float, seed: int
) -> tuple[Ending, Episodes]:
    """The clock stands still while the simulator is reset."""
    episodes, driven = Episodes(), 0.0
    while True:
        robot.reset(seed + episodes.done)
        executor.begin(motion.ladder(robot, executor.dt))
        last = executor.counts.ticks + settings.max_steps
        with realtime() as grants:
            if episodes.done == 0:
                console.print("; ".join(map(str, grants)), highlight=False)
            started = time.monotonic()
            ending = executor.run(
                max(seconds - driven, 0.0), lambda last=last: robot.outcome().finished or executor.counts.ticks >= last
            )
        driven += time.monotonic() - started
        if ending is not Ending.DONE:
            return ending, episodes
        episodes.done += 1
        episodes.solved += robot.outcome().success


def conclude(executor: Executor, ending: Ending, episodes: Episodes, path: Path, task: str, *, stopped: bool) -> None:
    """Sum a run up, as far as there is somebody to tell; raise `RobotError` where it ended in a fault."""
    try:
        _summary(executor, ending, episodes, path, task)
    except (OSError, DataError, SystemExit) as error:  # no terminal or no pipe any more, an unreadable trace
        if isinstance(error, DataError) and not stopped and ending is not Ending.FAULT:
            raise
        with suppress(OSError):
            console.print(f"the run cannot be summed up: {error}", markup=False)
    if ending is Ending.FAULT:
        raise RobotError(executor.fault, "a run without a fault", "see the ladder's changes in the trace")


def _summary(executor: Executor, ending: Ending, episodes: Episodes, path: Path, task: str) -> None:
    said, counts = executor.conversation.said, executor.counts
    why = f" ({executor.fault})" if executor.fault else ""
    console.print(
        f"{ending.value}{why}; {episodes.solved} of {episodes.done} episodes solved; {said.errors} failed requests, "
        f"{said.dropped} answers dropped, {counts.failed_sends} failed sends, {executor.link.restarts} restarts",
        highlight=False, markup=False,
    )  # fmt: skip
    trace = read(path)
    for table in console_tables(summarise_run(trace), measures_of(episode_records(trace))):
        console.print(table)
    if said.root_cause:
        console.print(f"policy: {said.root_cause}", markup=False)
    console.print(f"trace:     {path}", soft_wrap=True)
    beside = path.with_name(LATENCIES)
    try:
        _save(beside, latencies(trace))
    except OSError as error:  # a full disk; they can be had of the trace again
        console.print(f"latencies: not written to {beside} ({error.strerror})", markup=False, soft_wrap=True)
    else:
        console.print(f"latencies: {beside} (segue eval {task} ... --delay-trace {beside})", soft_wrap=True)
    console.file.flush()


def _save(path: Path, seconds: NDArray) -> None:
    """All of it or nothing: a part would be read as the whole."""
    aside = path.with_name(f".{path.name}.part")
    try:
        np.savetxt(aside, seconds, fmt="%.6f")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
