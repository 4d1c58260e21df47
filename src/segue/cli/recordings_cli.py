"""The commands for recorded episodes: whether they can be used, how smooth they are, and from one layout to another."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from segue.cli import options

recordings = typer.Typer()
console = Console()
Horizon = Annotated[int, typer.Option(min=2, help="actions per chunk that a policy would have")]


@recordings.command()
def check(
    data: Annotated[Path, typer.Argument(help="demonstrations: .npz, Zarr, HDF5 or LeRobot (docs/data.md)")],
    rate: options.Rate = None,
    state: options.State = None,
    action: options.Action = None,
    cameras: options.Cameras = None,
    episodes: options.Episodes = None,
    skip_bad: options.SkipBad = False,
    fill_missing: options.FillMissing = False,
    kind: options.Kind = None,
    horizon: Horizon = 32,
) -> None:
    """Say whether demonstrations can be used, what is wrong with them if not, and what would spoil a training."""
    from segue.cli.reading import Reading
    from segue.cli.recordings import check_command

    check_command(
        console, data, Reading.of(rate, state, action, episodes, skip_bad, fill_missing, kind, cameras), horizon=horizon
    )


@recordings.command()
def metrics(
    data: Annotated[Path, typer.Argument(help="recorded episodes: LeRobot, .npz, Zarr or HDF5, whoever drove")],
    rate: options.Rate = None,
    state: options.State = None,
    action: options.Action = None,
    episodes: options.Episodes = None,
    skip_bad: options.SkipBad = False,
    fill_missing: options.FillMissing = False,
    kind: options.Kind = None,
    every: Annotated[
        int | None, typer.Option(min=4, help="steps executed per chunk: adds the measures at seams")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="step of the first seam", show_default="--every")] = 0,
) -> None:
    """Measure how smooth recorded episodes are."""
    from segue.cli.reading import Reading
    from segue.cli.recordings import metrics_command

    metrics_command(
        console, data, Reading.of(rate, state, action, episodes, skip_bad, fill_missing, kind), every=every, first=first
    )


@recordings.command()
def record(
    task: options.TaskName,
    run: Annotated[Path, typer.Argument(help="run of `segue train`")],
    out: Annotated[Path, typer.Option(help="new folder of the data set")],
    method: Annotated[str, typer.Option(help="see `segue list`")] = "predictive",
    delay: Annotated[int, typer.Option(min=0, help="inference delay, control steps")] = 4,
    episodes: Annotated[int, typer.Option(min=1, help="how many")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="of the first episode")] = 0,
) -> None:
    """Record what a policy does in the simulator as a data set that LeRobot opens."""
    from segue.cli.recordings import record_command

    record_command(console, task, run, method=method, delay=delay, episodes=episodes, out=out, seed=seed)


@recordings.command()
def convert(
    data: Annotated[Path, typer.Argument(help="demonstrations, .npz, Zarr, HDF5 or LeRobot")],
    out: Annotated[Path, typer.Argument(help="new folder of the data set")],
    task: Annotated[
        str | None, typer.Option(help="what is done, in words; where the recording says it itself, that is kept")
    ] = None,
    rate: options.Rate = None,
    state: options.State = None,
    action: options.Action = None,
    cameras: options.Cameras = None,
    blind: Annotated[bool, typer.Option("--blind", help="drop all cameras")] = False,
    episodes: options.Episodes = None,
    skip_bad: options.SkipBad = False,
    fill_missing: options.FillMissing = False,
    kind: options.Kind = None,
) -> None:
    """Write demonstrations as a data set that LeRobot opens, and say what is kept and what is dropped."""
    from segue.cli.reading import Reading
    from segue.cli.recordings import convert_command

    reading = Reading.of(rate, state, action, episodes, skip_bad, fill_missing, kind, cameras)
    convert_command(console, data, out, reading, task=task, blind=blind)
