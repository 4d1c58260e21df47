"""What several commands share: options, each declared once, and where is written."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

if TYPE_CHECKING:
    from rich.table import Table

    from segue.data.episodes import Episodes
    from segue.safety.limits import JointLimits

FIRST = os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
"""Whether this process speaks and writes, of those that torchrun or `accelerate launch` has started together."""
console = Console(quiet=not FIRST)
complaints = Console(stderr=True)


def of_the_hub(path: Path | None) -> Path | None:
    """Bring a run that is named hf:USER/NAME to this machine; any other path stays as it is."""
    from segue.data.kept import hub

    return path if path is None else hub.local(path)


def all_of_the_hub(paths: list[Path] | None) -> list[Path] | None:
    """Do for each what `of_the_hub` does for one."""
    return paths and [each for each in map(of_the_hub, paths) if each is not None]


RECIPE = "task's"
TaskName = Annotated[str, typer.Argument(help="of `segue list`, gymnasium:<id>, or your own, module:TASK")]
OwnTask = Annotated[str | None, typer.Argument(help="a task with demonstrations of its own: `segue list`")]
Data = Annotated[Path | None, typer.Option(help="yours, see docs/data.md: .npz, Zarr, HDF5, ...")]
Recorded = Annotated[Path, typer.Argument(help="episodes: .npz, Zarr, HDF5 or LeRobot (docs/data.md)")]
TaskData = Annotated[Path | None, typer.Option(help="demonstrations, for a task of Gymnasium")]
Method = Annotated[str, typer.Option(help="one of `segue list`, or your own, module:Name")]
Methods = Annotated[
    str,
    typer.Option(
        help="with commas: of `segue list`, or your own, module:Name; settings behind colons: legato:gain=1",
        show_default="those of the README's tables",
    ),
]
Delays = Annotated[str, typer.Option(help="inference delays, control steps, with commas")]
DelayKind = Annotated[str, typer.Option(help="fixed, jitter or heavy-tail")]
EpisodesPerCell = Annotated[int, typer.Option(min=1, help="per method, delay, training seed")]
Workers = Annotated[int, typer.Option(min=1, help="processes side by side")]
Place = Annotated[str, typer.Option(help="where cells run: here, ray, or ray://host:port (docs/scale.md)")]
ExecutionHorizon = Annotated[int | None, typer.Option(min=1, metavar="N", help="steps per chunk", show_default=RECIPE)]
Horizon = Annotated[int | None, typer.Option(min=2, help="actions per chunk", show_default=RECIPE)]
Updates = Annotated[int | None, typer.Option(min=1, help="optimiser steps")]
PolicyUpdates = Annotated[int | None, typer.Option(min=2, help="optimiser steps", show_default=RECIPE)]
Batch = Annotated[int | None, typer.Option(min=1, help="samples per update", show_default=RECIPE)]
LearningRate = Annotated[float | None, typer.Option(min=0, help="its peak", show_default=RECIPE)]
HeldOut = Annotated[float, typer.Option(help="share of episodes to measure on")]
Accumulate = Annotated[int, typer.Option(min=1, help="parts of each batch")]
Precision = Annotated[str, typer.Option(help="or bf16")]
TrainingDevice = Annotated[str | None, typer.Option(help="as torch names it", show_default="a GPU, or cpu")]
Track = Annotated[str | None, typer.Option(help="tensorboard or wandb, beside curve.csv")]
Runs = Annotated[Path | None, typer.Option(help="folder of the policies", show_default="runs/<task>")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Device = Annotated[str, typer.Option(help="as torch names it")]
ALOHA = "aloha"
Openpi = Annotated[str | None, typer.Option(help="URL of a server of openpi: ws://gpu:8000")]
Layout = Annotated[str, typer.Option(help="aloha, droid, libero or TOML")]
Prompt = Annotated[str, typer.Option(help="what is to be done, where a policy asks")]
Token = Annotated[str | None, typer.Option(envvar="SEGUE_TOKEN", help="that the server asks for")]
RobotName = Annotated[str | None, typer.Option(help="yours, module:Class, or lerobot:TYPE (docs/doors)")]
PolicyName = Annotated[str | None, typer.Option(help="lerobot:PATH, LeRobot's, instead of a run")]
RobotOption = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="what it is made with, if anything")]
Fresh = Annotated[bool, typer.Option("--fresh", help="start anew instead of resuming")]


class DottedCommand(TyperCommand):
    """A command that takes ``--robot.NAME=VALUE``, LeRobot's spelling, for ``--robot-option NAME=VALUE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the former to the latter."""
        dotted = "--robot."
        pairs = (("--robot-option", each[len(dotted) :]) if each.startswith(dotted) else (each,) for each in args)
        return super().parse_args(ctx, [word for pair in pairs for word in pair])


