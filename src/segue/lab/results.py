"""Results of a comparison: everything that a reader needs to believe and repeat them, as JSON.

out/results.json    what was compared and how, and the measures of every episode
out/traces.json     the commands of an episode of each cell, which reports draw; bulky, and not needed for any number

The classes are the files, key by key: reading decodes into them, and refuses what is of another form. A key that files
have not always had is UNSET where it is missing, and is not written then.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace
from rich.errors import MarkupError

from segue.core import foreign
from segue.core.dimensions import Dimensions
from segue.core.metrics import EpisodeRecord
from segue.core.robot import RobotSpec
from segue.core.seams import seam_jump
from segue.data.episodes import Episodes
from segue.errors import DataError
from segue.lab.scales import demonstration_metrics
from segue.lab.tasks.tasks import Task

SCHEMA = 1
TRACES = "traces.json"
KEPT = ("seed", "success", "score", "completion_time", "seam_jump", "jerk_measured", "mode_switches")
KEPT_IN_FULL = (*KEPT, "overlap_rmse", "jerk_command_step", "stall_time")
"""Columns of episodes that the pages' tables are made of; in full, of those on seams and contact."""
DEMONSTRATIONS = "demonstrations"
"""Method name of traces that are demonstrations."""
DEMONSTRATIONS_SHOWN = 5
PACKAGES = (
    *("segue", "torch", "numpy", "mujoco", "gymnasium", "gymnasium-robotics", "metaworld", "gym-pusht", "pymunk"),
    "robosuite",
)

Number = int | float | None
"""A measure of an episode; None where it is undefined."""
OpenLoop = dict[str, dict[str, float | None]]
"""Open-loop measures by group of action dimensions and name."""


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The task of a comparison, its times, and the robot that it commands."""

    name: str
    summary: str
    dt: Annotated[float, Meta(gt=0)]
    max_steps: int
    horizon: int
    action_names: list[str]
    command: str
    action_kinds: list[str] | UnsetType = UNSET
    pose_names: list[str] | UnsetType = UNSET

    @property
    def kinds(self) -> Dimensions:
        """What each action is; in results of before there were kinds, as the command says."""
        moves = len(self.action_names) * (self.command == "velocity")
        return Dimensions.of(*(self.action_kinds or ["displacement"] * moves))


class MethodFacts(msgspec.Struct, frozen=True):
    """A method that took part, as `Method.description` says it."""

    name: str
    label: str
    policy: str = ""
    settings: dict[str, Any] = {}
    citation: str = ""
    default: bool = False


class Motion(msgspec.Struct, frozen=True):
    """What one episode executed, for reports to draw: robot units, one row per step; ``seams`` in steps."""

    method: str
    delay: int
    training_seed: int
    seed: int
    commands: list[list[float]]
    measured: list[list[float]]
    seams: list[int]
    worst_seam: int | None = 0


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell leaves behind.

    ``episodes`` has a column for each measure, and one of seeds unless they count on from ``first_seed``.
    """

    commit: str | UnsetType = UNSET
    method: str
    delay: int
    training_seed: int
    horizon: int
    execution_horizon: int
    first_seed: int | UnsetType = UNSET
    episodes: dict[str, list[Number]]
    trace: Motion | UnsetType = UNSET

    def __post_init__(self) -> None:
        if len({len(column) for column in self.episodes.values()} | {len(self.seeds)}) > 1:
            raise ValueError("columns of different length")

    @property
    def seeds(self) -> list[int]:
        """Of the episodes, in their order."""
        if isinstance(self.first_seed, int):
            return [*range(self.first_seed, self.first_seed + max(map(len, self.episodes.values()), default=0))]
        return [int(each) for each in self.episodes["seed"] if each is not None]

    def values(self, metric: str) -> list[float]:
        """A measure of each episode, NaN where it is undefined; nothing in results of before it was there."""
        return [np.nan if each is None else float(each) for each in self.episodes.get(metric, ())]


class Place(msgspec.Struct, frozen=True):
    """Where a cell stands in a table."""

    method: str
    delay: int
    training_seed: int


class Group(msgspec.Struct, frozen=True):
    """Action dimensions that are measured together."""

    name: str
    unit: str


class RateRow(msgspec.Struct, frozen=True):
    """A row of the rates protocol, means over training seeds; ``seam_jump`` in standard deviations."""

    name: str
    label: str
    updates: int
    autoencoder_updates: int
    open_loop: OpenLoop
    seam_jump: float | None


class Control(msgspec.Struct, frozen=True):
    """What no policy has a part in, beside the rows."""

    label: str
    open_loop: OpenLoop


class NotApplicable(msgspec.Struct, frozen=True):
    """A row, or its synchronous half, that cannot be, and why."""

    row: str
    why: str


