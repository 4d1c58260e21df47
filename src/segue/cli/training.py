"""segue train | train-autoencoder | train-predictor | train-correction."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli import options, settings
from segue.cli.options import Reading, console, reads
from segue.errors import DataError, SpecError

if TYPE_CHECKING:
    from rich.table import Table

    from segue.data.episodes import Episodes
    from segue.strategies.objective import Objective
    from segue.training.autoencoder import Reconstruction
    from segue.training.recipe import Recipe

commands = typer.Typer()


@commands.command()
@reads()
def train(
    task: options.OwnTask = None,
    data: options.Data = None,
    *,
    reading: Reading,
    blind: Annotated[bool, typer.Option("--blind", help="the policy sees none of the data's cameras")] = False,
    family: Annotated[str, typer.Option(help="flow, diffusion or regression")] = "flow",
    objective: Annotated[
        str | None,
        typer.Option(help="of a flow policy: training-time-rtc, legato, literal-legato", show_default="plain"),
    ] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="run of train-autoencoder: a policy of latents")] = None,
    out: Annotated[Path | None, typer.Option(help="a folder", show_default="runs/<task>/seed-<seed>")] = None,
    config: Annotated[
        Path | None,
        typer.Option(callback=settings.taken_from, is_eager=True, help="a file of settings: docs/training.md"),
    ] = None,
    seed: options.Seed = 0,
    updates: options.PolicyUpdates = None,
    batch: options.Batch = None,
    learning_rate: options.LearningRate = None,
    accumulate: options.Accumulate = 1,
    precision: options.Precision = "float32",
    held_out: options.HeldOut = 0.0,
    device: options.TrainingDevice = None,
    track: options.Track = None,
    horizon: options.Horizon = None,
    network: Annotated[
        str | None, typer.Option(help="mlp, mixer, unet, transformer", show_default=options.RECIPE)
    ] = None,
    relative: Annotated[bool | None, typer.Option(help="actions relative to the observed state")] = None,
    own_share: Annotated[float | None, typer.Option(min=0, max=1, help="legato: self-conditioned share")] = None,
    stages: Annotated[int, typer.Option(min=1, max=2, help="1 trains from scratch")] = 2,
    predictor: Annotated[
        bool, typer.Option("--predictor/--no-predictor", help="beside it, for predictor=learned")
    ] = True,
    fresh: options.Fresh = False,
) -> None:
    """Train a policy on demonstrations. An interrupted run goes on where it stopped.

    segue train adroit-door --objective legato
    """
    from segue.cli.predictor import train_beside
    from segue.data import files
    from segue.data.kept import hub
    from segue.lab.recipes import recipe_for
    from segue.methods.methods import LATENT
    from segue.training.config import Conduct
    from segue.training.fitness import check_seen
    from segue.training.recipe import Recipe, train_policy

    if blind and reading.cameras:
        raise DataError("--blind with --cameras", "one of them", "leave one of them out")
    named, data = _brought(data)
    conduct = Conduct(held_out=held_out, accumulate=accumulate, precision=precision, device=device, track=track)
    episodes, name = _demonstrations("train", task, data, reading)
    if data is not None:
        check_seen(episodes, blind, files.cameras(data))
    if blind:
        episodes = replace(episodes, pictures={})
    recipe = Recipe() if task is None else recipe_for(task)
    given = _given(updates=updates, horizon=horizon, network=network, relative=relative)
    if network is not None:
        given["network_settings"] = {}
    recipe = replace(replace(recipe, stages=stages, **given).of_family(family), autoencoder=autoencoder)
    recipe = settings.applied(config, recipe, **_given(batch=batch, learning_rate=learning_rate))
    goal = objective or ("plain" if family == "flow" else family)
    how = _objective(goal, own_share)
    space = LATENT if autoencoder else ""
    run = out or _run(name if named == data else hub.title(str(named)), seed) / space
    home = run.parent if space and run.name == Path(LATENT).name else run
    console.print(
        f"{len(episodes)} demonstrations, {len(episodes.action)} frames, "
        f"{episodes.action.shape[1]} action dimensions at {1 / episodes.dt:g} Hz"
    )
    if data is not None:
        _say_before(episodes, recipe)
    said = {
        "task": task, "data": named, **asdict(reading), "blind": blind, "objective": goal, "own_share": own_share,
        "seed": seed, "predictor": predictor, "held_out": held_out, "accumulate": accumulate,
        "precision": precision, **asdict(recipe),
    }  # fmt: skip
    if options.FIRST and (fresh or not (run / "config.toml").exists()):  # there from the start on, and right at the end
        settings.write(run / "config.toml", said)
    train_policy(
        episodes, recipe, goal, how, run=run, seed=seed, task=task or "", resume=not fresh, console=console,
        conduct=conduct,
    )  # fmt: skip
    if options.FIRST:
        settings.write(run / "config.toml", said)
    if options.FIRST and held_out:
        console.print(_held_out(run / goal))
    console.print(f"policy: {run / goal / 'last'}", soft_wrap=True)
    predicts = predictor and train_beside(
        episodes, home, task=task or "", seed=seed, updates=recipe.updates, fresh=fresh
    )
    for line in _next(task, data, home, _methods_of(space + goal, predicts)):
        console.print(f"next:   segue {line}", highlight=False, soft_wrap=True)


@commands.command("train-autoencoder")
@reads("cameras")
def train_autoencoder(
    task: options.OwnTask = None,
    data: options.Data = None,
    *,
    reading: Reading,
    out: Annotated[
        Path | None, typer.Option(help="a folder", show_default="runs/<task>/seed-<seed>/autoencoder")
    ] = None,
    horizon: options.Horizon = None,
    stride: Annotated[int, typer.Option(min=1, help="control steps per latent position")] = 4,
    latent: Annotated[int | None, typer.Option(min=1, help="numbers per position", show_default="as an action")] = None,
    network: Annotated[str, typer.Option(help="convolutional, or global (as published)")] = "convolutional",
    bottleneck: Annotated[str, typer.Option(help="gaussian, or quantized")] = "gaussian",
    updates: options.Updates = None,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
) -> None:
    """Train an autoencoder of action chunks. At the end it prints what is lost on held-out episodes.

    segue train-autoencoder adroit-door --horizon 32
    """
    from segue.lab.tasks import tasks
    from segue.policies.autoencoder.autoencoder import AutoencoderConfig
    from segue.training import autoencoder

    episodes, name = _demonstrations("train-autoencoder", task, data, reading)
    usual = 32 if task is None else tasks.task(task).horizon
    names = tuple(episodes.action_names)
    config = AutoencoderConfig(
        horizon or usual, names, latent or len(names), stride, network=network, bottleneck=bottleneck
    )
    training = autoencoder.AutoencoderTraining(seed=seed, **_given(updates=updates))
    run = out or _run(name, seed) / "autoencoder"
    console.print(
        f"chunks of {config.horizon} x {len(names)} to {config.sizes.positions} x {config.latent}, "
        f"{len(episodes)} episodes, every {training.held_out_every}th held out",
        highlight=False,
    )
    autoencoder.train_autoencoder(
        episodes, config, training, run=run, task=task or "", resume=not fresh, console=console
    )
    if not options.FIRST:
        return
    console.print(_reconstructed(autoencoder.load_autoencoder(run)[1]))
    console.print(f"autoencoder: {run / 'last'}", soft_wrap=True)


@commands.command("train-predictor")
@reads("cameras")
def train_predictor(
    task: options.OwnTask = None,
    data: options.Data = None,
    *,
    reading: Reading,
    out: Annotated[Path | None, typer.Option(help="a folder", show_default="runs/<task>/seed-<seed>/predictor")] = None,
    updates: options.Updates = None,
    width: Annotated[int | None, typer.Option(min=1, help="hidden units per layer")] = None,
    most_steps: Annotated[int | None, typer.Option(min=1, help="longest prediction in training")] = None,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
) -> None:
    """Train a predictor of states under actions. At the end it prints how far off it is on held-out episodes.

    segue train-predictor adroit-door
    """
    from segue.cli.predictor import ONLY_STATES, error_table, judgement
    from segue.methods.methods import PREDICTOR
    from segue.training import predictor

    episodes, name = _demonstrations("train-predictor", task, data, reading)
    training = predictor.PredictorTraining(seed=seed)
    training = replace(training, **_given(updates=updates, most_steps=most_steps))
    run = out or _run(name, seed) / PREDICTOR
    console.print(
        f"{len(episodes.observation_names)} observations under {len(episodes.action_names)} actions, "
        f"{len(episodes)} episodes, every {training.held_out_every}th held out",
        highlight=False,
    )
    if episodes.pictures:
        console.print(ONLY_STATES)
    predictor.train_predictor(
        episodes, training, run=run, task=task or "", resume=not fresh, console=console, **_given(width=width)
    )
    if not options.FIRST:
        return
    error = predictor.load_predictor(run)[1]
    console.print(error_table(error))
    for line in judgement(error):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"predictor: {run / 'last'}", soft_wrap=True)


@commands.command("train-correction")
@reads()
def train_correction(
    task: options.OwnTask = None,
    data: options.Data = None,
    *,
    reading: Reading,
    run: Annotated[Path | None, typer.Option(help="of the policy", show_default="runs/<task>/seed-<seed>")] = None,
    policy: Annotated[str, typer.Option(help="in it, that is corrected")] = "plain",
    updates: options.Updates = None,
    width: Annotated[int | None, typer.Option(min=1, help="units of the first hidden layer")] = None,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
) -> None:
    """Train what corrects a policy step by step. For correction=learned.

    segue train-correction adroit-door
    """
    from segue.methods.methods import CORRECTION
    from segue.training import checkpoint
    from segue.training.correction import residual

    episodes, name = _demonstrations("train-correction", task, data, reading)
    home = run or _run(name, seed)
    trained, out = checkpoint.load(home / policy).policy(), home / CORRECTION / policy
    training = replace(residual.CorrectionTraining(seed=seed), **_given(updates=updates))
    residual.train_correction(
        episodes, trained, training, run=out, task=task or "", resume=not fresh, console=console, **_given(width=width)
    )
    console.print(f"correction: {out / 'last'}", soft_wrap=True)


@commands.command()
def push(
    run: Annotated[Path, typer.Argument(help="run of `segue train`")],
    target: Annotated[str, typer.Argument(help="hf:USER/NAME, made if it is not there")],
    licence: Annotated[str | None, typer.Option(help="of the weights, such as apache-2.0")] = None,
    results: Annotated[Path | None, typer.Option(help="results.json of eval or bench, for the card")] = None,
    private: Annotated[bool, typer.Option("--private", help="nobody else is to see it")] = False,
) -> None:
    """Upload a run to the hub with its model card. Weights and JSON, nothing else.

    segue push runs/adroit-door/seed-0 hf:me/door --licence apache-2.0
    """
    from segue.data.kept import hub
    from segue.data.kept.card import card

    made_of = settings.read(run / "config.toml") if (run / "config.toml").exists() else {}
    data = str(made_of.get("data") or made_of.get("task") or "")
    text = card(run, target, licence=licence, data=data, results=results)
    console.print(f"uploaded: {hub.push(run, target, text, private=private)}", highlight=False, soft_wrap=True)


def _brought(data: Path | None) -> tuple[Path | None, Path | None]:
    """Name the data with the commit that was found, if the hub has it, and say where it is."""
    from segue.data.kept import hub

    if data is None or not hub.is_name(data):
        return data, data
    found = hub.local(data, hub.DATA)
    return Path(hub.pinned(data, found)), found


def _demonstrations(command: str, task: str | None, data: Path | None, reading: Reading) -> tuple["Episodes", str]:
    """Demonstrations of a task or in ``data``, one of the two, and the name of their folder in runs.

    A task of Gymnasium has its demonstrations in ``data``.
    """
    from segue.lab.tasks import tasks
    from segue.lab.tasks.gymnasium_task import PREFIX, with_data

    if task is not None and (data is None or task.startswith(PREFIX)):
        if reading.given:
            raise DataError(
                got=f"{', '.join(reading.given)} with the task {task}",
                expected="these options with --data only",
                change="leave them out: a task's demonstrations have a rate, a state, and cameras or none",
            )
        return tasks.task(with_data(task, data)).demonstrations(), task
    if data is not None and task is None:
        return reading.load(data), data.stem
    raise DataError(
        got="a task and data" if task else "neither a task nor data",
        expected="either a task with demonstrations of its own, or --data with yours",
        change=f"segue {command} adroit-door, or segue {command} --data mine.npz",
    )


def _run(name: str, seed: int) -> Path:
    return Path("runs") / name / f"seed-{seed}"


def _given(**choices: Any) -> dict[str, Any]:
    """What the user has chosen; the rest stays as it is by default."""
    return {key: value for key, value in choices.items() if value is not None}


def _objective(goal: str, own_share: float | None) -> "Objective":
    from segue.methods.methods import objective
    from segue.strategies.legato import LegatoObjective

    how = objective(goal)
    if own_share is None:
        return how
    if not isinstance(how, LegatoObjective):
        raise SpecError(
            got=f"--own-share with objective {goal!r}",
            expected="objective legato, the only one with self-conditioned references",
            change="leave --own-share out, or train with --objective legato",
        )
    return replace(how, own_share=own_share)


def _say_before(episodes: "Episodes", recipe: "Recipe") -> None:
    """What is known of the user's demonstrations before hours are spent on them."""
    from segue.cli.recordings import relative_line, say_origin
    from segue.training.fitness import findings

    say_origin(episodes)
    for each in findings(episodes, recipe.horizon):
        console.print(f"beware: {each.text}", style="yellow", soft_wrap=True, markup=False)
    if recipe.relative:
        console.print(relative_line(episodes), highlight=False)


