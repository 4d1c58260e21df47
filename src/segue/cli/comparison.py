"""segue eval | bench | merge | demo | rates | list: trained policies under delay, method against method."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli import options
from segue.cli.options import command_line, console
from segue.errors import SpecError

if TYPE_CHECKING:
    from segue.lab.compare import Comparison

commands = typer.Typer()
DELAYS = "0,4,8,12"
COMPARED = "sync,naive,ensembling,rtc,rtc-identity,training-time-rtc,legato,predictive"
DEMONSTRATED = "naive,ensembling,rtc,rtc-identity,naive:predictor=learned,predictive"
DEMO_TASK = "adroit-door"
DEMO_UPDATES = 4000
DEMO_EPISODES = 24


@commands.command("eval")
def evaluate(
    task: options.TaskName,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            callback=options.all_of_the_hub,
            help="of `segue train`, one per training seed",
            show_default="runs/<task>/seed-0",
        ),
    ] = None,
    methods: options.Methods = COMPARED,
    data: options.TaskData = None,
    delays: options.Delays = DELAYS,
    delay_model: options.DelayKind = "fixed",
    delay_trace: Annotated[
        Path | None, typer.Option(help="recorded latencies: a trace of run, or a text file, one per line, in seconds")
    ] = None,
    episodes: options.EpisodesPerCell = 100,
    execution_horizon: options.ExecutionHorizon = None,
    slower: Annotated[
        str, typer.Option(help="equal hardware: factors on the delay of methods, such as rtc=2.1 (make bench)")
    ] = "",
    workers: options.Workers = 2,
    on: options.Place = "here",
    out: Annotated[Path | None, typer.Option(help="folder of the report", show_default="runs/<task>/eval")] = None,
) -> None:
    """Compare methods on trained policies, under delay. Every method runs in the simulator on the same seeds.

    segue eval adroit-door runs/adroit-door/seed-0 --methods naive,legato --delays 0,8
    """
    from segue.cli.reports import show_compared
    from segue.lab import compare
    from segue.lab.delays import Recorded, parse_factors
    from segue.lab.tasks.tasks import task as find_task
    from segue.methods.methods import method

    comparison = _comparison(task, data, methods, delays, delay_model, len(runs) if runs else 1, episodes)
    if delay_trace:
        comparison = replace(comparison, delays=(Recorded.from_file(delay_trace, find_task(comparison.task).dt),))
    comparison = replace(
        comparison,
        execution_horizon=execution_horizon or comparison.execution_horizon,
        slowdowns={method(name).name: factor for name, factor in parse_factors(slower).items()},
    )
    compared = {each.name for each in comparison.methods}
    if absent := sorted(comparison.slowdowns.keys() - compared):
        raise SpecError(
            got=f"--slower for {', '.join(absent)}",
            expected=f"methods that are compared: {', '.join(sorted(compared))}",
            change="name each as in --methods, with its settings",
        )
    show_compared(compare.evaluate(
        comparison, runs or [Path("runs") / task / "seed-0"], out=out or Path("runs") / task / "eval", workers=workers,
        command=command_line(), console=console, on=on,
    ))  # fmt: skip


@commands.command()
def bench(
    task: options.TaskName,
    methods: options.Methods = COMPARED,
    data: options.TaskData = None,
    delays: options.Delays = DELAYS,
    delay_model: options.DelayKind = "fixed",
    training_seeds: Annotated[int, typer.Option(min=1, help="policies of each kind")] = 3,
    episodes: options.EpisodesPerCell = 100,
    updates: options.PolicyUpdates = None,
    workers: options.Workers = 2,
    on: options.Place = "here",
    runs: options.Runs = None,
    out: Annotated[Path | None, typer.Option(help="folder of the report", show_default="results/<task>")] = None,
    shard: Annotated[str, typer.Option(help="compute part k of n, for `segue merge`: docs/scale.md")] = "1/1",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what is missing, and how long it takes")] = False,
) -> None:
    """Train and compare: the tables of the README.

    Trains every policy on several seeds and compares every method. What is done is kept beside the results and not
    computed again: a run that was interrupted, or is asked for more, goes on.

    segue bench adroit-door --methods naive,rtc,legato --delays 0,8
    """
    from segue.cli.reports import show_compared
    from segue.lab import compare
    from segue.lab.forecast import forecast
    from segue.lab.shards import Shard

    comparison = _comparison(task, data, methods, delays, delay_model, training_seeds, episodes, updates)
    runs, part = runs or Path("runs") / task, Shard.parse(shard)
    out = out or Path("results", *([] if delay_model == "fixed" else [delay_model]), task)
    if dry_run:
        for line in forecast(comparison, runs=runs, out=out, workers=workers, shard=part):
            console.print(line, highlight=False, soft_wrap=True)
        return
    show_compared(compare.run(
        comparison, runs=runs, workers=workers, out=out, command=command_line(), console=console, shard=part, on=on,
    ))  # fmt: skip


@commands.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(help="results.json of each, or their folders")],
    out: Annotated[Path, typer.Option(help="folder of the report")],
) -> None:
    """Put results together.

    They are parts of a bench, or other methods at the same budget.

    segue merge results/push-t/shard-1-of-2 results/push-t/shard-2-of-2 --out results/push-t
    """
    from segue.cli.reports import show
    from segue.lab import results, shards

    files = [each / "results.json" if each.is_dir() else each for each in parts]
    show(results.write(shards.merge([results.read(file) for file in files]), out / "results.json"))


@commands.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder of policies and report")] = Path("runs/demo"),
    workers: options.Workers = 2,
) -> None:
    """Train on human door demonstrations and compare. It takes minutes on two cores.

    segue demo
    """
    from segue.cli.reports import show_compared
    from segue.lab import compare
    from segue.lab.tasks import tasks

    settings = tasks.task(DEMO_TASK)
    settings.simulator()  # a missing simulator should be known before minutes of training
    comparison = _comparison(DEMO_TASK, None, DEMONSTRATED, DELAYS, "fixed", 1, DEMO_EPISODES, DEMO_UPDATES)
    console.print(f"[bold]Segue[/] on {DEMO_TASK}: {settings.summary}")
    show_compared(compare.run(comparison, runs=out, out=out, workers=workers, command=command_line(), console=console))


@commands.command()
def rates(
    task: Annotated[str, typer.Argument(help="of at least 40 Hz, see `segue list`")],
    latency: Annotated[float, typer.Option(min=0, help="inference delay in seconds")] = 0.08,
    families: Annotated[str | None, typer.Option(help="with commas", show_default="flow,diffusion,regression,bins")] = (
        None
    ),
    quick: Annotated[bool, typer.Option("--quick", help="minutes, to see that everything runs")] = False,
    training_seeds: Annotated[int, typer.Option(min=1, help="policies of each kind")] = 1,
    episodes: Annotated[int | None, typer.Option(min=1, help="per row and training seed", show_default="50")] = None,
    updates: options.PolicyUpdates = None,
    workers: options.Workers = 2,
    runs: Annotated[Path | None, typer.Option(help="folder of the policies", show_default="runs/rates/<task>")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the report", show_default="results/rates/<task>")] = None,
) -> None:
    """Compare action rates, high and low.

    Trains policies of a high and of a low rate, in action space and in latent space, and runs them in the simulator of
    the high rate.

    segue rates adroit-door --quick
    """
    from segue.cli.reports import show
    from segue.lab.rates import run
    from segue.lab.rates.rates import quick as shortened
    from segue.lab.rates.rates import rates_for
    from segue.lab.tasks import tasks

    settings = tasks.task(task)
    spec = settings.simulator().spec
    if settings.dt > 0.025:
        raise SpecError(
            got=f"{task} at {1 / settings.dt:g} Hz",
            expected="a task with a control rate of at least 40 Hz, a quarter of which is the low rate",
            change="take adroit-door or metaworld/peg-insert-side",
        )
    protocol = replace(rates_for(settings, len(spec.action_names), delay=latency), training_seeds=training_seeds)
    protocol = shortened(protocol) if quick else protocol
    chosen = {"episodes": episodes, "updates": updates, "autoencoder_updates": updates}
    if families is not None:
        protocol = replace(protocol, families=tuple(families.split(",")))
    protocol = replace(protocol, **{name: value for name, value in chosen.items() if value is not None})
    folder = Path("rates-quick" if quick else "rates") / task
    show(run.run(
        protocol, runs=runs or Path("runs") / folder, out=out or Path("results") / folder, workers=workers,
        command=command_line(), console=console,
    ))  # fmt: skip


@commands.command("list")
def list_() -> None:
    """Show tasks, methods, objectives and networks. Also what can be set of a method.

    segue list
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from segue.core import plugins
    from segue.lab.tasks import tasks
    from segue.methods.methods import CORRECTIONS, GROUP, METHODS, OBJECTIVES, PREDICTORS
    from segue.policies.families import FAMILIES
    from segue.policies.networks import NETWORKS
    from segue.policies.noise import NOISES

    whole = [Column(head, no_wrap=True) for head in ("method", "trained with")]  # names that are typed
    what = Column("what", overflow="fold")
    shown = Table(whole[0], what, whole[1], "paper", box=SIMPLE_HEAD, pad_edge=False)
    for each in METHODS.values():
        shown.add_row(each.name, each.label, each.policy, each.citation)
    console.print(shown)
    console.print("of every method, behind a colon:")
    console.print(f"predictor=  {', '.join(PREDICTORS)}", highlight=False)
    console.print(f"noise=      {', '.join(NOISES)}", highlight=False)
    console.print(f"correction= {', '.join(CORRECTIONS)}", highlight=False)
    console.print("scale=      of the noise, 1 as in training", highlight=False)
    console.print(f"objectives: {', '.join(OBJECTIVES)}")
    console.print(f"families:   {', '.join(FAMILIES)}")
    console.print(f"networks:   {', '.join(NETWORKS)}")
    if added := plugins.installed(GROUP):
        console.print(f"methods of other packages: {', '.join(added)}")
    console.print(f"tasks:      {', '.join(tasks.names())}")
    console.print("your own:   a method module:Name, a task module:TASK or gymnasium:<id>", highlight=False)


def _comparison(
    task: str,
    data: Path | None,
    methods: str,
    delays: str,
    kind: str,
    seeds: int,
    episodes: int,
    updates: int | None = None,
) -> "Comparison":
    """A comparison under the task's recipe and execution horizon, from the words of the command line."""
    from segue.lab.compare import Comparison
    from segue.lab.delays import delay_model, parse_delays
    from segue.lab.recipes import recipe_for
    from segue.lab.tasks import tasks
    from segue.lab.tasks.gymnasium_task import with_data
    from segue.methods.methods import methods as named

    settings, recipe = tasks.task(with_data(task, data)), recipe_for(task)
    return Comparison(
        task=settings.name,
        delays=tuple(delay_model(kind, steps) for steps in parse_delays(delays)),
        methods=tuple(named(methods)),
        recipe=replace(recipe, updates=updates) if updates else recipe,
        training_seeds=seeds,
        episodes=episodes,
        execution_horizon=settings.execution_horizon,
    )