class RatesResult(msgspec.Struct, frozen=True):
    """What the rates protocol has beside its cells."""

    factor: Annotated[int, Meta(gt=0)]
    delay_seconds: float
    groups: Annotated[list[Group], Meta(min_length=1)]
    rows: list[RateRow]
    controls: list[Control]
    not_applicable: list[NotApplicable]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison: what was compared and how, and the measures of every episode; ``missing`` is not there yet."""

    schema: int
    title: str
    command: str = ""
    created: str = ""
    commit: str = ""
    versions: dict[str, str] = {}
    machine: str = ""
    task: TaskFacts
    demonstrations: dict[str, float | None] = {}
    budget: dict[str, Any] = {}
    methods: list[MethodFacts]
    cells: list[CellResult]
    missing: list[Place] | UnsetType = UNSET
    traces: list[Motion] | UnsetType = UNSET
    rates: RatesResult | UnsetType = UNSET


def build(
    task: Task,
    methods: Sequence[MethodFacts],
    cells: Sequence[CellResult],
    *,
    title: str,
    command: str,
    budget: Mapping[str, Any],
    missing: Sequence[Place] = (),
) -> Results:
    """Assemble the results of cells with what they were made from.

    Only the first training seed's traces are kept, beside those of a few demonstrations.
    """
    spec, demonstrations = task.simulator().spec, task.demonstrations()
    first = min(each.training_seed for each in (*cells, *missing))
    own = demonstration_metrics(demonstrations, spec)
    return Results(
        schema=SCHEMA,
        title=title,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        commit=commit(),
        versions={"python": platform.python_version(), **versions(PACKAGES)},
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        task=TaskFacts(
            name=task.name, summary=task.summary, dt=task.dt, max_steps=task.max_steps, horizon=cells[0].horizon,
            action_names=list(spec.action_names), command=spec.command, action_kinds=list(spec.kinds.words),
            pose_names=list(spec.pose_names),
        ),
        demonstrations={name: float(value) for name, value in own.items() if np.isfinite(value)},
        budget=dict(budget),
        methods=list(methods),
        cells=[replace(cell, trace=UNSET) for cell in cells],
        missing=list(missing) or UNSET,
        traces=[
            *(cell.trace for cell in cells if cell.training_seed == first and cell.trace),
            *(_demonstrated(demonstrations, spec, i) for i in range(min(DEMONSTRATIONS_SHOWN, len(demonstrations)))),
        ],
    )  # fmt: skip


def _demonstrated(demonstrations: Episodes, spec: RobotSpec, index: int) -> Motion:
    """A demonstration as a trace, for the report to compare with."""
    commands = np.clip(demonstrations.episode(index).action, spec.action_low, spec.action_high)
    return Motion(DEMONSTRATIONS, 0, 0, index, np.round(commands, 3).tolist(), [], [], 0)


def worst_seam(record: EpisodeRecord) -> tuple[float, int]:
    """The largest `seam_jump` of an episode, and its step; zeros without a seam that has one."""
    jumps = [
        (seam_jump(record.commands, seam.step, record.scale, record.spec.kinds), seam.step) for seam in record.seams
    ]
    return max((jump for jump in jumps if np.isfinite(jump[0])), default=(0.0, 0))


def write(results: Results, path: Path) -> Path:
    """Write results as JSON, one cell per line, so that versions of a file can be compared; traces beside them."""
    content = msgspec.to_builtins(results)
    if "traces" in content:
        _write({"traces": content.pop("traces")}, path.with_name(TRACES))
    return _write(content, path)


def _write(content: Mapping[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for key, value in content.items():
        if key in ("cells", "traces"):
            lines = ",\n".join(json.dumps(each, allow_nan=False, separators=(",", ":")) for each in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    aside = path.with_name(f".{path.name}.part")
    aside.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    aside.replace(path)
    return path


def read(path: Path) -> Results:
    """Read results.

    Raises:
        DataError: Missing, not JSON, of another schema, or of another form.
    """
    found = foreign.read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise DataError(
            got=f"{path} without schema {SCHEMA}",
            expected="a results file of this version of Segue",
            change="evaluate again, or use the version that wrote it",
        )
    traces = path.with_name(TRACES)
    if "traces" not in found and traces.exists():
        beside = foreign.read_json(traces)
        if not isinstance(beside, dict) or not isinstance(beside.get("traces"), list):
            raise DataError(f"{traces} without traces", "the file as it was written beside the results", "remove it")
        found["traces"] = beside["traces"]
    with understood(path):
        return msgspec.convert(found, Results)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Raise `DataError` where a file says what it should, and holds something else."""
    wrong = (ArithmeticError, AttributeError, LookupError, MarkupError, TypeError, ValueError, msgspec.ValidationError)
    try:
        yield
    except wrong as error:
        raise DataError(
            got=f"{path} with content of another form ({type(error).__name__}: {str(error)[:100]})",
            expected="a results file as `segue eval` or `segue bench` wrote it",
            change="evaluate again, or copy the file again",
        ) from error


def slim(results: Results, kept: Sequence[str] = KEPT) -> Results:
    """The part of results that is kept with the source: the measures that pages show, three digits, no traces."""

    def short(cell: CellResult) -> CellResult:
        columns = {name: column for name, column in cell.episodes.items() if name in kept}
        episodes = {name: [_short(each) for each in column] for name, column in columns.items()}
        first, count = cell.seeds[0], len(cell.seeds)
        if cell.seeds == [*range(first, first + count)]:
            episodes.pop("seed", None)
            return replace(cell, first_seed=first, episodes=episodes)
        return replace(cell, episodes=episodes)

    return replace(results, cells=[short(cell) for cell in results.cells], traces=UNSET)


def _short(value: Number) -> Number:
    """Three significant digits, whole numbers as they are."""
    if value is None:
        return None
    rounded = value if value == int(value) else float(f"{value:.3g}")
    return int(rounded) if rounded == int(rounded) else rounded


def commit() -> str:
    """Commit of the source tree that runs, with ``+`` when it has changes; empty outside of a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
