"""From episodes to a table: every measure per method and delay with its interval, and who is better than whom."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import numpy as np
from msgspec import to_builtins
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from segue.core.metrics import METRICS
from segue.errors import DataError, UnknownNameError
from segue.lab.results import SCHEMA, CellResult, Results
from segue.lab.statistics import (
    NOTHING,
    Interval,
    Sample,
    mean_difference,
    mean_interval,
    proportion_difference,
    proportion_interval,
)

SHARES = ("success", "score", "hesitation", "surprising")
HEADLINE = ("success", "completion_time", "jerk_measured")
INTERVAL = 11
"""Characters of an interval in a terminal, which is never cut: names of methods fold instead."""
Key = tuple[str, int, str]  # method, delay, metric
Verdict = Literal["better", "worse", "level"]


@dataclass(frozen=True)
class Standing:
    """Who is in front in one measure at one delay.

    Attributes:
        best: Method with the best mean.
        rivals: Methods that it is not clearly better than: the interval of the paired difference includes zero.
    """

    best: str
    rivals: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Summary:
    """All cells of a comparison.

    Attributes:
        labels: Method name to label, in the order of reports.
        default: Name of the method that Segue uses unless told otherwise, if it took part.
        delays: Inference delays [steps], ascending.
        metrics: Names of the measures that an episode defines, in the order of `METRICS`.
        demonstrations: The demonstrations' own value, where one is defined.
        samples: The episodes of each cell.
        dt: Control period [s].
        missing: How many training seeds a method is yet to be measured on at a delay.
    """

    labels: Mapping[str, str]
    default: str | None
    delays: tuple[int, ...]
    metrics: tuple[str, ...]
    demonstrations: Mapping[str, float]
    samples: Mapping[Key, Sample]
    dt: float
    missing: Mapping[tuple[str, int], int] = field(default_factory=dict)

    @cached_property
    def intervals(self) -> dict[Key, Interval]:
        """Mean (or share of successes) and interval of each cell."""
        return {key: _interval(key[2], sample) for key, sample in self.samples.items()}

    @cached_property
    def _compared(self) -> dict[tuple[str, str, int, str], Interval]:
        return {}

    @cached_property
    def _standings(self) -> dict[tuple[int, str], Standing | None]:
        return {}

    def interval(self, method: str, delay: int, metric: str) -> Interval:
        """One cell; NaN when it was not measured."""
        return self.intervals.get((method, delay, metric), NOTHING)

    def difference(self, method: str, other: str, delay: int, metric: str) -> Interval:
        """Paired difference method - other; NaN when they have no episode in common."""
        pair = (method, other, delay, metric)
        if pair not in self._compared:
            ours, theirs = self.samples.get((method, delay, metric)), self.samples.get((other, delay, metric))
            between = proportion_difference if metric == "success" else mean_difference
            self._compared[pair] = between(ours, theirs) if ours and theirs else NOTHING
        return self._compared[pair]

    def compare(self, method: str, other: str, delay: int, metric: str) -> Verdict:
        """Whether the interval of the paired difference excludes zero, and on which side."""
        difference = self.difference(method, other, delay, metric)
        sign = 1 if METRICS[metric].better == "higher" else -1
        low, high = sorted((sign * difference.low, sign * difference.high))
        return "better" if low > 0 else "worse" if high < 0 else "level"

    def ranked(self, delay: int, metric: str) -> list[str]:
        """Methods that were measured, the best mean first; of equals the first; none where nothing is better."""
        means = {name: self.interval(name, delay, metric).value for name in self.labels}
        names = [name for name, mean in means.items() if not math.isnan(mean)]
        sign = {"higher": -1, "lower": 1, "none": 0}[METRICS[metric].better]
        return sorted(names, key=lambda name: sign * means[name]) if sign else []

    def best(self, delay: int, metric: str) -> str | None:
        """Method with the best mean; the first of equals; None when nothing is measured or nothing is better."""
        standing = self.standing(delay, metric)
        return standing and standing.best

    def standing(self, delay: int, metric: str) -> Standing | None:
        """The best method and those that it is not clearly better than. None when nothing is measured."""
        if (delay, metric) not in self._standings:
            names = self.ranked(delay, metric)
            level = {name for name in names[1:] if self.compare(names[0], name, delay, metric) != "better"}
            rivals = tuple(name for name in self.labels if name in level)
            self._standings[delay, metric] = Standing(names[0], rivals) if names else None
        return self._standings[delay, metric]

    def measured(self, method: str, delay: int, metric: str) -> bool:
        """Whether an episode of this cell defines the measure."""
        return not math.isnan(self.interval(method, delay, metric).value)

    def at(self, delay: int) -> dict[str, str]:
        """Labels of the methods that were asked for at a delay, of which runs may be missing."""
        asked = {key[:2] for key in self.samples} | self.missing.keys()
        return {name: label for name, label in self.labels.items() if (name, delay) in asked}

    def among_best(self, method: str, delay: int, metric: str) -> bool:
        """Whether the method has the best mean, or the best one is not clearly better in pairs."""
        standing = self.standing(delay, metric)
        return standing is not None and method in (standing.best, *standing.rivals)

    def ratio(self, method: str, delay: int, metric: str) -> Interval:
        """The cell as a multiple of the demonstrations' value; NaN where they have none above zero."""
        cell, reference = self.interval(method, delay, metric), self.demonstrations.get(metric, math.nan)
        reference = reference if reference > 0 else math.nan
        low, high = cell.low / reference, cell.high / reference
        return Interval(cell.value / reference, low, high, cell.episodes, cell.training_seeds)


