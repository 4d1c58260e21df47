"""The command line: every command with its options; what it does stands in `segue.cli`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from segue.cli import options
from segue.cli.recordings_cli import recordings
from segue.errors import SegueError

app = typer.Typer(
    help="Action-chunking robot policies that continue without a seam.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console()
app.add_typer(recordings)

RECIPE = "the task's recipe"
EVERY_DELAY = "0,4,8,12"
FIXED = "fixed"
LATENCY = 0.08
COMPARED = "sync,naive,ensembling,rtc,rtc-identity,training-time-rtc,legato,predictive"
DEMONSTRATED = "naive,ensembling,rtc,rtc-identity,naive:predictor=learned,predictive"


def command_line() -> str:
    """What the user typed, for the results."""
    return " ".join(["segue", *sys.argv[1:]])


@app.command()
def train(
    task: options.OwnTask = None,
    data: options.Data = None,
    rate: options.Rate = None,
    state: options.State = None,
    action: options.Action = None,
    cameras: options.Cameras = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="the policy sees none of the cameras that the data has")
    ] = False,
    episodes: options.Episodes = None,
    skip_bad: options.SkipBad = False,
    fill_missing: options.FillMissing = False,
    kind: options.Kind = None,
    family: Annotated[str, typer.Option(help="flow, diffusion or regression")] = "flow",
    objective: Annotated[
        str | None,
        typer.Option(help="of a flow policy: plain, training-time-rtc, legato or literal-legato", show_default="plain"),
    ] = None,
    autoencoder: Annotated[
        Path | None, typer.Option(help="run of `segue train-autoencoder`: the policy lives in its latent space")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the run", show_default="runs/<task>/seed-<seed>")] = None,
    seed: options.Seed = 0,
    updates: Annotated[
        int | None, typer.Option(min=2, help="optimiser steps, both stages together", show_default=RECIPE)
    ] = None,
    horizon: Annotated[int | None, typer.Option(min=2, help="actions per chunk", show_default=RECIPE)] = None,
    network: Annotated[str | None, typer.Option(help="mlp, mixer, unet or transformer", show_default=RECIPE)] = None,
    relative: Annotated[bool | None, typer.Option(help="actions relative to the observed state")] = None,
    own_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="legato: share of self-conditioned references")
    ] = None,
    stages: Annotated[int, typer.Option(min=1, max=2, help="1 trains from scratch under the objective")] = 2,
    predictor: Annotated[
        bool, typer.Option("--predictor/--no-predictor", help="beside the policies, for `predictor=learned`")
    ] = True,
    fresh: options.Fresh = False,
) -> None:
    """Train a policy on demonstrations; an interrupted run goes on where it stopped."""
    from segue.cli.evaluation import train_command
    from segue.cli.reading import Reading

    train_command(
        console, task, data, family, objective, out,
        reading=Reading.of(rate, state, action, episodes, skip_bad, fill_missing, kind, cameras), blind=blind,
        autoencoder=autoencoder, seed=seed, updates=updates, horizon=horizon, network=network, relative=relative,
        own_share=own_share, stages=stages, predictor=predictor, fresh=fresh,
    )  # fmt: skip


@app.command("train-autoencoder")
def train_autoencoder(
    task: options.OwnTask = None,
    data: options.Data = None,
    rate: options.Rate = None,
    state: options.State = None,
    action: options.Action = None,
    episodes: options.Episodes = None,
    skip_bad: options.SkipBad = False,
    fill_missing: options.FillMissing = False,
    kind: options.Kind = None,
    out: Annotated[Path | None, typer.Option(help="folder", show_default="runs/<task>/seed-<seed>/autoencoder")] = None,
    horizon: Annotated[int | None, typer.Option(min=2, help="actions per chunk")] = None,
    stride: Annotated[int, typer.Option(min=1, help="control steps per latent position")] = 4,
    latent: Annotated[int | None, typer.Option(min=1, help="numbers per position", show_default="as an action")] = None,
    network: Annotated[str, typer.Option(help="convolutional (any horizon), or global (as published)")] = (
        "convolutional"
    ),
    bottleneck: Annotated[str, typer.Option(help="gaussian, or quantized")] = "gaussian",
    updates: Annotated[int | None, typer.Option(min=1, help="optimiser steps")] = None,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
) -> None:
    """Train an autoencoder of action chunks, and print what it loses on held-out episodes."""
    from segue.cli.autoencoder import train_autoencoder_command
    from segue.cli.reading import Reading

    train_autoencoder_command(
        console, task, data, out, reading=Reading.of(rate, state, action, episodes, skip_bad, fill_missing, kind),
        horizon=horizon, stride=stride, latent=latent,
        network=network, bottleneck=bottleneck, updates=updates, seed=seed, fresh=fresh,
    )  # fmt: skip


@app.command("train-predictor")
def train_predictor(
    task: options.OwnTask = None,
    data: options.Data = None,
    rate: options.Rate = None,
    state: options.State = None,
    action: options.Action = None,
    episodes: options.Episodes = None,
    skip_bad: options.SkipBad = False,
    fill_missing: options.FillMissing = False,
    kind: options.Kind = None,
    out: Annotated[Path | None, typer.Option(help="folder", show_default="runs/<task>/seed-<seed>/predictor")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="optimiser steps")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="hidden units per layer")] = None,
    most_steps: Annotated[int | None, typer.Option(min=1, help="longest prediction in training")] = None,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
) -> None:
    """Train a predictor of states under actions, and print how far off it is on held-out episodes."""
    from segue.cli.predictor import train_predictor_command
    from segue.cli.reading import Reading

    train_predictor_command(
        console, task, data, out, reading=Reading.of(rate, state, action, episodes, skip_bad, fill_missing, kind),
        updates=updates, width=width, most_steps=most_steps,
        seed=seed, fresh=fresh,
    )  # fmt: skip


@app.command("eval")
def evaluate(
    task: options.TaskName,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="runs of `segue train`, one per training seed", show_default="runs/<task>/seed-0"),
    ] = None,
    methods: options.Methods = COMPARED,
    delays: options.Delays = EVERY_DELAY,
    delay_model: options.DelayKind = FIXED,
    delay_trace: Annotated[
        Path | None, typer.Option(help="recorded latencies: a trace of run, or a text file, one per line, in seconds")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="per method, delay and training seed")] = 100,
    execution_horizon: options.ExecutionHorizon = None,
    slower: Annotated[
        str, typer.Option(help="equal hardware: factors on the delay of methods, such as rtc=2.1 (make bench)")
    ] = "",
    workers: options.Workers = 2,
    out: Annotated[Path | None, typer.Option(help="folder of the report", show_default="runs/<task>/eval")] = None,
) -> None:
    """Run trained policies in the simulator under inference delay, and compare methods on the same seeds."""
    from segue.cli.evaluation import eval_command

    eval_command(
        console, task, runs, methods, delays, delay_model, delay_trace, episodes=episodes,
        execution_horizon=execution_horizon, slower=slower, workers=workers, out=out, command=command_line(),
    )  # fmt: skip


@app.command()
def bench(
    task: Annotated[str, typer.Argument(help="a task, see `segue list`; or `rates`, with the task as --env")],
    env: Annotated[str | None, typer.Option(help="rates: the task, at least 40 Hz")] = None,
    latency: Annotated[float, typer.Option(min=0, help="rates: inference delay in seconds")] = LATENCY,
    families: Annotated[
        str | None, typer.Option(help="rates: with commas", show_default="flow,diffusion,regression,bins")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="rates: minutes, to see that everything runs")] = False,
    methods: options.Methods = COMPARED,
    delays: options.Delays = EVERY_DELAY,
    delay_model: options.DelayKind = FIXED,
    training_seeds: Annotated[
        int | None, typer.Option(min=1, help="policies of each kind", show_default="3; rates: 1")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="per method, delay and training seed", show_default="100; rates: 50")
    ] = None,
    updates: Annotated[int | None, typer.Option(min=2, help="optimiser steps per policy", show_default=RECIPE)] = None,
    workers: options.Workers = 2,
    runs: Annotated[Path | None, typer.Option(help="folder of the policies", show_default="runs/<task>")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the report", show_default="results/<task>")] = None,
    extend: Annotated[
        bool,
        typer.Option("--extend", help="keep the rows that the results have at the same budget"),
    ] = False,
) -> None:
    """Train every policy on several seeds and compare every method: the tables of the README.

    Cells that are done are kept beside the results: a run that was interrupted goes on.

    `segue bench rates --env adroit-door` compares action rates instead: policies of a high and a low rate, in action
    space and in latent space, in the simulator of the high rate.
    """
    from segue.cli.evaluation import bench_command
    from segue.cli.rates import only_rates_has, rates_command

    if task == "rates":
        usual = {
            "--methods": (methods, COMPARED),
            "--delays": (delays, EVERY_DELAY),
            "--delay-model": (delay_model, FIXED),
        }
        compared = [name for name, (given, default) in usual.items() if given != default]
        rates_command(
            console, env, latency=latency, short=quick, unused=compared, families=families,
            training_seeds=training_seeds or 1, episodes=episodes, updates=updates, workers=workers, runs=runs, out=out,
            command=command_line(),
        )  # fmt: skip
        return
    only_rates_has(env, families, quick, latency != LATENCY)
    bench_command(
        console, task, methods, delays, delay_model, training_seeds=training_seeds or 3, episodes=episodes or 100,
        updates=updates, workers=workers, runs=runs, out=out, command=command_line(), extend=extend,
    )  # fmt: skip


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder of policies and report")] = Path("runs/demo"),
    workers: options.Workers = 2,
) -> None:
    """Train on human door demonstrations and compare methods under delay: minutes on two cores."""
    from segue.cli.evaluation import demo_command

    demo_command(console, out, DEMONSTRATED, workers, command=command_line())


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="results.json of eval, bench or demo, or a trace of run")],
    out: Annotated[
        Path | None, typer.Option(help="the HTML file", show_default="report.html beside the results")
    ] = None,
    film: Annotated[Path | None, typer.Option(help="run with the policies: film one seed under each method")] = None,
    delay: Annotated[int, typer.Option(min=0, help="inference delay of the film, control steps")] = 8,
) -> None:
    """Write the report of results, or of a recorded run: one HTML file that opens offline."""
    from segue.cli.evaluation import report_command

    report_command(console, results, out, film_run=film, delay=delay)


@app.command("run")
def run_(
    task: options.TaskName,
    run: Annotated[Path | None, typer.Argument(help="run of `segue train`", show_default="runs/<task>/seed-0")] = None,
    method: Annotated[str, typer.Option(help="one of `segue list`")] = "predictive",
    server: Annotated[str | None, typer.Option(help="URL of a policy server, in place of a run")] = None,
    token: Annotated[str | None, typer.Option(envvar="SEGUE_TOKEN", help="that the server asks for")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="of driving, resets not counted")] = 60.0,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="control steps per second", show_default="the robot's")
    ] = None,
    execution_horizon: options.ExecutionHorizon = None,
    trigger: Annotated[str, typer.Option(help="when to ask: fixed, queue:<actions> or continuous")] = "fixed",
    delay_quantile: Annotated[float, typer.Option(min=0, max=1, help="of the last delays, to plan with")] = 1.0,
    velocity: Annotated[float, typer.Option(min=0, help="limit of every action dimension, per second")] = float("inf"),
    acceleration: Annotated[float, typer.Option(min=0, help="the same, per second squared")] = float("inf"),
    jerk: Annotated[float, typer.Option(min=0, help="the same, per second cubed")] = float("inf"),
    seed: Annotated[int, typer.Option(help="of the first episode; the next ones count up")] = 10_000,
    device: Annotated[str, typer.Option(help="that the policy runs on, as torch names it")] = "cpu",
    trace: Annotated[
        Path | None, typer.Option(help="folder to write", show_default="a new one in runs/<task>/run")
    ] = None,
    view: Annotated[bool, typer.Option("--view", help="also show it in Rerun while it runs")] = False,
) -> None:
    """Drive a simulator in real time, the policy in a process of its own, and record every tick."""
    from segue.cli.robot import Motion, run_command

    status = run_command(
        console, task, run, method=method, server=server, token=token, seconds=seconds, rate=rate,
        execution_horizon=execution_horizon, trigger_text=trigger, delay_quantile=delay_quantile,
        motion=Motion(velocity, acceleration, jerk), seed=seed, device=device, trace=trace, view=view,
        command=command_line(),
    )  # fmt: skip
    raise typer.Exit(status)


@app.command("replay")
def replay_(trace: Annotated[Path, typer.Argument(help="trace of a run")]) -> None:
    """Drive the plan again from a recorded run, and say whether it decides the same."""
    from segue.cli.traces import replay_command

    replay_command(console, trace)


@app.command()
def doctor(
    rate: Annotated[float, typer.Option(min=1, max=2000, help="control rate, Hz")] = 50.0,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="per measurement of the timer")] = 2.0,
    run: Annotated[Path | None, typer.Option(help="folder of a trained policy: time its inference")] = None,
    method: Annotated[str, typer.Option(help="under which it runs, see `segue list`")] = "predictive",
    server: Annotated[str | None, typer.Option(help="address of a policy server: time its answers")] = None,
    token: Annotated[str | None, typer.Option(envvar="SEGUE_TOKEN", help="that the server asks for")] = None,
) -> None:
    """Measure what this machine can promise a robot, and recommend rate, delay and execution horizon."""
    from segue.cli.doctor import doctor_command

    doctor_command(console, rate=rate, seconds=seconds, run=run, method=method, server=server, token=token)


@app.command()
def serve(
    run: Annotated[Path, typer.Argument(help="folder of a trained policy")],
    method: Annotated[str, typer.Option(help="under which it runs, see `segue list`")] = "predictive",
    host: Annotated[str, typer.Option(help="interface; other machines need a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    unix: Annotated[Path | None, typer.Option(help="Unix socket to listen on instead")] = None,
    token_file: Annotated[Path | None, typer.Option(help="file with the token that clients must present")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="certificate, PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its key, PEM")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="other machines need no token")] = False,
    seed: Annotated[int, typer.Option(help="of the policy's noise")] = 0,
    device: Annotated[str, typer.Option(help="as torch names it")] = "cpu",
) -> None:
    """Serve a trained policy over a websocket, to `RemotePolicy` and to openpi's clients."""
    from segue.cli.serve import serve_command

    serve_command(
        console, run, method, host=host, port=port, unix=unix, token_file=token_file, tls_certificate=tls_cert,
        tls_key=tls_key, insecure=insecure, seed=seed, device=device,
    )  # fmt: skip


@app.command("list")
def list_() -> None:
    """Show tasks, methods and what can be set of them, objectives and networks."""
    from segue.cli.evaluation import list_command

    list_command(console)


def open_standard_streams() -> None:
    """Put nothing in the place of standard streams that are closed, where files and pipes of ours would come to lie."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest number that is free is this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def main() -> None:
    """Entry point: errors that Segue raises on purpose are shown without a traceback, with exit status 1."""
    open_standard_streams()
    try:
        app()
    except SegueError as error:
        screen = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        screen.print("error:", style="bold red", end=" ")
        screen.print(
            "".join(c if c.isprintable() or c == "\n" else "?" for c in str(error))
        )  # names of strangers' files
        sys.exit(1)
    except MemoryError:
        Console(stderr=True).print(
            "error: out of memory\n  change:   fewer --workers, fewer --episodes, or a smaller network", markup=False
        )
        sys.exit(1)
