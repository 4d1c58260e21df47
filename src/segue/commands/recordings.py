"""segue metrics | record | convert: recorded episodes in and out."""

from math import isnan
from pathlib import Path

from rich.console import Console
from rich.table import Table

from segue.data import files
from segue.data.episodes import Episodes
from segue.data.lerobot import writer
from segue.envs.recorder import Recorder, recorded
from segue.envs.tasks import task as find_task
from segue.evaluation.delays import delay_model
from segue.evaluation.methods import method as find_method
from segue.evaluation.recording import recording_metrics, roughest
from segue.evaluation.rollout import Scales, Timing, rollout
from segue.evaluation.sweep import FIRST_SEED
from segue.evaluation.trained import chunk_policy


def metrics_command(
    console: Console, data: Path, *, rate: float | None, state: str | None, every: int | None, first: int
) -> None:
    """`segue metrics`."""
    episodes = files.load(data, rate=rate, state=state)
    shown = Table("measure", "mean", "95 % interval", "unit", title=_summary(data, episodes))
    for each in recording_metrics(episodes, every, first):
        span = each.interval
        ends = "–" if isnan(span.low) else f"{span.low:.4g} to {span.high:.4g}"  # of one episode
        shown.add_row(each.label, f"{span.value:.4g}", ends, each.unit)
    console.print(shown)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in roughest(episodes))
    console.print(f"most of the commanded jerk is in: {shares or 'none, nothing moves'}", highlight=False)


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
    console: Console, data: Path, out: Path, *, rate: float | None, state: str | None, task: str
) -> None:
    """`segue convert`: demonstrations from any readable layout as a data set of LeRobot."""
    episodes = files.load(data, rate=rate, state=state)
    console.print(_summary(writer.save(episodes, out, task=task), episodes), soft_wrap=True)


def _summary(data: Path, episodes: Episodes) -> str:
    return f"{data}: {len(episodes)} episodes, {episodes.frames} frames at {1 / episodes.dt:g} Hz"
