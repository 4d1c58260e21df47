"""What `segue run` is made of: a plan for the policy, the trace, and the loop over episodes.

This is the control process. It does not import torch; what it knows of the policy is what the policy process says.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from segue.cli.driven import Driven, listening
from segue.cli.options import console
from segue.cli.robots import OWN, position_of
from segue.core.chunk import Array, ChunkPolicy, Continuation
from segue.core.correction import Correction
from segue.core.observation import Observed
from segue.core.robot import Robot, RobotSpec
from segue.core.spec import PolicySpec
from segue.errors import DataError, PolicyError, RobotError, SpecError, TimingError
from segue.integrations.lerobot.chosen import method_for
from segue.lab.report.trace_page import console_tables, measures_of
from segue.links.link import Hello, PolicyLink
from segue.links.process import ADVICE, ProcessLink
from segue.links.worker import measure_latency
from segue.methods import policy_process
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Handover, Plan, Request
from segue.plan.trigger import FIXED_HORIZON, trigger
from segue.runtime.clock import MonotonicClock
from segue.runtime.executor import CAUSES, STATES, Executor
from segue.runtime.realtime import realtime
from segue.runtime.run import Ending, check_duration, never
from segue.runtime.signals import Received, on_signals
from segue.safety.ladder import Ladder
from segue.safety.limits import UNLIMITED, JointLimits
from segue.safety.limits_file import LimitsFile, limits_for
from segue.trace.file import TraceWriter, plan_header, read
from segue.trace.measures import episode_records, latencies
from segue.trace.rerun import RerunSink
from segue.trace.sink import Sinks
from segue.trace.summary import summarise_run

LATENCIES = "latencies.txt"
"""Beside the trace, one per line in seconds, for ``segue eval --delay-trace``."""


PATIENCE: Final = 10.0
"""How long a machine is given to become quiet [s]."""
_CALLS: Final = 5
_SETTLED: Final = 0.2  # two medians that differ by no more than this share


@dataclass(frozen=True)
class Motion:
    """Limits of every joint, in units of the actions.

    Attributes:
        velocity: [unit/s]
        acceleration: [unit/s^2]
        jerk: [unit/s^3]
        file: Of limits per joint, each of which holds beside those.
    """

    velocity: float = UNLIMITED
    acceleration: float = UNLIMITED
    jerk: float = UNLIMITED
    file: LimitsFile | None = None

    def limits(self, spec: RobotSpec) -> JointLimits:
        """Limits of a robot; its positions are kept to its own range in any case."""
        return limits_for(spec, self.file, self.velocity, self.acceleration, self.jerk)

    def ladder(self, robot: Robot, dt: float) -> Ladder:
        """The ladder of a robot that stands where it is."""
        return Ladder(self.limits(robot.spec), dt, np.asarray(position_of(robot)(), np.float64).tolist())


@dataclass
class Episodes:
    """How the episodes of a run went."""

    done: int = 0
    solved: int = 0


def source_of(
    run: Path | None, method: str, server: str | None, seed: int, device: str, task: str,
    openpi: str | None = None, prompt: str = "",
) -> policy_process.Source:  # fmt: skip
    """What the policy process is told to build; raises `SpecError` for a run folder and a server.

    What is built for a server of openpi depends on the robot (`policy_process.source_for`): here it is only checked.
    """
    if openpi is not None and server is not None:
        raise SpecError("--server and --openpi", "one of them", "--server is for Segue's own servers")
    server = server or openpi
    if server is None:
        if run is None and not task:
            raise SpecError("a robot without a policy", "a run folder, or --server URL", OWN)
        return policy_process.local(run or Path("runs") / task / "seed-0", method, seed=seed, device=device)
    if run is not None:
        raise SpecError("a run folder and a server", "one of them", "leave the folder out: the server has the policy")
    return policy_process.remote(server, prompt)


def source_of_lerobot(
    policy: str, method: str, run: Path | None, server: str | None, seed: int, device: str, spec: RobotSpec, dt: float
) -> policy_process.Source:  # fmt: skip
    """The same for a checkpoint of LeRobot, which is told the robot's names and period: it knows none of them.

    Raises:
        SpecError: There is a run folder or a server too, or it is none of LeRobot's.
    """
    prefix, _, folder = policy.partition(":")
    if prefix != "lerobot" or not folder or run is not None or server is not None:
        raise SpecError(
            " and ".join([f"--policy {policy}", *(str(each) for each in (run, server) if each is not None)]),
            "lerobot:PATH alone, with the pretrained_model folder of a checkpoint",
            "leave out run folder and server, or --policy",
        )
    return policy_process.imported(
        "segue.integrations.lerobot.chosen:policy", folder=str(Path(folder).resolve()), dt=dt,
        method=method_for(Path(folder), method), observation_names=spec.observation_names,
        action_names=spec.action_names, action_kinds=spec.kinds.words, seed=seed, device=device,
    )  # fmt: skip


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


def planned(
    link: PolicyLink, hello: Hello, dt: float, execution_horizon: int, quantile: float, trigger: str,
    patience: float = PATIENCE,
) -> Plan:  # fmt: skip
    """A plan for a policy; where its inference is too slow for any, time it until that has settled.

    Args:
        link: To the policy.
        hello: What it has said of itself.
        dt: Control period [s].
        execution_horizon: Steps executed of a chunk, if the delay is no longer.
        quantile: Of the last delays, to plan with.
        trigger: When to ask for a chunk, see `segue.plan.trigger`.
        patience: Longest time that is waited [s].

    Raises:
        TimingError: The inference stays too slow; or nothing fits however fast it is.
        PolicyError: The policy answers with errors.
    """

    def plan(inference: float) -> Plan:
        return plan_for(replace(hello, inference=inference), dt, execution_horizon, quantile, trigger)

    def fits(inference: float) -> bool:
        try:
            plan(inference)
        except TimingError:
            return False
        return True

    plan(0.0)  # what is wrong at any speed is said as it is
    inference = hello.inference
    if not fits(inference):
        console.print(
            f"inference took {1e3 * hello.inference:.0f} ms, too long for chunks of {hello.spec.horizon} at "
            f"{1 / dt:g} Hz; waiting for up to {patience:g} s, in case the machine is busy",
            highlight=False,
        )
        inference = settled(link, hello, fits, patience)
        if not fits(inference):
            raise _too_slow(hello, inference, dt, execution_horizon)
        console.print(
            f"the machine was busy: inference took {1e3 * hello.inference:.0f} ms at the start, "
            f"{1e3 * inference:.0f} ms since",
            highlight=False,
        )
    made = plan(inference)
    console.print(
        f"policy: chunks of {hello.spec.horizon}, {1e3 * inference:.1f} ms per inference, planned delay "
        f"{made.delay.estimate()} of {made.execution_horizon} steps at {1 / dt:g} Hz",
        highlight=False,
    )
    return made


def settled(
    link: PolicyLink, hello: Hello, fits: Callable[[float], bool], patience: float,
    now: Callable[[], float] = time.monotonic,
) -> float:  # fmt: skip
    """Median time of an inference once it no longer changes and is short enough, or the last when patience ends [s].

    Args:
        link: To the policy; what is asked here is an episode of its own.
        hello: What the policy has said of itself.
        fits: Whether an inference of so many seconds is short enough.
        patience: Longest time that is waited [s].
        now: Monotonic time [s].
    """
    asked, until, before = _Asked(link, hello.spec), now() + patience, hello.inference
    while True:
        median = float(np.median(measure_latency(asked, now, _CALLS)))
        if now() >= until or (fits(median) and abs(median - before) <= _SETTLED * max(median, before)):
            return median
        before = median


class _Asked(ChunkPolicy):
    """A policy behind a link, waited for."""

    def __init__(self, link: PolicyLink, spec: PolicySpec) -> None:
        self._link, self._spec, self._epoch, self._number = link, spec, link.new_epoch(), 0

    @property
    @override
    def spec(self) -> PolicySpec:
        return self._spec

    @override
    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        self._number += 1
        self._link.send(Request(self._epoch, self._number, continuation.start, continuation), observation)
        asked = self._epoch, self._number
        while (answer := self._link.poll()) is None or answer.more or (answer.epoch, answer.number) != asked:
            time.sleep(0.0005)
        if answer.actions is None:
            raise PolicyError(f"a policy that does not answer: {answer.error}", *ADVICE)
        return answer.actions

    @override
    def reset(self) -> None:
        """The next episode of the link resets it."""

    @override
    def close(self) -> None:
        """The link is its owner's."""


