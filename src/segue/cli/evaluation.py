"""segue demo | train | eval | bench | report | list, once their arguments are read."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from segue.cli.demonstrations import demonstrations
from segue.cli.predictor import train_beside
from segue.cli.reading import Reading
from segue.cli.recordings import relative_line, say_origin
from segue.data import files
from segue.data.episodes import Episodes
from segue.errors import DataError, SpecError
from segue.lab import compare, results
from segue.lab.delays import DelayModel, Recorded, delay_model, parse_delays, parse_factors
from segue.lab.recipes import recipe_for
from segue.lab.tasks import tasks
from segue.methods.methods import LATENT, METHODS, OBJECTIVES, PREDICTORS, Method, method, objective
from segue.plan.plan import Handover
from segue.policies.families import FAMILIES
from segue.policies.networks import NETWORKS
from segue.policies.noise import NOISES
from segue.strategies.legato import LegatoObjective
from segue.trace.file import is_trace
from segue.training.fitness import check_seen, findings
from segue.training.recipe import Recipe, train_policy

FILMED = ("naive", "rtc", "rtc-identity", "predictive")
DEMO_TASK = "adroit-door"
DEMO_DELAYS = (0, 4, 8, 12)
DEMO_UPDATES = 4000
DEMO_EPISODES = 24


def train_command(
    console: Console,
    task: str | None,
    data: Path | None,
    family: str,
    goal: str | None,
    out: Path | None,
    *,
    reading: Reading,
    blind: bool,
    autoencoder: Path | None,
    seed: int,
    updates: int | None,
    horizon: int | None,
    network: str | None,
    relative: bool | None,
    own_share: float | None,
    stages: int,
    predictor: bool,
    fresh: bool,
) -> None:
    """`segue train`."""
    if blind and reading.cameras:
        raise DataError("--blind with --cameras", "one of them", "leave one of them out")
    episodes, name = demonstrations("train", task, data, reading)
    if data is not None:
        check_seen(episodes, blind, files.cameras(data))
    if blind:
        episodes = replace(episodes, pictures={})
    recipe = Recipe() if task is None else recipe_for(task)
    choices = {"updates": updates, "horizon": horizon, "network": network, "relative": relative}
    recipe = replace(recipe, stages=stages, **{key: value for key, value in choices.items() if value is not None})
    if network is not None:
        recipe = replace(recipe, network_settings={})
    recipe = replace(recipe.of_family(family), autoencoder=autoencoder)
    goal = goal or ("plain" if family == "flow" else family)
    how = objective(goal)
    if own_share is not None:
        if not isinstance(how, LegatoObjective):
            raise SpecError(
                got=f"--own-share with objective {goal!r}",
                expected="objective legato, the only one with self-conditioned references",
                change="leave --own-share out, or train with --objective legato",
            )
        how = replace(how, own_share=own_share)
    space = LATENT if autoencoder else ""
    run = out or Path("runs") / name / f"seed-{seed}" / space
    home = run.parent if space and run.name == Path(LATENT).name else run
    console.print(
        f"{len(episodes)} demonstrations, {len(episodes.action)} frames, "
        f"{episodes.action.shape[1]} action dimensions at {1 / episodes.dt:g} Hz"
    )
    if data is not None:
        _say_before(console, episodes, recipe)
    train_policy(episodes, recipe, goal, how, run=run, seed=seed, task=task or "", resume=not fresh, console=console)
    console.print(f"policy: {run / goal / 'last'}", soft_wrap=True)
    predicts = predictor and train_beside(
        console, episodes, home, task=task or "", seed=seed, updates=recipe.updates, fresh=fresh
    )
    if task is not None:
        shown = ",".join(_methods_of(space + goal, predicts))
        console.print(f"next:   segue eval {task} {home} --methods {shown}", highlight=False, soft_wrap=True)


def _say_before(console: Console, episodes: Episodes, recipe: Recipe) -> None:
    """What is known of the user's demonstrations before hours are spent on them."""
    say_origin(console, episodes)
    for each in findings(episodes, recipe.horizon):
        console.print(f"beware: {each.text}", style="yellow", soft_wrap=True, markup=False)
    if recipe.relative:
        console.print(relative_line(episodes), highlight=False)


def _methods_of(goal: str, predicts: bool) -> list[str]:
    """Methods of a policy, or those that work on the chunks of any policy; one with the predictor, if there is one."""
    own = [each.name for each in METHODS.values() if each.policy == goal]
    shown = own or [f"{name}:policy={goal}" for name in ("sync", "naive", "ensembling")]
    predicting = [name for name in shown if method(name).predictor == "learned"]
    if not predicts:
        return [name for name in shown if name not in predicting]
    joined = next(name for name in shown if method(name).handover is Handover.CONTINUE)  # one that has a delay
    return shown if predicting else [*shown, f"{joined}:predictor=learned"]


