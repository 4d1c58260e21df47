"""segue check | metrics | record | convert: recorded episodes in and out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli import options
from segue.cli.options import Reading, console, reads

if TYPE_CHECKING:
    from segue.data.episodes import Episodes

commands = typer.Typer()


@commands.command()
@reads()
def check(
    data: options.Recorded,
    *,
    reading: Reading,
    horizon: Annotated[int, typer.Option(min=2, help="actions per chunk that a policy would have")] = 32,
) -> None:
    """Say whether demonstrations can be trained on.

    It says what is wrong with them, and what would spoil a training; the exit status is 1 where nothing can be learned.

    segue check mine.npz
    """
    import numpy as np

    from segue.data.proposals import proposed_kinds
    from segue.training.fitness import findings

    episodes = reading.load(data)
    found = findings(episodes, horizon)
    fatal = any(each.fatal for each in found)
    lengths = np.diff(episodes.ends, prepend=0)
    judged = "can be read, but not trained on" if fatal else "can be used"
    console.print(
        f"{data} {judged}: {len(episodes)} episodes of {lengths.min()} to {lengths.max()} steps at "
        f"{1 / episodes.dt:g} Hz, {episodes.observation.shape[1]} observations, {episodes.action.shape[1]} actions",
        soft_wrap=True,
        highlight=False,
    )
    console.print(relative_line(episodes), highlight=False)
    if said := kinds_line(episodes):
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    say_origin(episodes)
    if unseen := [key.rpartition(".")[2] for key in episodes.origin.unseen]:
        names = ",".join(unseen)
        console.print(f"cameras, not looked at here: {', '.join(unseen)} (--cameras {names})", highlight=False)
    for proposal in proposed_kinds(episodes):
        console.print(f"kind: {proposal}", highlight=False, markup=False, soft_wrap=True)
    for each in found:
        style = "bold red" if each.fatal else "yellow"
        console.print(f"{'wrong' if each.fatal else 'beware'}: {each.text}", style=style, soft_wrap=True, markup=False)
    if fatal:
        raise typer.Exit(1)


@commands.command()
@reads("cameras")
def metrics(
    data: options.Recorded,
    *,
    reading: Reading,
    every: Annotated[
        int | None, typer.Option(min=4, help="steps executed per chunk: adds the measures at seams")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="step of the first seam", show_default="--every")] = 0,
) -> None:
    """Measure how smooth recorded episodes are. A person may have driven, or any policy.

    segue metrics mine.npz --every 8
    """
    from math import isnan

    from rich.table import Table

    from segue.lab.recording import recording_metrics, roughest, standing

    episodes = reading.load(data)
    shown = Table("measure", "mean", "95 % interval", "unit", title=_summary(data, episodes))
    for each in recording_metrics(episodes, every, first):
        span = each.interval
        ends = "–" if isnan(span.low) else f"{span.low:.4g} to {span.high:.4g}"  # of one episode
        shown.add_row(each.label, f"{span.value:.4g}", ends, each.unit)
    console.print(shown)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in roughest(episodes))
    console.print(f"most of the commanded jerk is in: {shares or 'none, nothing moves'}", highlight=False)
    if quiet := standing(episodes):
        console.print(f"left out, as they stand still beside the others: {', '.join(quiet)}", highlight=False)
    for note in episodes.origin.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)


@commands.command()
def record(
    task: options.TaskName,
    run: Annotated[Path, typer.Argument(callback=options.of_the_hub, help="run of `segue train`")],
    out: Annotated[Path, typer.Option(help="new folder of the data set")],
    method: options.Method = "predictive",
    delay: Annotated[int, typer.Option(min=0, help="inference delay, control steps")] = 4,
    episodes: Annotated[int, typer.Option(min=1, help="how many")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="of the first episode")] = 0,
) -> None:
    """Record a policy in the simulator. LeRobot opens the data set.

    segue record adroit-door runs/adroit-door/seed-0 --out recorded
    """
    from segue.data.lerobot import writer
    from segue.lab.delays import delay_model
    from segue.lab.rollout import Scales, Timing, rollout
    from segue.lab.sweep import FIRST_SEED
    from segue.lab.tasks.recorder import Recorder, recorded
    from segue.lab.tasks.tasks import task as find_task
    from segue.methods.load import chunk_policy
    from segue.methods.methods import method as find_method

    settings, how = find_task(task), find_method(method)
    policy, _ = chunk_policy(run, method)
    steps = max(settings.execution_horizon, delay)
    timing = Timing(policy.spec.horizon, steps, delay_model("fixed", delay), how.handover, settings.max_steps)
    recorders = [Recorder(settings.simulator()) for _ in range(episodes)]
    writer.check(out, recorders[0].spec.dt, recorders[0].spec.cameras)
    seeds = range(FIRST_SEED + seed, FIRST_SEED + seed + episodes)
    scales = Scales.of(settings.demonstrations(), recorders[0].spec)
    done = rollout(policy, recorders, seeds, timing, scales)
    found = recorded(recorders[0].spec, [each.frames for each in recorders], f"segue record {task}, {how.label}")
    place = writer.save(found, out, task=settings.summary, robot_type=recorders[0].spec.name)
    solved = sum(record.outcome.success for record in done)
    console.print(f"{_summary(place, found)}; {solved} of {episodes} solved", soft_wrap=True)


@commands.command()
@reads()
def convert(
    data: options.Recorded,
    out: Annotated[Path, typer.Argument(help="new folder of the data set")],
    task: Annotated[
        str | None, typer.Option(help="what is done, in words, where the recording does not say it itself")
    ] = None,
    *,
    reading: Reading,
    blind: Annotated[bool, typer.Option("--blind", help="drop all cameras")] = False,
) -> None:
    """Write demonstrations as a data set of LeRobot. It says what is kept and what is dropped.

    segue convert mine.zarr mine --rate 10 --task "push the T"
    """
    from segue.data import files
    from segue.data.lerobot import writer

    episodes = reading.load(data, () if blind else files.cameras(data))
    if blind:
        episodes = replace(episodes, pictures={})
    console.print(_summary(writer.save(episodes, out, task=task), episodes), soft_wrap=True)
    told, origin = episodes.instructions, episodes.origin
    kept = [f"{len(episodes.action_names)} actions", f"{len(episodes.observation_names)} observations"]
    kept += [f"camera {name}" for name in episodes.pictures]
    kept += [f"{len(told.used)} recorded instructions"] if told is not None else [f"the instruction {task!r}"]
    kept += [f"robot type {origin.robot_type}"] if origin.robot_type else []
    kept += [said] if (said := kinds_line(episodes)) else []
    console.print(f"kept: {', '.join(kept)}", highlight=False, markup=False, soft_wrap=True)
    dropped = [f"camera {name}" for name in origin.unseen] + list(origin.unread)
    dropped += [f"--task {task!r}, as the recording has its own instructions"] if told is not None and task else []
    console.print(f"dropped: {', '.join(dropped) or 'nothing'}", highlight=False, markup=False, soft_wrap=True)
    if abs((fps := writer.rate_of(episodes.dt)) * episodes.dt - 1) > 1e-6:
        console.print(f"{1 / episodes.dt:.6g} Hz is written as {fps} Hz: the format has whole rates", highlight=False)
    for note in origin.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def relative_line(episodes: "Episodes") -> str:
    """How many actions have a state, in words."""
    anchored, count = sum(index is not None for index in episodes.state_of_action), len(episodes.action_names)
    why = "" if anchored else ": no action has the name of an observation"
    return f"{anchored} of {count} actions can be learned relative to the observed state{why}"


def kinds_line(episodes: "Episodes") -> str:
    """What dimensions are declared as, those that are not linear; nothing where all are."""
    said = [
        f"{what} {name} is {each}"
        for what, names, kinds in (
            ("action", episodes.action_names, episodes.action_kinds),
            ("observation", episodes.observation_names, episodes.observation_kinds),
        )
        for name, each in zip(names, kinds.each(len(names)), strict=True)
        if each.name != "linear"
    ]
    return f"kinds: {', '.join(said)}" if said else ""


def say_origin(episodes: "Episodes") -> None:
    """What was decided while demonstrations were read, and what was not read."""
    for note in episodes.origin.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if episodes.origin.unread:
        shown = ", ".join(episodes.origin.unread)
        console.print(f"not read: {shown}", highlight=False, markup=False, soft_wrap=True)


def _summary(data: Path, episodes: "Episodes") -> str:
    return f"{data}: {len(episodes)} episodes, {episodes.frames} frames at {1 / episodes.dt:g} Hz"
