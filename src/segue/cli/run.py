"""segue run: a policy in a process of its own drives a simulator against the clock."""

from pathlib import Path
from typing import Annotated

import typer

from segue.cli import options
from segue.cli.screen import command_line, console

commands = typer.Typer()


@commands.command("run")
def run_(
    task: options.TaskName,
    run: Annotated[Path | None, typer.Argument(help="run of `segue train`", show_default="runs/<task>/seed-0")] = None,
    method: options.Method = "predictive",
    server: Annotated[str | None, typer.Option(help="URL of a policy server, instead of a run")] = None,
    token: options.Token = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="of driving")] = 60.0,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="control steps per second", show_default="the robot's")
    ] = None,
    execution_horizon: options.ExecutionHorizon = None,
    trigger: Annotated[str, typer.Option(help="fixed, queue:<actions> or continuous")] = "fixed",
    delay_quantile: Annotated[float, typer.Option(min=0, max=1, help="of the last delays, to plan with")] = 1.0,
    velocity: Annotated[float, typer.Option(min=0, help="limit of every action, per second")] = float("inf"),
    acceleration: Annotated[float, typer.Option(min=0, help="the same, per second squared")] = float("inf"),
    jerk: Annotated[float, typer.Option(min=0, help="the same, per second cubed")] = float("inf"),
    seed: Annotated[int, typer.Option(help="of the first episode")] = 10_000,
    device: options.Device = "cpu",
    trace: Annotated[Path | None, typer.Option(help="to write", show_default="new, in runs/<task>/run")] = None,
    view: Annotated[bool, typer.Option("--view", help="also show it in Rerun while it runs")] = False,
) -> None:
    """Drive a simulator in real time. The policy has a process of its own; every tick is recorded.

    segue run adroit-door runs/adroit-door/seed-0 --method legato
    """
    import os
    import time

    from segue.cli import robot
    from segue.lab.tasks import tasks
    from segue.links.process import ProcessLink
    from segue.methods import policy_process

    robot.check_numbers(seconds, rate)
    settings = tasks.task(task)
    source = robot.source_of(run, method, server, seed, device, task)
    if token is not None:
        os.environ[policy_process.TOKEN] = token  # where the policy process finds it, and `ps` does not
    path = trace or Path("runs") / task / "run" / time.strftime("%Y%m%d-%H%M%S", time.gmtime()) / "trace"
    motion = robot.Motion(velocity, acceleration, jerk)
    link = ProcessLink(policy_process.argv(source))
    try:
        simulator, hello = settings.simulator(), link.hello()
        hello.spec.check_fits(simulator.spec, "run the policy of this task")
        dt = 1 / rate if rate else simulator.spec.dt
        plan = robot.plan_for(hello, dt, execution_horizon or settings.execution_horizon, delay_quantile, trigger)
        console.print(
            f"policy: chunks of {hello.spec.horizon}, {1e3 * hello.inference:.1f} ms per inference, planned delay "
            f"{plan.delay.estimate()} of {plan.execution_horizon} steps at {1 / dt:g} Hz",
            highlight=False,
        )
        ladder = motion.ladder(simulator, dt)  # before room is taken for a trace
        about = {"command": command_line(), "method": server or method, "rate": 1 / dt}
        sink = robot.sink_for(path, settings, simulator.spec, plan, about, seconds, view)
        executor = robot.executor_for(simulator, plan, ladder, link, sink, hello)
        try:
            received, ending, episodes = robot.drive(executor, simulator, settings, motion, seconds, seed)
        finally:
            sink.close()
    finally:
        link.close()
    robot.conclude(executor, ending, episodes, path, task, stopped=bool(received.number))
    raise typer.Exit(received.exit_status)
