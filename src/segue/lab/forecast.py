"""What a comparison would compute, and how long that takes by the times of what was computed before."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

import msgspec

from segue.core import foreign
from segue.errors import SegueError
from segue.lab import cells, results
from segue.lab.cells import Kept
from segue.lab.compare import CELLS, Comparison, cells_of, part_of, policy_name, untrained
from segue.lab.results import Place
from segue.lab.shards import Shard

Name = TypeVar("Name")


def forecast(comparison: Comparison, *, runs: Path, out: Path, workers: int, shard: Shard) -> Iterator[str]:
    """Say what `segue.lab.compare.run` would train and roll out for a part; nothing is computed or written."""
    part = part_of(comparison, shard)
    missing = untrained(comparison, runs, part)
    ready = {
        seed: [(each, delay) for each, delay in those if (seed, policy_name(each)) not in missing]
        for seed, those in part.items()
    }
    known = cells_of(comparison, [runs / f"seed-{seed}" for seed in range(comparison.training_seeds)], ready)
    there = {
        Place(**cell.key)
        for cell, description in zip(known, cells.all_described(known), strict=True)
        if cells.file_of(out / CELLS, description).exists()
    }
    plan = [Place(each.name, delay.typical, seed) for seed, those in part.items() for each, delay in those]
    rows, others = _rows(out / "results.json"), set(_past(out / CELLS, _row))
    left = [place.method for place in plan if place not in there]
    episodes = [seconds * comparison.episodes for seconds in _each(left, _past(out / CELLS, _rollout))]
    stages = _each([name for _, name in missing], _past(runs / "stages", _training))
    names = "".join(f", seed-{seed}/{name}" for seed, name in missing)
    yield f"{len(missing)} policies to train{_time(missing, stages, workers)}{names}"
    yield f"{len(there)} of {len(plan)} cells are there, {len(left)} to roll out{_time(left, episodes, workers)}"
    if other := sum(place in others and place not in there for place in plan):
        yield f"{other} of those have a cell of other settings, policies, packages or sources, which is not taken"
    if alone := len(rows - others):
        yield (
            f"{alone} of {len(rows)} rows of {out / 'results.json'} have no cell beside them, and a bench would write "
            "over them: to keep them give it another --out, and put both together with segue merge"
        )


def _rows(file: Path) -> set[Place]:
    """Rows of results that are there already; none where there are no results, or none that can be read."""
    try:
        return {Place(each.method, each.delay, each.training_seed) for each in results.read(file).cells}
    except SegueError:
        return set()


def _row(kept: Kept) -> tuple[Place, float]:
    """Where it stands in the tables, and its seconds."""
    return Place(*(kept.result[name] for name in ("method", "delay", "training_seed"))), kept.seconds


def _rollout(kept: Kept) -> tuple[str, float]:
    """Method, and seconds per episode."""
    return kept.result["method"], kept.seconds / kept.description["seeds"][1]


def _training(kept: Kept) -> tuple[str, float]:
    """Policy, and seconds; raises `LookupError` for one that was interrupted."""
    return {True: kept.description["stage"]}[kept.result["from the start"]], kept.seconds


def _past(folder: Path, read: Callable[[Kept], tuple[Name, float]]) -> dict[Name, list[float]]:
    """Seconds by name, of everything that a folder keeps."""
    found: dict[Name, list[float]] = {}
    for file in folder.glob("*.json"):
        try:
            name, seconds = read(msgspec.convert(foreign.read_json(file), Kept))
        except (SegueError, LookupError, TypeError, msgspec.ValidationError):
            continue
        found.setdefault(name, []).append(seconds)
    return found


def _each(names: Sequence[str], past: dict[str, list[float]]) -> list[float]:
    """Seconds of each name by its own past, or by that of all; none where there is no past."""
    everyones = [seconds for each in past.values() for seconds in each]
    return [mean(past.get(name, everyones)) for name in names] if everyones else []


def _time(what: Sequence[Any], seconds: Sequence[float], workers: int) -> str:
    if not what:
        return ""
    if not seconds:
        return " (how long is not known: nothing like it was computed here before)"
    return f" (about {sum(seconds) / workers / 60:.1f} minutes on {workers} workers)"