def eval_command(
    console: Console,
    task: str,
    runs: list[Path] | None,
    methods: str,
    delays: str,
    kind: str,
    trace: Path | None,
    *,
    episodes: int,
    execution_horizon: int | None,
    slower: str,
    workers: int,
    out: Path | None,
    command: str,
) -> None:
    """`segue eval`."""
    settings = tasks.task(task)
    models: tuple[DelayModel, ...] = (
        (Recorded.from_file(trace, settings.dt),)
        if trace
        else tuple(delay_model(kind, steps) for steps in parse_delays(delays))
    )
    comparison = compare.Comparison(
        task=task,
        methods=_methods(methods),
        delays=models,
        recipe=recipe_for(task),
        training_seeds=len(runs) if runs else 1,
        episodes=episodes,
        execution_horizon=execution_horizon or settings.execution_horizon,
        slowdowns={method(name).name: factor for name, factor in parse_factors(slower).items()},
    )
    compared = {each.name for each in comparison.methods}
    if absent := sorted(comparison.slowdowns.keys() - compared):
        raise SpecError(
            got=f"--slower for {', '.join(absent)}",
            expected=f"methods that are compared: {', '.join(sorted(compared))}",
            change="name each as in --methods, with its settings",
        )
    folder = out or Path("runs") / task / "eval"
    path = compare.evaluate(
        comparison, runs or [Path("runs") / task / "seed-0"], out=folder, workers=workers, command=command,
        console=console,
    )  # fmt: skip
    report_command(console, path, None)


def bench_command(
    console: Console,
    task: str,
    methods: str,
    delays: str,
    kind: str,
    *,
    training_seeds: int,
    episodes: int,
    updates: int | None,
    workers: int,
    runs: Path | None,
    out: Path | None,
    command: str,
    extend: bool = False,
) -> None:
    """`segue bench`."""
    settings = tasks.task(task)
    recipe = recipe_for(task)
    comparison = compare.Comparison(
        task=task,
        methods=_methods(methods),
        delays=tuple(delay_model(kind, steps) for steps in parse_delays(delays)),
        recipe=replace(recipe, updates=updates) if updates else recipe,
        training_seeds=training_seeds,
        episodes=episodes,
        execution_horizon=settings.execution_horizon,
    )
    path = compare.run(
        comparison, runs=runs or Path("runs") / task, workers=workers,
        out=out or Path("results", *([] if kind == "fixed" else [kind]), task),
        command=command, console=console, extend=extend,
    )  # fmt: skip
    report_command(console, path, None)


def demo_command(console: Console, out: Path, methods: str, workers: int, command: str) -> None:
    """`segue demo`."""
    settings = tasks.task(DEMO_TASK)
    settings.simulator()  # a missing simulator should be known before minutes of training
    comparison = compare.Comparison(
        task=DEMO_TASK,
        methods=_methods(methods),
        delays=tuple(delay_model("fixed", steps) for steps in DEMO_DELAYS),
        recipe=replace(recipe_for(DEMO_TASK), updates=DEMO_UPDATES),
        training_seeds=1,
        episodes=DEMO_EPISODES,
        execution_horizon=settings.execution_horizon,
    )
    console.print(f"[bold]Segue[/] on {DEMO_TASK}: {settings.summary}")
    path = compare.run(comparison, runs=out, out=out, workers=workers, command=command, console=console)
    report_command(console, path, None)


def report_command(
    console: Console, path: Path, out: Path | None, *, film_run: Path | None = None, delay: int = 0
) -> None:
    """`segue report`, and the end of eval, bench and demo."""
    if is_trace(path):
        from segue.cli.traces import trace_report_command

        return trace_report_command(console, path, out)

    from segue.lab.report import table
    from segue.lab.report.frontier import frontier_lines
    from segue.lab.report.page import write_report
    from segue.lab.report.verdict import headline, verdict

    content = results.read(path)
    with results.understood(path):
        if content.rates:
            from segue.cli.rates import show_rates

            return show_rates(console, content, out or path.with_name("report.html"))
        summary = table.summarise(content)
        if said := headline(summary):
            console.print(said, style="bold", highlight=False, markup=False)
        console.print(table.console(summary))
        console.print(verdict(summary), markup=False)
        for line in frontier_lines(summary):
            console.print(line, highlight=False, markup=False)
        videos = {} if film_run is None else _films(content, film_run, delay)
        page = write_report(content, out or path.with_name("report.html"), videos)
        console.print(f"report: {page.resolve()}", soft_wrap=True)


def _films(content: results.Results, run: Path, delay: int) -> dict[str, bytes]:
    from segue.lab.report.film import film

    name = content.task.name
    rows = [METHODS[each.name] for each in content.methods if each.name in METHODS]
    filmed = [each for each in rows if each.name in FILMED] or rows
    steps = tasks.task(name).execution_horizon
    return {f"The same seed under each method, delay {delay}": film(name, run, filmed, delay, steps)}


def list_command(console: Console) -> None:
    """`segue list`."""
    shown = Table("method", "what", "needs a policy trained with", "paper")
    for each in METHODS.values():
        shown.add_row(each.name, each.label, each.policy, each.citation)
    console.print(shown)
    console.print("of every method, behind a colon:")
    console.print(f"predictor=  {', '.join(PREDICTORS)}", highlight=False)
    console.print(f"noise=      {', '.join(NOISES)}", highlight=False)
    console.print("scale=      of the noise, 1 as in training", highlight=False)
    console.print(f"objectives: {', '.join(OBJECTIVES)}")
    console.print(f"families:   {', '.join(FAMILIES)}")
    console.print(f"networks:   {', '.join(NETWORKS)}")
    console.print(f"tasks:      {', '.join(tasks.names())}")


def _methods(names: str) -> tuple[Method, ...]:
    return tuple(method(name) for name in dict.fromkeys(part.strip() for part in names.split(",")))
