"""The tables of the rates protocol, for a terminal and as a page."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.table import Table

from segue.errors import DataError, MissingExtraError
from segue.evaluation.rates_run import AUTOENCODER, SYNC
from segue.evaluation.table import Summary, head, provenance, shown, summarise

SYNCHRONOUS = ("score", "success", "completion_time", "jerk_measured")
ASYNCHRONOUS = (*SYNCHRONOUS, "seam_jump")
MARKDOWN_OPEN_LOOP = ("deviation", "jerk_step")
MARKDOWN_CLOSED_LOOP = (("s", ("score", "jerk_measured")), ("a", ("score", "success", *ASYNCHRONOUS[2:])))
OPEN_LOOP = ("deviation", "acceleration_step", "jerk_step", "jerk")


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


def _section(content: Mapping[str, Any]) -> Mapping[str, Any]:
    if "rates" not in content:
        raise DataError(
            got="results without the section 'rates'",
            expected="results of `segue bench rates`",
            change="use `segue report` for other comparisons",
        )
    return content["rates"]


def _columns(rates: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Group, measure and head of each open-loop column; rotations have one more."""
    found = []
    for group in rates["groups"]:
        known = rates["controls"][0]["open_loop"][group["name"]]
        measures = [OPEN_LOOP[0], *(["geodesic"] if known["geodesic"] is not None else []), *OPEN_LOOP[1:]]
        found += [(group["name"], measure, open_loop_head(measure, group["unit"])) for measure in measures]
    return found


def _budget(row: Mapping[str, Any]) -> str:
    extra = row["autoencoder_updates"]
    return f"{row['updates']} + {extra}" if extra else str(row["updates"])


def _reconstruction(rates: Mapping[str, Any], row: Mapping[str, Any], group: str) -> str:
    """What the autoencoder alone is off by, beside a row that lives in its latent space."""
    if not row["autoencoder_updates"]:
        return ""
    control = next(each for each in rates["controls"] if each["label"] == AUTOENCODER)
    return short(control["open_loop"][group]["deviation"])


def open_loop_table(content: Mapping[str, Any]) -> Table:
    """Deviation and roughness on held-out episodes, in the first group of dimensions."""
    rates = _section(content)
    first = rates["groups"][0]["name"]
    columns = [column for column in _columns(rates) if column[0] == first]
    table = Table(title=f"open loop, held-out episodes: {first}", title_justify="left")
    table.add_column("row", no_wrap=True)
    for title in ("updates", "autoencoder", *(title for _, _, title in columns), "seam jump [std]"):
        table.add_column(title.replace("[", r"\["), justify="right")
    for control in rates["controls"]:
        values = [short(control["open_loop"][group][measure]) for group, measure, _ in columns]
        table.add_row(f"[dim]{control['label']}[/]", "", "", *values, "")
    for _, rows in groupby(rates["rows"], key=_family):
        table.add_section()
        for row in rows:
            values = [short(row["open_loop"][group][measure]) for group, measure, _ in columns]
            table.add_row(
                row["label"], _budget(row), _reconstruction(rates, row, first), *values, short(row["seam_jump"])
            )
    return table


def _family(row: Mapping[str, Any]) -> str:
    return row["label"].partition(":")[0]


def closed_loop_table(content: Mapping[str, Any], summary: Summary) -> Table:
    """Success, time and jerk in the simulator, waiting for inference and not."""
    rates = _section(content)
    delay = summary.delays[0]
    table = Table(
        title=f"closed loop, delay {rates['delay_seconds']:.3g} s; s: synchronous, a: asynchronous",
        title_justify="left",
        caption="mean with 95 % interval",
        caption_justify="left",
    )
    table.add_column("row", no_wrap=True)
    for mode, metrics in (("s", SYNCHRONOUS), ("a", ASYNCHRONOUS)):
        for metric in metrics:
            table.add_column(f"{mode}: {head(metric)}".replace("[", r"\["), justify="right")
    for _, rows in groupby(rates["rows"], key=_family):
        table.add_section()
        for row in rows:
            cells = [" ".join(_cell(summary, name, delay, metric)) for name, metric in _places(row)]
            table.add_row(row["label"], *cells)
    return table