@dataclass(frozen=True)
class Reading:
    """How demonstrations are read: the options of every command that reads some, in the words of the user."""

    rate: Annotated[float | None, typer.Option(help="Hz, where Zarr or HDF5 do not say it")] = None
    state: Annotated[
        str | None,
        typer.Option(
            help="what the policy sees: a feature or an array, several with commas; Zarr also previous-action"
        ),
    ] = None
    action: Annotated[str | None, typer.Option(help="what is commanded: the same")] = None
    cameras: Annotated[str | None, typer.Option(help="with commas, whose pictures are read")] = None
    episodes: Annotated[str | None, typer.Option(help="which to read: 0-4,7", show_default="all")] = None
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="leave out episodes that cannot be used")] = False
    fill_missing: Annotated[bool, typer.Option("--fill-missing", help="Zarr: chunks that are missing are zeros")] = (
        False
    )
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=KIND", help="such as wrist=angle: docs/dimensions.md"),
    ] = None

    @property
    def given(self) -> tuple[str, ...]:
        """Options that are not as they are without a word."""
        names = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        return tuple("--" + name.replace("_", "-") for name in names)

    def load(self, path: Path, cameras: Sequence[str] = ()) -> "Episodes":
        """The demonstrations in a file or folder.

        Args:
            path: Where they are.
            cameras: Whose pictures are read where the user names none.

        Raises:
            DataError: As `segue.data.files.load`; or the chosen episodes are no numbers.
        """
        from segue.data import choice, files

        words = asdict(self) | {
            "cameras": choice.separated(self.cameras, "--cameras") if self.cameras else tuple(cameras),
            "episodes": None if self.episodes is None else choice.parsed(self.episodes),
            "kind": tuple(self.kind or ()),
        }
        return files.load(path, **words)


def reads(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `Reading`, where its parameter ``reading`` stands.

    Args:
        left_out: Options of `Reading` that this command does without.
    """
    shared = [
        Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in fields(Reading)
        if each.name not in left_out
    ]

    def expanded(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            reading = Reading(**{each.name: given.pop(each.name) for each in shared})
            command(**given, reading=reading)

        own = signature(command).parameters.values()
        # typer reads the signature, and so finds the options themselves there
        places = [place for each in own for place in (shared if each.name == "reading" else [each])]
        run.__signature__ = Signature(places)  # type: ignore[attr-defined]
        return run

    return expanded


def command_line() -> str:
    """What the user typed, for results and traces."""
    return " ".join(["segue", *sys.argv[1:]])


def limits_table(limits: "JointLimits") -> "Table":
    """What every joint may do."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("limits", "unit", "position", "velocity", "acceleration", "jerk")
    ranges = (f"{low:.4g} to {high:.4g}" for low, high in zip(limits.low, limits.high, strict=True))
    most = zip(limits.velocity, limits.acceleration, limits.jerk, strict=True)
    for name, unit, reach, rest in zip(limits.names, limits.units, ranges, most, strict=True):
        table.add_row(escape(name), unit, reach, *(f"{each:.4g}" for each in rest))
    return table
