"""segue check | metrics | record | convert: recorded episodes in and out."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from segue.cli.reading import Reading
from segue.data import files
from segue.data.episodes import Episodes
from segue.data.lerobot import writer
from segue.data.proposals import proposed_kinds
from segue.lab.delays import delay_model
from segue.lab.recording import recording_metrics, roughest, standing
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.sweep import FIRST_SEED
from segue.lab.tasks.recorder import Recorder, recorded
from segue.lab.tasks.tasks import task as find_task
from segue.methods.load import chunk_policy
from segue.methods.methods import method as find_method
from segue.training.fitness import findings


def check_command(console: Console, data: Path, reading: Reading, *, horizon: int) -> None:
    """`segue check`: exit status 1 where the demonstrations can be read, and nothing can be learned from them."""
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
    say_origin(console, episodes)
    for proposal in proposed_kinds(episodes):
        console.print(f"kind: {proposal}", highlight=False, markup=False, soft_wrap=True)
    for each in found:
        style = "bold red" if each.fatal else "yellow"
        console.print(f"{'wrong' if each.fatal else 'beware'}: {each.text}", style=style, soft_wrap=True, markup=False)
    if fatal:
        raise typer.Exit(1)


def metrics_command(console: Console, data: Path, reading: Reading, *, every: int | None, first: int) -> None:
    """`segue metrics`."""
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


def record_command(
    console: Console, task: str, run: Path, *, method: str, delay: int, episodes: int, out: Path, seed: int
) -> None:
    """`segue record`: what a policy does in the simulator, as a data set of LeRobot."""
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


def convert_command(
    console: Console, data: Path, out: Path, reading: Reading, *, task: str | None, blind: bool
) -> None:
    """`segue convert`: demonstrations from any readable layout as a data set of LeRobot, nothing dropped unsaid."""
    if not reading.cameras and not blind:
        reading = replace(reading, cameras=files.cameras(data))
    episodes = reading.load(data)
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


def relative_line(episodes: Episodes) -> str:
    """How many actions have a state, in words."""
    anchored, count = sum(index is not None for index in episodes.state_of_action), len(episodes.action_names)
    why = "" if anchored else ": no action has the name of an observation"
    return f"{anchored} of {count} actions can be learned relative to the observed state{why}"


def kinds_line(episodes: Episodes) -> str:
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


def say_origin(console: Console, episodes: Episodes) -> None:
    """What was decided while demonstrations were read, and what was not read."""
    for note in episodes.origin.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if episodes.origin.unread:
        shown = ", ".join(episodes.origin.unread)
        console.print(f"not read: {shown}", highlight=False, markup=False, soft_wrap=True)


def _summary(data: Path, episodes: Episodes) -> str:
    return f"{data}: {len(episodes)} episodes, {episodes.frames} frames at {1 / episodes.dt:g} Hz"
