"""The tables of the rates protocol, for a terminal and as a page."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from msgspec import UNSET
from rich.box import SIMPLE_HEAD
from rich.table import Table

from segue.errors import DataError
from segue.lab.rates.run import AUTOENCODER, SYNC
from segue.lab.report.table import Summary, facts, head, provenance, shown, summarise
from segue.lab.report.tables import explained, winner
from segue.lab.report.verdict import headline
from segue.lab.results import Control, Group, RateRow, RatesResult, Results

SYNCHRONOUS = ("score", "success", "completion_time", "jerk_measured")
ASYNCHRONOUS = (*SYNCHRONOUS, "seam_jump")
SCREEN_CLOSED_LOOP = (("s", ("score",)), ("a", ("score", "success", "jerk_measured", "seam_jump")))
IN_SHORT = ("deviation", "jerk_step")
MARKDOWN_CLOSED_LOOP = (("s", ("score", "jerk_measured")), ("a", ("score", "success", *ASYNCHRONOUS[2:])))
PAGE_CLOSED_LOOP = (("s", SYNCHRONOUS), ("a", ASYNCHRONOUS))
OPEN_LOOP = ("deviation", "acceleration_step", "jerk_step", "jerk")

Modes = Sequence[tuple[str, Sequence[str]]]
"""Closed-loop columns: ``s`` or ``a``, synchronous or asynchronous, and the measures."""


def open_loop_head(measure: str, unit: str) -> str:
    """Label and unit of an open-loop measure in a group with this unit."""
    label, power = {
        "deviation": ("deviation", ""),
        "geodesic": ("rotation error", ""),
        "acceleration_step": ("acceleration", "/step²"),
        "jerk_step": ("jerk", "/step³"),
        "acceleration": ("acceleration", "/s²"),
        "jerk": ("jerk", "/s³"),
    }[measure]
    return f"{label} [{'rad' if measure == 'geodesic' else unit + power}]"


def short(value: float | None) -> str:
    """Three significant digits, a dash where there is nothing."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _section(results: Results) -> RatesResult:
    if results.rates is UNSET:
        raise DataError(
            got="results without the section 'rates'",
            expected="results of `segue rates`",
            change="use `segue report` for other comparisons",
        )
    return results.rates


def _open_loop(each: RateRow | Control, group: str, measures: Sequence[str]) -> list[str]:
    return [short(each.open_loop[group][measure]) for measure in measures]


def _reconstruction(rates: RatesResult, row: RateRow, group: str) -> str:
    """What the autoencoder alone is off by, beside a row that lives in its latent space."""
    alone = (each for each in rates.controls if each.label == AUTOENCODER)
    return _open_loop(next(alone), group, ["deviation"])[0] if row.autoencoder_updates else ""