def markdown(content: Mapping[str, Any], summary: Summary) -> str:
    """Both tables as one in Markdown: the first group's deviation and jerk per step, then the simulator's verdict."""
    rates, delay = _section(content), summary.delays[0]
    group = rates["groups"][0]
    open_loop = [open_loop_head(measure, group["unit"]) for measure in MARKDOWN_OPEN_LOOP]
    closed = [f"{mode}: {head(metric)}" for mode, metrics in MARKDOWN_CLOSED_LOOP for metric in metrics]
    lines = [f"| row | {' | '.join([*open_loop, *closed])} |", "|:---|" + "---:|" * (len(open_loop) + len(closed))]
    for each in [*rates["controls"], *rates["rows"]]:
        cells = [short(each["open_loop"][group["name"]][measure]) for measure in MARKDOWN_OPEN_LOOP]
        for mode, metrics in MARKDOWN_CLOSED_LOOP:
            name = each.get("name", "") + (SYNC if mode == "s" else "")
            measured = [_cell(summary, name, delay, metric) for metric in metrics]
            cells += [f"{value} ({interval})" if interval else value.replace("n/a", "") for value, interval in measured]
        label = each["label"] if "name" in each else f"*{each['label']}*"
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _places(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Method and metric of each closed-loop cell of a row."""
    synchronous = [(row["name"] + SYNC, metric) for metric in SYNCHRONOUS]
    return synchronous + [(row["name"], metric) for metric in ASYNCHRONOUS]


def _cell(summary: Summary, method: str, delay: int, metric: str) -> tuple[str, str]:
    if method not in summary.labels:
        return "n/a", ""
    value, interval = shown(summary.interval(method, delay, metric), metric)
    return value, interval


def not_applicable(content: Mapping[str, Any]) -> list[str]:
    """What is left out, and why."""
    return [f"{each['row']}: {each['why']}" for each in _section(content)["not_applicable"]]


def write_page(content: Mapping[str, Any], path: Path) -> Path:
    """Write the tables as one HTML file that opens offline; returns its path."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "writing the report") from error
    environment = Environment(
        loader=PackageLoader("segue.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    rates, summary = _section(content), summarise(content)
    text = environment.get_template("rates.html.j2").render(
        title=content["title"],
        facts=facts(content),
        delay=f"{1000 * rates['delay_seconds']:.0f} ms",
        columns=[title for _, _, title in _columns(rates)],
        groups=[(group["name"], sum(column[0] == group["name"] for column in _columns(rates)))
                for group in rates["groups"]],
        controls=[(each["label"], _values(rates, each)) for each in rates["controls"]],
        rows=[_page_row(rates, row, summary) for row in rates["rows"]],
        synchronous=[head(metric) for metric in SYNCHRONOUS],
        asynchronous=[head(metric) for metric in ASYNCHRONOUS],
        not_applicable=not_applicable(content),
        provenance=provenance(content, summary),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def facts(content: Mapping[str, Any]) -> list[str]:
    """What was compared, in a few words each."""
    rates, budget = _section(content), content["budget"]
    rate = 1 / content["task"]["dt"]
    return [
        f"task {content['task']['name']}",
        f"{len(rates['rows'])} rows",
        f"{budget['training_seeds']} training run{'s' if budget['training_seeds'] != 1 else ''} each",
        f"{budget['episodes']} episodes per cell",
        f"{budget['updates']} updates of {budget['batch']} chunks",
        f"{rate:g} and {rate / rates['factor']:g} Hz",
        str(content.get("created", ""))[:10],
    ]


def _values(rates: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    return [short(row["open_loop"][group][measure]) for group, measure, _ in _columns(rates)]


def _page_row(rates: Mapping[str, Any], row: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    first = rates["groups"][0]["name"]
    cells = [_cell(summary, name, summary.delays[0], metric) for name, metric in _places(row)]
    return {
        "label": row["label"],
        "updates": _budget(row),
        "autoencoder": _reconstruction(rates, row, first),
        "open_loop": _values(rates, row),
        "seam_jump": short(row["seam_jump"]),
        "cells": [{"value": value, "interval": interval} for value, interval in cells],
    }
