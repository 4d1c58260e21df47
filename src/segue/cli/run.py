"""segue run: a policy in a process of its own drives a robot, or a simulator, against the clock."""

from pathlib import Path
from typing import Annotated

import typer

from segue.cli import options
from segue.cli.options import command_line, console, limits_table

commands = typer.Typer()


@commands.command("run", cls=options.DottedCommand)
def run_(
    task: Annotated[str | None, typer.Argument(help="a simulator of `segue list`; none with --robot")] = None,
    run: Annotated[
        Path | None,
        typer.Argument(callback=options.of_the_hub, help="run of `segue train`", show_default="runs/<task>/seed-0"),
    ] = None,
    robot: options.RobotName = None,
    robot_option: options.RobotOption = None,
    policy: options.PolicyName = None,
    method: Annotated[str | None, typer.Option(help="one of `segue list`", show_default="predictive")] = None,
    predictor: Annotated[str | None, typer.Option(help="of the takeover: commanded, learned or none")] = None,
    data: options.TaskData = None,
    server: Annotated[str | None, typer.Option(help="URL of a policy server, instead of a run")] = None,
    openpi: options.Openpi = None,
    layout: options.Layout = options.ALOHA,
    prompt: options.Prompt = "",
    token: options.Token = None,
    seconds: Annotated[float, typer.Option(min=0.1, metavar="N", help="of driving")] = 60.0,
    rate: Annotated[
        float | None, typer.Option(min=0.1, metavar="N", help="steps per second", show_default="robot's")
    ] = None,
    execution_horizon: options.ExecutionHorizon = None,
    trigger: Annotated[str, typer.Option(help="fixed, queue:N or continuous")] = "fixed",
    delay_quantile: Annotated[float, typer.Option(min=0, max=1, metavar="N", help="of last delays")] = 1.0,
    limits: Annotated[Path | None, typer.Option(help="per joint: TOML, URDF or MJCF")] = None,
    velocity: Annotated[
        float, typer.Option(min=0, metavar="N", show_default=False, help="limit of every action, per second")
    ] = float("inf"),
    acceleration: Annotated[
        float, typer.Option(min=0, metavar="N", show_default=False, help="the same, per second squared")
    ] = float("inf"),
    jerk: Annotated[
        float, typer.Option(min=0, metavar="N", show_default=False, help="the same, per second cubed")
    ] = float("inf"),
    operator: Annotated[str | None, typer.Option(help="module:function of a pedal; else keys")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="of the first episode")] = 10_000,
    device: options.Device = "cpu",
    trace: Annotated[Path | None, typer.Option(help="to write", show_default="in runs/<task>/run")] = None,
    view: Annotated[bool, typer.Option("--view", help="also show it in Rerun while it runs")] = False,
) -> None:
    """Drive a robot or a simulator in real time. Every tick is recorded.

    segue run --robot my_arm:MyArm runs/arm --limits arm.toml --seconds 20
    """
    import os
    import time
    from contextlib import ExitStack, closing

    from segue.cli import robot as control
    from segue.cli.driven import check_whom, driven
    from segue.cli.robots import options_of
    from segue.lab.tasks.gymnasium_task import with_data
    from segue.links.process import ProcessLink
    from segue.methods import policy_process
    from segue.methods.policy_process import source_for
    from segue.safety.limits_file import read_limits, unlimited

    control.check_numbers(seconds, rate)
    task = None if task is None else with_data(task, data)
    check_whom(task, run, robot)
    if robot is not None:
        task, run = None, None if task is None else Path(task)
    chosen, given = options_of(robot_option or ()), None if limits is None else read_limits(limits)
    method = method or ("predictive" if openpi is None else "cross-fade")
    if predictor is not None:
        method += f":predictor={predictor}"
    source = None if policy else control.source_of(run, method, server, seed, device, task or "", openpi, prompt)
    if token is not None:
        os.environ[policy_process.TOKEN] = token  # where the policy process finds it, and `ps` does not
    with ExitStack() as undo:
        whom = driven(task, robot, chosen)  # first: what a policy of others is told depends on the robot
        undo.callback(whom.release)
        spec = whom.robot.spec
        dt = 1 / rate if rate else spec.dt
        if policy is not None:
            source = control.source_of_lerobot(policy, method, run, server or openpi, seed, device, spec, dt)
            method = source["arguments"]["method"]  # what stands in place of the default
        elif openpi is not None:
            source = source_for(spec, dt, openpi, layout, method, prompt)
        assert source is not None
        source, correction = policy_process.without_correction(source)
        link = ProcessLink(policy_process.argv(source))
        undo.callback(link.close)
        undo.callback(whom.release)  # before the policy is waited for to end
        hello = link.hello()
        check = hello.spec.check_fits if openpi is None else hello.spec.check_dimensions  # its layout says the period
        check(spec, f"run the policy of this {'task' if robot is None else 'robot'}")
        steps = execution_horizon or whom.execution_horizon(hello.spec.horizon)
        plan = control.planned(link, hello, dt, steps, delay_quantile, trigger)
        motion = control.Motion(velocity, acceleration, jerk, given)
        ladder = motion.ladder(whom.robot, dt)  # before room is taken for a trace
        if robot is not None or given is not None:
            console.print(limits_table(ladder.limiter.limits))
            for line in unlimited(ladder.limiter.limits):
                console.print(line, markup=False, highlight=False)
        path = trace or Path("runs") / whom.folder / "run" / time.strftime("%Y%m%d-%H%M%S", time.gmtime()) / "trace"
        about = {"command": command_line(), "method": server or method, "rate": 1 / dt}
        with closing(control.sink_for(path, whom, plan, about, seconds, view)) as sink:
            executor = control.executor_for(whom, plan, ladder, link, sink, hello, correction)
            received, ending, episodes = control.drive(executor, whom, motion, seconds, seed, operator)
    control.conclude(executor, ending, episodes, path, task, stopped=bool(received.number))
    raise typer.Exit(received.exit_status)