_BEGIN_WITH = ("predictive", "predictive-legato", "legato", "rtc")
"""The first of these that a policy has is named; of policies of other families, the last that there is."""


def _next(task: str | None, data: Path | None, home: Path, shown: list[str]) -> list[str]:
    """Commands that go on from a trained policy: a comparison where there is a simulator, else a robot."""
    if task is not None:
        return [f"eval {task} {home}{f' --data {data}' if data else ''} --methods {','.join(shown)}"]
    chosen = next((name for name in _BEGIN_WITH if name in shown), shown[-1])
    return [f"doctor --run {home} --method {chosen}", f"run --robot module:Class {home} --method {chosen}"]


def _methods_of(goal: str, predicts: bool) -> list[str]:
    """Methods of a policy, or those that work on the chunks of any policy; one with the predictor, if there is one."""
    from segue.methods.methods import METHODS, method
    from segue.plan.plan import Handover

    own = [each.name for each in METHODS.values() if each.policy == goal and each.correction == "none"]
    shown = own or [f"{name}:policy={goal}" for name in ("sync", "naive", "ensembling")]
    predicting = [name for name in shown if method(name).predictor == "learned"]
    if not predicts:
        return [name for name in shown if name not in predicting]
    joined = next(name for name in shown if method(name).handover is Handover.CONTINUE)  # one that has a delay
    return shown if predicting else [*shown, f"{joined}:predictor=learned"]


