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
DelayKind = Annotated[str, typer.Option(help="fixed, jitter or heavy-tail")]
Workers = Annotated[int, typer.Option(min=1, help="processes side by side")]
Rate = Annotated[float | None, typer.Option(help="Zarr and HDF5: control rate in Hz, unless the recording says it")]
State = Annotated[
    str | None,
    typer.Option(
        help="what the policy sees: a feature (LeRobot), an array (Zarr, HDF5), several with commas; Zarr also "
        "previous-action",
        show_default="observation.state, data/state, observations/qpos",
    ),
]
Action = Annotated[
    str | None,
    typer.Option(
        help="what is commanded: a feature or an array, several with commas",
        show_default="action, data/action, actions",
    ),
]
Episodes = Annotated[str | None, typer.Option(help="which to read, such as 0-4,7", show_default="all")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="leave out episodes that cannot be used, and name them")]
FillMissing = Annotated[
    bool, typer.Option("--fill-missing", help="Zarr: chunks that are not there are what the store fills with, zeros")
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=KIND",
        help='what a dimension is, such as "wrist=angle", "jaw*=binary" or "action:base=velocity"; as often as needed '
        "(docs/dimensions.md)",
    ),
]
Cameras = Annotated[
    str | None, typer.Option(help="LeRobot and HDF5: comma-separated, whose pictures are read; see docs/vision.md")
]
ExecutionHorizon = Annotated[
    int | None, typer.Option(min=1, help="steps executed per chunk", show_default="the task's")
]
OwnTask = Annotated[str | None, typer.Argument(help="a task with demonstrations of its own, see `segue list`")]
Data = Annotated[Path | None, typer.Option(help="your own demonstrations: .npz, Zarr, HDF5 or LeRobot (docs/data.md)")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Fresh = Annotated[bool, typer.Option("--fresh", help="start anew instead of resuming")]
