"""segue doctor | check-robot: what this machine and a robot can promise, measured."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli import options
from segue.cli.options import complaints, console
from segue.errors import RobotError, SegueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue.core.chunk import ChunkPolicy
    from segue.core.robot import Robot
    from segue.core.smoothness import Array
    from segue.runtime.doctor import Jitter

commands = typer.Typer()
CALLS = 30
USUAL = 50.0
"""Rate where neither the user nor a robot says one [Hz]."""


@commands.command()
def doctor(
    rate: Annotated[
        float | None, typer.Option(min=1, max=2000, help="control rate, Hz", show_default="robot's, policy's, or 50")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="per measurement of the timer")] = 2.0,
    run: Annotated[
        Path | None, typer.Option(callback=options.of_the_hub, help="folder of a trained policy: time its inference")
    ] = None,
    method: options.Method = "predictive",
    server: Annotated[str | None, typer.Option(help="address of a policy server: time its answers")] = None,
    openpi: options.Openpi = None,
    layout: options.Layout = options.ALOHA,
    prompt: options.Prompt = "",
    token: options.Token = None,
    robot: options.RobotName = None,
    robot_option: options.RobotOption = None,
) -> None:
    """Measure what this machine can promise a robot. It recommends rate, delay and execution horizon.

    segue doctor --rate 100 --server ws://127.0.0.1:8000
    """
    import time

    from segue.links.worker import measure_latency
    from segue.runtime.doctor import look_at_machine, machine_notes, recommend

    machine = look_at_machine()
    memory = "none" if machine.shared_memory is None else f"{machine.shared_memory >> 20} MB free"
    console.print(f"{machine.cores} cores, load {machine.load:.1f}, shared memory {memory}")
    advice = machine_notes(machine)
    console.print(f"torch: {_torch()}", markup=False, soft_wrap=True)
    with _robot(robot, robot_option) as driver:
        asked = rate or (1 / driver.spec.dt if driver else None)
        theirs = _openpi(openpi, layout, prompt, asked, driver, token)
        policies = [*_devices(run, method), *_remote(server, token), *theirs]
        paced = asked or next((1 / policy.spec.dt for _, policy in policies), USUAL)
        advice.append(_timer(paced, seconds))
        if driver is not None:
            advice.append(_observing(driver, paced)[0])
    for name, policy in policies:
        latency = measure_latency(policy, time.perf_counter, CALLS)
        console.print(f"{name}: {_milliseconds(latency)}, horizon {policy.spec.horizon}")
        own = 1 / policy.spec.dt
        advice.append(f"{name}: {recommend(policy.spec.horizon, asked or own, latency).words}")
        if asked is not None and abs(asked - own) > 1e-6 * own:
            advice.append(f"{name} was made for {own:g} Hz: at {asked:g} Hz it moves {asked / own:.2g} times as fast")
        if driver is not None:
            policy.spec.check_dimensions(driver.spec, "use a policy that was trained for this robot")
        policy.close()
    console.print("\nAdvice", style="bold")
    for words in advice:
        console.print(f"- {words}.", soft_wrap=True, highlight=False)
    if server is not None and not any(name == server for name, _ in policies):
        raise typer.Exit(1)


@commands.command("check-robot")
def check_robot_(
    robot: Annotated[str, typer.Argument(help="module:Class, or a function that makes one")],
    robot_option: options.RobotOption = None,
    limits: Annotated[Path | None, typer.Option(help="per joint: TOML, URDF or MJCF")] = None,
) -> None:
    """Check that a robot of your own can be driven. It is asked to hold, so give it room.

    segue check-robot my_arm:MyArm --limits arm.toml
    """
    from rich.markup import escape
    from rich.table import Table

    from segue.cli.options import limits_table
    from segue.cli.robots import position_of
    from segue.core.robot import check_robot
    from segue.safety.ladder import Ladder
    from segue.safety.limits import UNLIMITED
    from segue.safety.limits_file import limits_for, read_limits, unlimited

    file = None if limits is None else read_limits(limits)
    with _robot(robot, robot_option) as driver:
        assert driver is not None
        spec = driver.spec
        held = limits_for(spec, file, UNLIMITED, UNLIMITED, UNLIMITED)
        where = position_of(driver)().tolist()
        Ladder(held, spec.dt, where)
        words, late = _observing(driver, 1 / spec.dt)
        check_robot(driver)
    console.print(
        f"{spec.name} at {1 / spec.dt:g} Hz: {len(spec.observation_names)} observations, {len(spec.cameras)} cameras, "
        f"{len(spec.action_names)} actions", markup=False, highlight=False,
    )  # fmt: skip
    table = Table("action", "kind", "stands at")
    for name, kind, at in zip(spec.action_names, spec.kinds.each(len(where)), where, strict=True):
        table.add_row(escape(name), str(kind), f"{at:.4g}")
    console.print(table)
    console.print(limits_table(held))
    for line in [words, *unlimited(held)]:
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
    if late:
        raise RobotError(
            words, "less than a control period", "read sensors in a thread of their own, or lower the rate"
        )
    within = f" --limits {limits}" if limits else ""
    console.print(
        f"it can be driven: segue run --robot {robot} RUN{within}", markup=False, highlight=False, soft_wrap=True
    )


@contextmanager
def _robot(name: str | None, words: list[str] | None) -> "Iterator[Robot | None]":
    """The robot of a name, if there is one; it is stopped at the end."""
    from segue.cli.robots import options_of, robot_from
    from segue.runtime.run import stop_robot

    if name is None:
        yield None
        return
    robot = robot_from(name, options_of(words or ()))
    try:
        yield robot
    finally:
        stop_robot(robot)


def _observing(robot: "Robot", rate: float) -> tuple[str, bool]:
    """How long observing takes, in words, and whether that is too long for a rate [Hz]."""
    import time

    import numpy as np

    seconds = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        robot.observe()
        seconds.append(time.perf_counter() - begun)
    late = float(np.median(seconds)) > 1 / rate
    share = "longer than" if late else "of"
    return f"{robot.spec.name}: observing takes {_milliseconds(np.array(seconds))}, {share} {1e3 / rate:.3g} ms", late


def _milliseconds(seconds: "Array") -> str:
    import numpy as np

    middle, slow, worst = 1e3 * np.quantile(seconds, (0.5, 0.99, 1))
    return f"median {middle:.3g} ms, p99 {slow:.3g} ms, max {worst:.3g} ms"


def _timer(rate: float, seconds: float) -> str:
    """Measure with and without spinning, with ordinary and with real-time priority as far as it is granted."""
    from rich.table import Table

    from segue.runtime.clock import MonotonicClock
    from segue.runtime.doctor import measure_jitter, timer_words
    from segue.runtime.realtime import realtime

    table = Table("waiting", "lateness", "missed")

    def both(label: str) -> "list[Jitter]":
        ways = {"sleep": MonotonicClock(spin=0.0), "sleep + spin": MonotonicClock()}
        found = [measure_jitter(clock, rate, seconds) for clock in ways.values()]
        for name, jitter in zip(ways, found, strict=True):
            table.add_row(
                f"{name}, {label}", _milliseconds(jitter.lateness), f"{jitter.missed} of {seconds * rate:.0f}"
            )
        return found

    best = both("ordinary")
    with realtime() as grants:
        if any(grant.granted for grant in grants[:3]):
            best = both("with what is granted")
    console.print(table)
    for grant in grants:
        console.print(str(grant), highlight=False)
    return timer_words(*best)


def _torch() -> str:
    try:
        import torch
    except ImportError:
        return "not installed; a policy on this machine needs it: in a clone of Segue, pip install '.[learn]'"
    devices = ["cpu", *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count()))]
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {', '.join(devices)}"


def _devices(run: Path | None, method: str) -> "list[tuple[str, ChunkPolicy]]":
    """The policy of a run on every device of this machine."""
    if run is None:
        return []
    import torch

    from segue.methods.load import chunk_policy

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return [(f"{method} on {device}", chunk_policy(run, method, device=device)[0]) for device in devices]


def _remote(server: str | None, token: str | None) -> "list[tuple[str, ChunkPolicy]]":
    """The policy of a server; without an answer, that is what is said."""
    if server is None:
        return []
    from segue.links.client import RemotePolicy

    try:
        return [(server, RemotePolicy(server, token=token))]
    except SegueError as error:
        complaints.print(f"error: {server}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return []


def _openpi(
    url: str | None, layout: str, prompt: str, rate: float | None, robot: "Robot | None", token: str | None
) -> "list[tuple[str, ChunkPolicy]]":
    """The policy of a server of openpi, asked with black pictures, for a robot or for whatever the layout is for."""
    if url is None:
        return []
    from segue.links import layouts
    from segue.links.openpi import openpi_policy
    from segue.methods.policy_process import sees_and_takes

    found = layouts.layout(layout)
    rate = rate or found.rate or USUAL
    sees = found.example(rate) if robot is None else sees_and_takes(robot.spec, 1 / rate)
    unknown = robot is None and found.actions is None
    policy = openpi_policy(url, found, sees, any_actions=unknown, prompt=prompt, token=token)
    steps, actions = policy.spec.chunk_shape
    at = 1 / policy.spec.dt
    console.print(f"{url}: {steps} steps of {actions} actions, {steps / at:.3g} s at {at:g} Hz", highlight=False)
    return [(url, policy)]
