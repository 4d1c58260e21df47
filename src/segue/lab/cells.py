"""Results that are files named by what they are results of, so that nothing is computed twice.

folder/1f3a...json      a result, what it is a function of, how long it took, and a checksum of all that

A cell is a function of its task, its method and settings, the weights that it runs, its delays, its seeds, the versions
of the simulators, and the part of this library that decides what happens in an episode. Who runs it, where and in which
order, is no part of that. An interrupted comparison goes on, and one that is extended computes what is new.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from rich.console import Console

import segue
from segue.core import foreign
from segue.errors import CheckpointError, SegueError
from segue.lab import sweep
from segue.lab.processes import Executor
from segue.lab.results import PACKAGES, CellResult, commit, versions
from segue.lab.sweep import Cell, run_cell
from segue.training import checkpoint

FORMAT = "segue/cell/1"
_DECIDES = (
    *("core", "data", "plan", "strategies", "policies", "methods", "lab/tasks"),
    *(f"lab/{name}.py" for name in ("rollout", "scales", "delays", "twins", "sweep")),
)
"""Parts of the library that decide what happens in an episode, and how it is measured."""
_CONFIGURATION = ("format", "family", "policy", "autoencoder", "predictor", "adapter", "correction")
"""What a checkpoint says of its module; the rest is about how it was trained."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A file: what something is a function of, and what it is; ``sha256`` of the file without it."""

    description: dict[str, Any]
    result: Any
    seconds: float
    made: dict[str, str]
    sha256: str = ""


@cache
def numerics() -> dict[str, str]:
    """What numbers depend on beside settings: packages, and the hash of the sources that decide."""
    home, digest = Path(segue.__file__).parent, hashlib.sha256()
    for part in _DECIDES:
        place = home / part
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes())
    packages = [name for name in PACKAGES if name != "segue"]
    return dict.fromkeys(packages, "") | versions(packages) | {"segue": digest.hexdigest()}


@cache
def _made() -> dict[str, str]:
    """Where and from what this process makes results; no part of what they are."""
    return {"commit": commit(), "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"}


def digest(content: Any) -> str:
    """SHA-256 of content as JSON in the one order of its keys."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def file_of(folder: Path, description: Mapping[str, Any]) -> Path:
    """Where a result lies."""
    return folder / f"{digest(description)[:32]}.json"


def read(folder: Path, description: Mapping[str, Any], console: Console) -> Kept | None:
    """What is kept of a description; None where nothing is, or, which is said, the file is damaged."""
    file = file_of(folder, description)
    if not os.path.lexists(file):
        return None
    try:
        found = msgspec.convert(foreign.read_json(file), Kept)
    except (SegueError, LookupError, msgspec.ValidationError):
        found = None
    if found is not None and (found.sha256, file_of(folder, found.description)) == (
        digest(replace(found, sha256="")),
        file,
    ):
        return found
    console.print(f"{file} is damaged: computed again", style="yellow", soft_wrap=True)
    return None


def write(
    folder: Path, description: Mapping[str, Any], result: Any, seconds: float, made: Mapping[str, str] | None = None
) -> None:
    """Keep a result: the file is whole at any moment, also after a loss of power."""
    content = Kept(
        description=dict(description),
        result=msgspec.to_builtins(result),
        seconds=round(seconds, 3),
        made=dict(made or _made()),
    )
    file = file_of(folder, description)
    folder.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")  # of this process: others may compute the same
    with aside.open("wb") as opened:
        opened.write(msgspec.json.encode(replace(content, sha256=digest(content))))
        opened.flush()
        os.fsync(opened.fileno())
    aside.replace(file)


def of_weights(path: Path) -> dict[str, Any]:
    """What a checkpoint's module is, wherever it lies: its configuration, and the hash of its weights.

    Raises:
        CheckpointError: It is missing.
    """
    folder = path / "last" if (path / "last").exists() else path
    info = foreign.read_json(folder / "config.json", CheckpointError)
    if not isinstance(info, dict) or not isinstance(hashes := info.get("sha256", {}), dict):
        raise CheckpointError(f"{folder} with a configuration of another form", *checkpoint.FITTING)
    if checkpoint.POLICY not in hashes:  # of before they were noted
        foreign.regular(folder / checkpoint.POLICY, CheckpointError)
        hashes = {checkpoint.POLICY: hashlib.sha256((folder / checkpoint.POLICY).read_bytes()).hexdigest()}
    return {"sha256": hashes[checkpoint.POLICY], **{name: info[name] for name in _CONFIGURATION if name in info}}


def _scales(name: str) -> dict[str, Any]:
    """What a task's demonstrations set as the units of measures."""
    return {key: np.asarray(value, float).tolist() for key, value in vars(sweep.scales(name)).items()}