def _too_slow(hello: Hello, inference: float, dt: float, execution_horizon: int) -> TimingError:
    """What to do, the cheap things first."""
    horizon, delay = hello.spec.horizon, ceil(inference / dt)
    most = min(horizon - execution_horizon, horizon // 2)
    rate = max(floor(10 * most / inference) / 10, 0.1)
    return TimingError(
        got=f"an inference of {1e3 * inference:.0f} ms ({1e3 * hello.inference:.0f} ms at the start): {delay} steps at "
        f"{1 / dt:g} Hz, and chunks of {horizon}",
        expected=f"at most {most} steps, {1e3 * most * dt:.0f} ms: an inference has to fit twice into a chunk",
        change=f"end other work on this machine, or run at a lower rate (--rate {rate:g}); `segue doctor --rate "
        f"{1 / dt:g}` with --run or --server measures what is possible. If it is as slow on a quiet machine: a faster "
        f"device, or a policy with a horizon of at least {delay + max(delay, execution_horizon)}",
    )


def sink_for(path: Path, driven: Driven, plan: Plan, about: Mapping[str, Any], seconds: float, view: bool) -> Sinks:
    """The trace of a run and, if it is to be viewed, Rerun."""
    spec = driven.robot.spec
    header = {
        **driven.header(),
        **about,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "plan": plan_header(plan),
        "ladder": [state.value for state in STATES],
        "causes": [cause.value for cause in CAUSES],
    }
    ticks = ceil((seconds + 10) * about["rate"])
    often = max(plan.execution_horizon // (2 + plan.delay.estimate()), 1) if plan.trigger == FIXED_HORIZON else 1
    views = [RerunSink(spec.action_names, [state.value for state in STATES])] if view else []
    writer = TraceWriter(
        path, header, action=plan.action, observation=len(spec.observation_names), horizon=plan.horizon,
        pose=0 if driven.pose is None else len(spec.pose_names),
        cameras=0 if driven.task else len(spec.cameras), ticks=ticks, chunks=ticks // often,
    )  # fmt: skip
    return Sinks(writer, *views)


def executor_for(
    driven: Driven, plan: Plan, ladder: Ladder, link: ProcessLink, sink: Sinks, hello: Hello,
    correction: Correction | None = None,
) -> Executor:  # fmt: skip
    """The executor of a robot against the clock."""
    return Executor(
        driven.robot, plan, ladder, link, clock=MonotonicClock(), position=position_of(driven.robot), sink=sink,
        pose=driven.pose, policy_dt=hello.spec.dt, correction=correction,
    )  # fmt: skip


def drive(
    executor: Executor, driven: Driven, motion: Motion, seconds: float, seed: int, operator: str | None
) -> tuple[Received, Ending, Episodes]:
    """One episode after the other until the time is up, or a signal or a wish of the operator comes."""
    with on_signals(executor.stop) as received, listening(operator, executor):
        return received, *_episodes(executor, driven, motion, seconds, seed)


def _episodes(executor: Executor, driven: Driven, motion: Motion, seconds: float, seed: int) -> tuple[Ending, Episodes]:
    """The clock stands still while a simulator is reset; a robot of one's own has one episode, from where it stands."""
    episodes, spent, simulator = Episodes(), 0.0, driven.simulator
    while True:
        if simulator is not None:
            simulator.reset(seed + episodes.done)
        executor.begin(motion.ladder(driven.robot, executor.dt))
        with realtime() as grants:
            if episodes.done == 0:
                console.print("; ".join(map(str, grants)), highlight=False)
            started = time.monotonic()
            ending = executor.run(max(seconds - spent, 0.0), _over(executor, driven))
        spent += time.monotonic() - started
        if ending is not Ending.DONE or simulator is None:
            return ending, episodes
        episodes.done += 1
        episodes.solved += simulator.outcome().success


def _over(executor: Executor, driven: Driven) -> Callable[[], bool]:
    """Whether the episode that begins now is over."""
    task, simulator = driven.task, driven.simulator
    if task is None or simulator is None:
        return never
    last = executor.counts.ticks + task.max_steps
    return lambda: simulator.outcome().finished or executor.counts.ticks >= last


def conclude(
    executor: Executor, ending: Ending, episodes: Episodes, path: Path, task: str | None, *, stopped: bool
) -> None:
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


def _summary(executor: Executor, ending: Ending, episodes: Episodes, path: Path, task: str | None) -> None:
    said, counts = executor.conversation.said, executor.counts
    why = f" ({executor.fault})" if executor.fault else ""
    solved = "" if task is None else f"{episodes.solved} of {episodes.done} episodes solved; "
    console.print(
        f"{ending.value}{why}; {solved}{said.errors} failed requests, "
        f"{said.dropped} answers dropped, {counts.failed_sends} failed sends, {executor.link.restarts} restarts",
        highlight=False, markup=False,
    )  # fmt: skip
    trace = read(path)
    summary = summarise_run(trace)
    for table in console_tables(summary, measures_of(episode_records(trace))):
        console.print(table)
    for line in summary.findings():
        more = " (segue doctor measures what is possible)" if "slower" in line else ""
        console.print(f"{line}{more}", highlight=False, soft_wrap=True)
    if said.root_cause:
        console.print(f"policy: {said.root_cause}", markup=False)
    console.print(f"trace:     {path}", soft_wrap=True)
    beside = path.with_name(LATENCIES)
    try:
        _save(beside, latencies(trace))
    except OSError as error:  # a full disk; they can be had of the trace again
        console.print(f"latencies: not written to {beside} ({error.strerror})", markup=False, soft_wrap=True)
    else:
        use = "" if task is None else f" (segue eval {task} ... --delay-trace {beside})"
        console.print(f"latencies: {beside}{use}", soft_wrap=True)
    console.file.flush()


def _save(path: Path, seconds: NDArray) -> None:
    """All of it or nothing: a part would be read as the whole."""
    aside = path.with_name(f".{path.name}.part")
    try:
        np.savetxt(aside, seconds, fmt="%.6f")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