def _screen(title: str, caption: str, heads: Sequence[str]) -> Table:
    """A table that fits 80 columns: labels are folded, numbers are not."""
    table = Table(
        title=title, title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("row")
    for each in heads:
        table.add_column(each.replace(": ", ":\n").replace(" [", "\n\\["), justify="right", no_wrap=True)
    return table


def open_loop_table(results: Results) -> Table:
    """Deviation and roughness on held-out episodes, in the first group of dimensions; the page has them all."""
    rates = _section(results)
    group = rates.groups[0]
    first, *heads = (open_loop_head(measure, group.unit) for measure in IN_SHORT)
    table = _screen(
        f"open loop, held-out episodes: {group.name}",
        "autoencoder: deviation of the autoencoder alone",
        [first, "autoencoder", *heads, "seam jump [std]"],
    )
    for control in rates.controls:
        deviation, *rest = _open_loop(control, group.name, IN_SHORT)
        table.add_row(f"[dim]{control.label}[/]", deviation, "", *rest, "")
    for _, rows in groupby(rates.rows, key=_family):
        table.add_section()
        for row in rows:
            deviation, *rest = _open_loop(row, group.name, IN_SHORT)
            alone = _reconstruction(rates, row, group.name)
            table.add_row(row.label, deviation, alone, *rest, short(row.seam_jump))
    return table


def _family(row: RateRow) -> str:
    return row.label.partition(":")[0]


def closed_loop_table(results: Results, summary: Summary) -> Table:
    """Score, success and jerk in the simulator, waiting for inference and not; the page has more measures."""
    rates = _section(results)
    table = _screen(
        f"closed loop, delay {rates.delay_seconds:.3g} s",
        "s: synchronous, a: asynchronous; mean, and below it its 95 % interval",
        [f"{mode}: {head(metric)}" for mode, metrics in SCREEN_CLOSED_LOOP for metric in metrics],
    )
    for _, rows in groupby(rates.rows, key=_family):
        table.add_section()
        for row in rows:
            cells = _closed_loop(summary, row, SCREEN_CLOSED_LOOP)
            table.add_row(row.label, *(f"{value}\n[dim]{interval}[/]" for value, interval in cells))
    return table


def markdown(results: Results, summary: Summary) -> str:
    """Both tables as one in Markdown: the first group's deviation and jerk per step, then the simulator's verdict."""
    rates = _section(results)
    group = rates.groups[0]
    heads = [open_loop_head(measure, group.unit) for measure in IN_SHORT]
    heads += [f"{mode}: {head(metric)}" for mode, metrics in MARKDOWN_CLOSED_LOOP for metric in metrics]
    lines = [f"| row | {' | '.join(heads)} |", "|:---|" + "---:|" * len(heads)]
    empty = [""] * (len(heads) - len(IN_SHORT))
    for each in rates.controls:
        lines.append(f"| *{each.label}* | {' | '.join([*_open_loop(each, group.name, IN_SHORT), *empty])} |")
    for row in rates.rows:
        measured = _closed_loop(summary, row, MARKDOWN_CLOSED_LOOP)
        cells = [f"{value} ({interval})" if interval else value for value, interval in measured]
        lines.append(f"| {row.label} | {' | '.join([*_open_loop(row, group.name, IN_SHORT), *cells])} |")
    return "\n".join(lines) + "\n"


def _closed_loop(summary: Summary, row: RateRow, wanted: Modes) -> list[tuple[str, str]]:
    """Value and interval of each closed-loop cell of a row, a dash where it is not measured."""
    return [
        shown(summary.interval(row.name + (SYNC if mode == "s" else ""), summary.delays[0], metric), metric)
        for mode, metrics in wanted
        for metric in metrics
    ]


def _modes(rates: RatesResult, summary: Summary) -> tuple[Summary, Summary]:
    """What waits for its chunks and what goes on meanwhile, each by itself, under the rows' own labels."""
    waiting, going_on = ({f"{row.name}{end}": row.label for row in rates.rows} for end in (SYNC, ""))
    return replace(summary, labels=waiting, default=None), replace(summary, labels=going_on, default=None)


def said(results: Results, summary: Summary) -> str:
    """One sentence with two numbers: the best row that goes on meanwhile, and the first one."""
    rates = _section(results)
    return headline(_modes(rates, summary)[1], rates.rows[0].name)


def not_applicable(results: Results) -> list[str]:
    """What is left out, and why: reasons, each with the rows that it holds for."""
    rows: dict[str, list[str]] = {}
    for each in _section(results).not_applicable:
        rows.setdefault(each.why, []).append(each.row)
    return [f"{why} ({'; '.join(labels)})" for why, labels in rows.items()]


def write_page(results: Results, path: Path) -> Path:
    """Write the tables as one HTML file that opens offline; returns its path."""
    from segue.lab.report import html

    rates, summary = _section(results), summarise(results)
    modes = tuple(zip(_modes(rates, summary), (SYNCHRONOUS, ASYNCHRONOUS), strict=True))
    methods = {each.name: each for each in results.methods}
    return html.write_page(
        path,
        "rates.html.j2",
        title=results.title,
        facts=facts(results, summary),
        headline=said(results, summary),
        winners=[
            (
                explained(name),
                [winner(each, methods, summary.delays[0], name) if name in own else None for each, own in modes],
            )
            for name in ASYNCHRONOUS
        ],
        delay=f"{1000 * rates.delay_seconds:.0f} ms",
        groups=[_page_group(rates, group) for group in rates.groups],
        rows=[(row.label, _closed_loop(summary, row, PAGE_CLOSED_LOOP)) for row in rates.rows],
        synchronous=[head(metric) for metric in SYNCHRONOUS],
        asynchronous=[head(metric) for metric in ASYNCHRONOUS],
        not_applicable=not_applicable(results),
        provenance=provenance(results, summary),
    )


def _page_group(rates: RatesResult, group: Group) -> dict[str, Any]:
    """The open-loop table of one group of dimensions; rotations have one measure more."""
    rotates = rates.controls[0].open_loop[group.name]["geodesic"] is not None
    measures = [OPEN_LOOP[0], *(["geodesic"] if rotates else []), *OPEN_LOOP[1:]]

    def cells(row: RateRow) -> list[str]:
        extra = f" + {row.autoencoder_updates}" if row.autoencoder_updates else ""
        alone, values = _reconstruction(rates, row, group.name), _open_loop(row, group.name, measures)
        return [f"{row.updates}{extra}", alone, *values, short(row.seam_jump)]

    return {
        "name": group.name,
        "heads": [open_loop_head(measure, group.unit) for measure in measures],
        "controls": [(each.label, _open_loop(each, group.name, measures)) for each in rates.controls],
        "rows": [(row.label, cells(row)) for row in rates.rows],
    }