def described(cell: Cell, weights: Callable[[Path], dict[str, Any]] = of_weights) -> dict[str, Any]:
    """All that a cell is a function of.

    Args:
        cell: The cell.
        weights: As `of_weights`; one that remembers, where cells share policies.

    Raises:
        CheckpointError: A checkpoint is missing.
    """
    settings = sweep.task(cell.task)
    parts = {"policy": cell.checkpoint, "autoencoder": cell.autoencoder, "predictor": cell.predictor}
    if cell.correction is not None:
        parts["correction"] = cell.correction
    strategy = type(cell.method.strategy)
    return checkpoint.as_json({
        "format": FORMAT,
        "task": {"name": cell.task, "dt": settings.dt, "max_steps": settings.max_steps, "scales": _scales(cell.task)},
        "strategy": strategy.__qualname__,
        "settings": cell.method.description()["settings"],
        "delay": {"model": type(cell.delay).__name__, **asdict(cell.delay), "slowdown": cell.slowdown},  # type: ignore[call-overload]
        "execution horizon": cell.steps,
        "seeds": [cell.first_seed, cell.episodes],
        **{name: path and weights(path) for name, path in parts.items()},
        "numerics": numerics(),
        "foreign": sweep.foreign_to(cell),
    })  # fmt: skip


def all_described(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Descriptions of cells that share policies, each of which is looked at once."""
    weights = cache(of_weights)
    return [described(cell, weights) for cell in cells]


def result_of(kept: Kept, cell: Cell) -> CellResult:
    """What is kept, in the place of the cell that asks: its name may be another than when it was written."""
    found = msgspec.convert(kept.result, CellResult)
    return replace(found, **cell.key, trace=found.trace and replace(found.trace, **cell.key))


def run(
    cells: Sequence[Cell], work: Executor, folder: Path, console: Console
) -> Generator[tuple[int, CellResult], None, None]:
    """Number and result of every cell: first those that are kept, then the others as they are done, and kept.

    Raises:
        SegueError: What a cell raised; which one it was is said before.
    """
    descriptions, missing = all_described(cells), list[int]()
    for number, cell in enumerate(cells):
        kept = read(folder, descriptions[number], console)
        if kept is None:
            missing.append(number)
        else:
            yield number, result_of(kept, cell)
    sweep.check(cells[number] for number in missing)
    for number in missing:
        work.submit(number, timed, cells[number])
    for ended in work.done():
        cell = cells[ended.key]
        if ended.error is not None:
            console.print(
                f"failed: {cell.task}, {', '.join(f'{name} {value}' for name, value in cell.key.items())}", style="red"
            )
            raise ended.error
        result, seconds, made = ended.result
        write(folder, descriptions[ended.key], result, seconds, made)
        yield ended.key, result


def timed(cell: Cell) -> tuple[CellResult, float, dict[str, str]]:
    """Result of a cell, the seconds that it took, and where and from what it was made."""
    started = time.perf_counter()
    return run_cell(cell), time.perf_counter() - started, _made()