def _interval(metric: str, sample: Sample) -> Interval:
    """Of a mean; what cannot be below zero, or above one, has no interval that reaches there."""
    if metric in SHARES:
        return proportion_interval(sample)
    interval = mean_interval(sample)
    return interval if np.any(sample.values < 0) else replace(interval, low=max(interval.low, 0.0))


def summarise(results: Results) -> Summary:
    """The table of a results file.

    Raises:
        DataError: Another schema, no cells, or two execution horizons for one method and delay.
        UnknownNameError: A cell of a method that is not among the methods.
    """
    cells = results.cells
    if results.schema != SCHEMA or not cells:
        raise DataError(
            got=f"results of schema {results.schema!r} with {len(cells)} cells",
            expected=f"schema {SCHEMA} and at least one cell",
            change="write the results again with this version of Segue",
        )
    labels = {method.name: method.label for method in results.methods}
    missing = results.missing or ()
    for each in (*cells, *missing):
        if each.method not in labels:
            raise UnknownNameError("method in a cell", each.method, labels)
    own = {name: value for name, value in results.demonstrations.items() if value is not None}
    return Summary(
        labels=labels,
        default=next((method.name for method in results.methods if method.default), None),
        delays=tuple(sorted({each.delay for each in (*cells, *missing)})),
        metrics=tuple(name for name in METRICS if not all(np.isnan(cell.values(name)).all() for cell in cells)),
        demonstrations={name: value for name, value in own.items() if not math.isnan(value)},
        samples=_samples(cells),
        dt=results.task.dt,
        missing=Counter((each.method, each.delay) for each in missing),
    )


def _samples(cells: Sequence[CellResult]) -> dict[Key, Sample]:
    def place(cell: CellResult) -> tuple[str, int]:
        return cell.method, cell.delay

    samples: dict[Key, Sample] = {}
    for (method, delay), grouped in groupby(sorted(cells, key=place), place):
        group = list(grouped)
        horizons = sorted({cell.execution_horizon for cell in group})
        if len(horizons) > 1:
            raise DataError(
                got=f"execution horizons {horizons} of {method!r} at delay {delay}",
                expected="one execution horizon per method and delay",
                change="give each execution horizon a method name of its own, or a report of its own",
            )
        seed = np.concatenate([np.array(cell.seeds, np.int64) for cell in group])
        training = np.repeat([cell.training_seed for cell in group], [len(cell.seeds) for cell in group])
        for metric in METRICS:
            if all(metric in cell.episodes for cell in group):
                values = np.array([value for cell in group for value in cell.values(metric)])
                samples[method, delay, metric] = Sample(values, training, seed)
    return samples


def decimals(value: float, metric: str = "") -> int:
    """Decimals that show three significant digits from 0.1 on and two below; always two for shares."""
    if metric in ("success", "score") or value == 0 or not math.isfinite(value):
        return 2
    order = math.floor(math.log10(abs(value)))
    return max(2 - order, 0) if order >= -1 else min(1 - order, 6)


def shown(interval: Interval, metric: str = "") -> tuple[str, str]:
    """The value and its interval for people, with the same number of decimals; a dash where undefined."""
    if math.isnan(interval.value):
        return "–", ""
    digits = decimals(interval.value, metric)
    if math.isnan(interval.low):  # of one episode
        return f"{interval.value:,.{digits}f}", ""
    value, low, high = (
        f"{0.0 if round(x, digits) == 0 else x:,.{digits}f}" for x in (interval.value, interval.low, interval.high)
    )
    return value, f"{low} to {high}" if interval.low < 0 else f"{low}–{high}"


def cell_shown(summary: Summary, method: str, delay: int, metric: str, *, relative: bool = False) -> tuple[str, str]:
    """A cell for people: its mean, and its interval and how many training runs are missing."""
    interval = (summary.ratio if relative else summary.interval)(method, delay, metric)
    value, between = shown(interval, "" if relative else metric)
    missing = summary.missing.get((method, delay), 0)
    runs = f"{missing} run{'s' if missing > 1 else ''} missing" if missing else ""
    return value, ", ".join(filter(None, (between, runs)))


def unit(metric: str) -> str:
    """Unit of a measure with raised exponents."""
    return METRICS[metric].unit.replace("^2", "²").replace("^3", "³")


