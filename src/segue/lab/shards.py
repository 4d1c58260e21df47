"""A comparison in parts that know nothing of one another, and the parts put together.

plan of all cells --> shard k of n: a block of it, with few policies --> results with `missing` --> merge
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from msgspec import UNSET, structs

from segue.errors import DataError, SpecError
from segue.lab.results import DEMONSTRATIONS, CellResult, MethodFacts, Motion, Place, Results

Item = TypeVar("Item")
_LISTED = ("updates per policy", "updates per autoencoder")
_USUAL = {"noise": "fresh", "scale": 1.0, "share": 0.0, "predictor": "none", "ramp_seconds": None}
"""Settings of files from before there was a choice."""


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``, from 1 on."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """A part from words such as ``2/8``.

        Raises:
            SpecError: Other words, or a part that does not exist.
        """
        number, _, count = text.partition("/")
        if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise SpecError(f"the part {text!r}", "k/n with k from 1 to n, such as 2/8", "correct --shard")

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Its block of them; the blocks of all parts are the whole, in order."""
        first, last = (len(items) * part // self.count for part in (self.number - 1, self.number))
        return items[first:last]


def merge(parts: Sequence[Results]) -> Results:
    """Put results of the same comparison together: shards of one, or other methods at the same budget.

    What is missing in one and there in another is no longer missing. Where the parts are of different commits, a cell
    says its own.

    Args:
        parts: At least one, in the order of their numbers; a method stands where it is met first.

    Raises:
        DataError: Another task or budget, a method with other settings, or a cell that two parts do not agree on.
    """
    first, last = parts[0], max(parts, key=lambda each: each.created)
    for part in parts:
        _check_alike(first, part)
    methods = _methods(parts)
    cells: dict[Place, CellResult] = {}
    for part in parts:
        for cell in part.cells:
            place = _place(cell)
            if place in cells and _measured(cells[place]) != _measured(cell):
                raise DataError(
                    got=f"{cell.method} at delay {cell.delay}, training seed {cell.training_seed}, with other episodes "
                    f"in {part.command!r} than in another part",
                    expected="the same cell, computed by the same version from the same policy",
                    change="leave one of the files out, or compute again what differs",
                )
            old = part.commit != last.commit and cell.commit is UNSET
            cells.setdefault(place, structs.replace(cell, commit=part.commit) if old else cell)
    order = {name: number for number, name in enumerate(methods)}

    def row(each: Place | CellResult | Motion) -> tuple[int, int, int]:
        return each.training_seed, each.delay, order[each.method]

    missing = {place for part in parts for place in part.missing or ()} - cells.keys()
    seed = min(each.training_seed for each in (*cells, *missing))
    traces = {
        _place(trace): trace
        for trace in chain.from_iterable(part.traces or () for part in parts)
        if trace.method != DEMONSTRATIONS and trace.training_seed == seed
    }
    shown = [trace for trace in last.traces or () if trace.method == DEMONSTRATIONS]
    return structs.replace(
        last,
        command="; ".join(dict.fromkeys(re.sub(r" --shard[ =]\S+", "", part.command) for part in parts)),
        budget=_budget(parts),
        methods=list(methods.values()),
        cells=sorted(cells.values(), key=row),
        missing=sorted(missing, key=row) or UNSET,
        traces=[*sorted(traces.values(), key=row), *shown] if traces or shown else UNSET,
    )


def _place(each: CellResult | Motion) -> Place:
    return Place(each.method, each.delay, each.training_seed)


def _measured(cell: CellResult) -> dict[str, Any]:
    """What two computations of a cell agree on: not the time that inference took."""
    return {**cell.episodes, "seed": cell.seeds, "inference_time": None}


def _check_alike(first: Results, part: Results) -> None:
    facts = [(each.task.name, each.task.dt, each.task.horizon, bool(each.rates)) for each in (first, part)]
    budgets = [
        {name: value for name, value in each.budget.items() if name not in (*_LISTED, "recipe")}
        for each in (first, part)
    ]
    # of a predictor is said only where a method needs one, of delays only where they vary
    shared = budgets[0].keys() & budgets[1].keys() | {"delays drawn"}
    differing = [name for name in sorted(shared) if budgets[0].get(name) != budgets[1].get(name)]
    if not _updates(first) & _updates(part):
        differing.append("updates per policy")
    if facts[0] != facts[1] or facts[0][3] or differing:
        what = ", ".join(f"{name} {part.budget.get(name)}" for name in differing) or f"task {part.task.name}"
        raise DataError(
            got=f"{part.command!r} with {what}, beside {first.command!r}",
            expected="results of `segue bench` on the same task, at the same budget",
            change="merge what was asked for with the same words, apart from --methods, --shard, --runs and --out",
        )


def _updates(part: Results) -> set[str]:
    """Updates that its policies may have cost: those with a predictor are trained for so many fewer as that counts."""
    trained, cost = (
        str(part.budget.get("updates per policy", "")).split(" and "),
        part.budget.get("counted as updates", 0),
    )
    return {*trained, *(str(int(each) + cost) for each in trained if each.isdecimal())}


def _methods(parts: Sequence[Results]) -> dict[str, MethodFacts]:
    found: dict[str, MethodFacts] = {}
    for each in chain.from_iterable(part.methods for part in parts):
        before = found.setdefault(each.name, each)
        if {**_USUAL, **before.settings} != {**_USUAL, **each.settings}:
            raise DataError(
                got=f"{each.name} with settings {each.settings}, beside {before.settings}",
                expected="a method with the same settings in every part",
                change="leave one of the files out",
            )
    return found


def _budget(parts: Sequence[Results]) -> dict[str, Any]:
    """What any of them says, and every number of updates and recipe that one of them has."""
    budget: dict[str, Any] = {}
    for part in parts:
        budget = {**part.budget, **budget}
    for name in {*_LISTED} & budget.keys():
        said = chain.from_iterable(str(part.budget[name]).split(" and ") for part in parts if name in part.budget)
        budget[name] = " and ".join(dict.fromkeys(said))
    recipes: list[Any] = []
    for said in (part.budget["recipe"] for part in parts if "recipe" in part.budget):
        recipes += [each for each in (said if isinstance(said, list) else [said]) if each not in recipes]
    budget.pop("recipe", None)
    return {**budget, "recipe": recipes[0] if len(recipes) == 1 else recipes} if recipes else budget
