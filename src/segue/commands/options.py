"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

TaskName = Annotated[
    str, typer.Argument(help="adroit-door, push-t, wipe, metaworld/<task>, ...; `segue list` shows all")
]
Methods = Annotated[
    str,
    typer.Option(
        help="comma-separated, see `segue list`; settings behind colons: legato:gain=1:fade=0",
        show_default="those of the README's tables",
    ),
]
Delays = Annotated[str, typer.Option(help="inference delays in control steps, comma-separated")]
Workers = Annotated[int, typer.Option(min=1, help="processes side by side")]
Rate = Annotated[float | None, typer.Option(help="Zarr stores: control rate in Hz, unless they have a dt")]
State = Annotated[
    str | None,
    typer.Option(
        help="what the policy sees. LeRobot: a feature, unless it is observation.state; Zarr: an array, such as "
        "data/state, or previous-action"
    ),
]
ExecutionHorizon = Annotated[
    int | None, typer.Option(min=1, help="steps executed per chunk", show_default="the task's")
]
OwnTask = Annotated[str | None, typer.Argument(help="a task with demonstrations of its own, see `segue list`")]
Data = Annotated[Path | None, typer.Option(help="your own demonstrations: .npz, Zarr or LeRobot (docs/data.md)")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Fresh = Annotated[bool, typer.Option("--fresh", help="start anew instead of resuming")]
