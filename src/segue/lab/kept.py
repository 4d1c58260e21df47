"""Cells that are not rolled out twice.

folder/1f3a...json      the result of one cell, named by the hash of all that it is a function of, written in one step

An interrupted comparison goes on where it stopped, and one that is extended by a method or a delay rolls out only what
is new. A cell is a function of its settings, of the weights that it runs, of the simulators' versions, of the part of
this library that decides what happens in an episode, and of the code of methods and tasks from elsewhere.
"""

import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

import segue
from segue.core import foreign
from segue.errors import CheckpointError, DataError
from segue.lab import results
from segue.lab.results import CellResult, versions
from segue.lab.sweep import Cell, foreign_to, run_cells
from segue.training import checkpoint

_DECIDES = (
    *("core", "plan", "strategies", "policies", "methods", "lab/tasks"),
    *(f"lab/{name}.py" for name in ("rollout", "scales", "delays", "twins", "sweep")),
)
"""Parts of the library that decide what happens in an episode, and how it is measured."""
_PACKAGES = results.PACKAGES[1:]


@cache
def _library() -> str:
    """Hash of the sources that decide."""
    home, digest = Path(segue.__file__).parent, hashlib.sha256()
    for part in _DECIDES:
        place = home / part
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _weights(path: Path | None) -> Any:
    """Hashes of the files of a checkpoint, wherever it lies."""
    if path is None:
        return None
    folder = path / "last" if (path / "last").exists() else path
    info = foreign.read_json(folder / "config.json", CheckpointError)
    return info.get("sha256") if isinstance(info, dict) else None


def name_of(cell: Cell) -> str:
    """Name of the file of a cell's result.

    Raises:
        CheckpointError: A checkpoint is missing.
    """
    method = cell.method.description()
    content = {
        "task": cell.task,
        "settings": method["settings"],
        "strategy": type(cell.method.strategy).__name__,
        "delay": [type(cell.own_delay).__name__, asdict(cell.own_delay)],  # type: ignore[call-overload]
        "steps": cell.steps,
        "seeds": [cell.first_seed, cell.episodes],
        "weights": [_weights(path) for path in (cell.checkpoint, cell.autoencoder, cell.predictor)],
        "versions": dict.fromkeys(_PACKAGES, "") | versions(_PACKAGES),
        "library": _library(),
        "foreign": foreign_to(cell),
    }
    text = json.dumps(checkpoint.as_json(content), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32] + ".json"


def read(folder: Path, cell: Cell) -> CellResult | None:
    """The result of a cell, or None where it is not kept, or the file is damaged."""
    try:
        found = msgspec.convert(foreign.read_json(folder / name_of(cell)), CellResult)
    except (DataError, LookupError, msgspec.ValidationError):
        return None
    # The file says nothing about what only names the cell: that may differ from when it was written
    return replace(found, **cell.key, trace=found.trace and replace(found.trace, **cell.key))


def write(folder: Path, cell: Cell, result: CellResult) -> None:
    """Keep the result of a cell."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{name_of(cell)}.part"
    aside.write_text(json.dumps(msgspec.to_builtins(result)))
    aside.replace(folder / name_of(cell))


def run(cells: Sequence[Cell], workers: int, folder: Path) -> Generator[CellResult, None, None]:
    """Results of the cells in their order; those that are not kept in the folder are rolled out, and kept."""
    found = [read(folder, cell) for cell in cells]
    missing = [cell for cell, result in zip(cells, found, strict=True) if result is None]
    fresh = run_cells(missing, workers)
    for cell, result in zip(cells, found, strict=True):
        if result is None:
            result = next(fresh)
            write(folder, cell, result)
        yield result