def _held_out(stage: Path) -> "Table":
    """Last errors on held-out episodes, each in its own unit, as the curve has them."""
    from rich.table import Table

    from segue.training import curve

    table = Table(title=f"Held-out episodes, mean absolute error ({stage / curve.NAME})", title_justify="left")
    for name in ("action", "error"):
        table.add_column(name, justify="right" if name == "error" else "left")
    last = curve.read(stage)[-1]
    for name, value in last.items():
        if name not in curve.COLUMNS:
            table.add_row(name.removeprefix("error of "), f"{float(value):.3g}")
    table.add_row("all, of their spread", f"{float(last[curve.ERROR]):.3f}")
    return table


def _reconstructed(error: "Reconstruction") -> "Table":
    """Error on held-out episodes per action dimension, each in its own unit."""
    from rich.table import Table

    table = Table(title="Reconstruction of held-out chunks, absolute error", title_justify="left")
    table.add_column("action")
    for name in ("mean", "95 %", "spread of the action", "mean / spread"):
        table.add_column(name, justify="right")
    for name, mean, p95, spread in zip(error.names, error.mean, error.p95, error.spread, strict=True):
        ratio = f"{mean / spread:.3f}" if spread > 0 else "-"
        table.add_row(name, f"{mean:.3g}", f"{p95:.3g}", f"{spread:.3g}", ratio)
    table.add_row("all", "", "", "", f"{error.relative:.3f}")
    return table