def head(metric: str) -> str:
    """Label and unit of a measure."""
    return f"{METRICS[metric].label} [{unit(metric)}]" if unit(metric) else METRICS[metric].label


def markdown(
    summary: Summary, metrics: Sequence[str] = HEADLINE, more: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """A Markdown table, one row per delay and method; bold is the best mean and who is not clearly behind it.

    Args:
        summary: What was measured.
        metrics: Its columns.
        more: Columns after them by their heads, of each method what stands there.
    """
    more = more or {}
    rows = [f"| delay | method | {' | '.join([*map(head, metrics), *more])} |"]
    rows.append("|---:|:---|" + "---:|" * (len(metrics) + len(more)))
    for delay in summary.delays:
        for name, label in summary.at(delay).items():
            cells = [*_marked(summary, name, delay, metrics, "**{}**", "{} ({})")]
            cells += [column.get(name, "") for column in more.values()]
            rows.append(f"| {delay} | {label} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def console(summary: Summary, metrics: Sequence[str] = HEADLINE) -> Table:
    """The same table for a terminal."""
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False,  # narrow: five measures and their intervals on 80 columns
        caption="mean with 95 % interval; bold: the best mean, and those not clearly behind", caption_justify="left",
    )  # fmt: skip
    table.add_column("delay", justify="right", no_wrap=True)
    table.add_column("method", overflow="fold")
    for metric in metrics:
        table.add_column(head(metric).replace("[", r"\["), justify="right", min_width=INTERVAL)
    for delay in summary.delays:
        there = summary.at(delay)
        for index, (name, label) in enumerate(there.items()):
            cells = _marked(summary, name, delay, metrics, "[bold]{}[/bold]", "{} [dim]{}[/dim]")
            last = index == len(there) - 1
            table.add_row("" if index else str(delay), escape(label), *cells, end_section=last)
    return table


def _marked(summary: Summary, name: str, delay: int, metrics: Sequence[str], bold: str, both: str) -> Iterator[str]:
    """Cells of a row, the best and those beside it in bold, with their intervals."""
    for metric in metrics:
        value, interval = cell_shown(summary, name, delay, metric)
        value = bold.format(value) if summary.among_best(name, delay, metric) else value
        yield both.format(value, interval) if interval else value


def episode_rows(results: Results) -> Iterator[dict[str, Any]]:
    """One flat row per episode, for the CSV: the cell's coordinates, the episode's seed, every measure."""
    for cell in results.cells:
        place = {name: getattr(cell, name) for name in ("method", "delay", "execution_horizon", "training_seed")}
        columns = {"seed": cell.seeds, **{name: cell.episodes[name] for name in METRICS if name in cell.episodes}}
        for values in zip(*columns.values(), strict=True):
            yield {**place, **dict(zip(columns, values, strict=True))}


def facts(results: Results, summary: Summary) -> list[str]:
    """What was compared, in a few words each."""
    task, cells, budget = results.task, results.cells, results.budget
    runs, rate = len({cell.training_seed for cell in cells}), 1 / task.dt
    trained = f"{runs} training run{'s' if runs != 1 else ''}"
    if results.rates:
        found = [
            f"{len(results.rates.rows)} rows",
            f"{trained} each",
            f"{budget['episodes']} episodes per cell",
            f"{budget['updates']} updates of {budget['batch']} chunks",
            f"{rate:g} and {rate / results.rates.factor:g} Hz",
        ]
    else:
        found = [
            f"{len(summary.labels)} methods",
            f"{len(summary.delays)} delay{'s' if len(summary.delays) != 1 else ''}",
            str(budget.get("delays drawn", "")),
            f"{trained} per method",
            f"{sum(len(cell.seeds) for cell in cells):,} episodes",
            f"{rate:.3g} Hz control",
            f"{len(results.missing)} of {len(results.missing) + len(cells)} cells missing" if results.missing else "",
        ]
    return [fact for fact in (f"task {task.name}", *found, results.created[:10]) if fact]


def provenance(results: Results, summary: Summary) -> list[tuple[str, str]]:
    """How the results were made, as names and texts; enough to make them again."""

    def listed(values: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in values.items())

    cells, task = results.cells, to_builtins(results.task)
    seeds = {seed for cell in cells for seed in cell.seeds}
    horizons = {f"{cell.execution_horizon} at delay {cell.delay}": None for cell in cells}
    return [
        *((name, getattr(results, name)) for name in ("command", "commit", "created", "machine")),
        ("versions", listed(results.versions)),
        ("training budget", listed(results.budget)),
        ("task", listed({name: value for name, value in task.items() if not isinstance(value, list)})),
        ("actions", ", ".join(results.task.action_names)),
        ("execution horizon", ", ".join(horizons)),
        ("training seeds", ", ".join(map(str, sorted({cell.training_seed for cell in cells})))),
        ("episode seeds", f"{len(seeds)} different, {min(seeds)} to {max(seeds)}"),
        ("demonstrations", listed({name: f"{value:.4g}" for name, value in summary.demonstrations.items()})),
    ]
