"""segue run: a policy in a process of its own drives a simulator against the clock.

This is the control process. It does not import torch; what it knows of the policy is what the policy process says.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from segue.cli import policy_process
from segue.core.robot import Resting, RobotSpec, Simulator
from segue.errors import DataError, RobotError, SpecError
from segue.lab.report.trace_page import console_tables, measures_of
from segue.lab.scales import action_scale, cruise_speed
from segue.lab.tasks import tasks
from segue.lab.tasks.tasks import Task
from segue.links.link import Hello
from segue.links.process import ProcessLink
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Handover, Plan
from segue.plan.trigger import FIXED_HORIZON, trigger
from segue.runtime.clock import MonotonicClock
from segue.runtime.executor import CAUSES, STATES, Executor
from segue.runtime.realtime import realtime
from segue.runtime.run import Ending, check_duration
from segue.runtime.signals import on_signals
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


@dataclass
class Episodes:
    """How the episodes of a run went."""

    done: int = 0
    solved: int = 0


def run_command(
    console: Console,
    task: str,
    run: Path | None,
    *,
    method: str,
    server: str | None,
    token: str | None,
    seconds: float,
    rate: float | None,
    execution_horizon: int | None,
    trigger_text: str,
    delay_quantile: float,
    motion: Motion,
    seed: int,
    device: str,
    trace: Path | None,
    view: bool = False,
    command: str,
) -> int:
    """`segue run`; the exit status."""
    _check_numbers(seconds, rate)
    settings = tasks.task(task)
    source = _source(run, method, server, seed, device, task)
    if token is not None:
        os.environ[policy_process.TOKEN] = token  # where the policy process finds it, and `ps` does not
    path = trace or Path("runs") / task / "run" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S") / "trace"
    link = ProcessLink(policy_process.argv(source))
    try:
        robot = settings.simulator()
        hello = link.hello()
        hello.spec.check_fits(robot.spec, "run the policy of this task")
        dt = 1 / rate if rate else robot.spec.dt
        plan = plan_for(hello, dt, execution_horizon or settings.execution_horizon, delay_quantile, trigger_text)
        console.print(
            f"policy: chunks of {hello.spec.horizon}, {1e3 * hello.inference:.1f} ms per inference, planned delay "
            f"{plan.delay.estimate()} of {plan.execution_horizon} steps at {1 / dt:g} Hz",
            highlight=False,
        )
        ladder = Ladder(motion.limits(robot.spec), dt, _position(robot)().tolist())  # before room is taken for a trace
        about = {"command": command, "method": server or method, "rate": 1 / dt}
        views = [RerunSink(robot.spec.action_names, [state.value for state in STATES])] if view else []
        sink = Sinks(_writer(path, settings, robot.spec, plan, about, seconds), *views)
        executor = Executor(
            robot, plan, ladder, link,
            clock=MonotonicClock(), position=_position(robot), sink=sink, pose=robot.pose, policy_dt=hello.spec.dt,
        )  # fmt: skip
        try:
            with on_signals(executor.stop) as received:
                ending, episodes = _episodes(console, executor, robot, settings, motion, seconds, seed)
        finally:
            sink.close()
    finally:
        link.close()
    try:
        _summary(console, executor, ending, episodes, path, task)
    except (OSError, DataError, SystemExit) as error:  # no terminal or no pipe any more, an unreadable trace
        if isinstance(error, DataError) and not received.number and ending is not Ending.FAULT:
            raise
        with suppress(OSError):
            console.print(f"the run cannot be summed up: {error}", markup=False)
    if ending is Ending.FAULT:
        raise RobotError(executor.fault, "a run without a fault", "see the ladder's changes in the trace")
    return received.exit_status


def _source(
    run: Path | None, method: str, server: str | None, seed: int, device: str, task: str
) -> policy_process.Source:
    if server is None:
        return policy_process.local(run or Path("runs") / task / "seed-0", method, seed=seed, device=device)
    if run is not None:
        raise SpecError("a run folder and a server", "one of them", "leave the folder out: the server has the policy")
    return policy_process.remote(server)


def _check_numbers(seconds: float, rate: float | None) -> None:
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


def _writer(
    path: Path, settings: Task, spec: RobotSpec, plan: Plan, about: Mapping[str, Any], seconds: float
) -> TraceWriter:
    demonstrations = settings.demonstrations()
    header = {
        "task": settings.name,
        **about,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "robot": robot_header(spec, action_scale(demonstrations), cruise_speed(demonstrations, spec)),
        "plan": plan_header(plan),
        "ladder": [state.value for state in STATES],
        "causes": [cause.value for cause in CAUSES],
    }
    ticks = ceil((seconds + 10) * about["rate"])
    often = max(plan.execution_horizon // 2, 1) if plan.trigger == FIXED_HORIZON else 1
    return TraceWriter(
        path, header, action=plan.action, observation=len(spec.observation_names), horizon=plan.horizon,
        pose=len(spec.pose_names), ticks=ticks, chunks=ticks // often,
    )  # fmt: skip


def _episodes(
    console: Console, executor: Executor, robot: Simulator, settings: Task, motion: Motion, seconds: float, seed: int
) -> tuple[Ending, Episodes]:
    """One episode after the other until the time is up; the clock stands still while the simulator is reset."""
    episodes, driven, position = Episodes(), 0.0, _position(robot)
    while True:
        robot.reset(seed + episodes.done)
        executor.begin(Ladder(motion.limits(robot.spec), executor.dt, position().tolist()))
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


def _summary(console: Console, executor: Executor, ending: Ending, episodes: Episodes, path: Path, task: str) -> None:
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
