"""The tables of the rates protocol, for a terminal and as a page."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segue.errors import DataError, MissingExtraError
from segue.lab.rates.run import AUTOENCODER, SYNC
from segue.lab.report.table import Summary, head, provenance, shown, summarise

SYNCHRONOUS = ("score", "success", "completion_time", "jerk_measured")
ASYNCHRONOUS = (*SYNCHRONOUS, "seam_jump")
SCREEN_OPEN_LOOP = ("deviation", "jerk_step")
SCREEN_CLOSED_LOOP = (("s", ("score",)), ("a", ("score", "success", "jerk_measured", "seam_jump")))
MARKDOWN_OPEN_LOOP = ("deviation", "jerk_step")
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


def _section(content: Mapping[str, Any]) -> Mapping[str, Any]:
    if "rates" not in content:
        raise DataError(
            got="results without the section 'rates'",
            expected="results of `segue rates`",
            change="use `segue report` for other comparisons",
        )
    return content["rates"]


def _measures(rates: Mapping[str, Any], group: str) -> list[str]:
    """Open-loop measures of a group of dimensions; rotations have one more."""
    known = rates["controls"][0]["open_loop"][group]
    return [OPEN_LOOP[0], *(["geodesic"] if known["geodesic"] is not None else []), *OPEN_LOOP[1:]]


def _budget(row: Mapping[str, Any]) -> str:
    extra = row["autoencoder_updates"]
    return f"{row['updates']} + {extra}" if extra else str(row["updates"])


def _reconstruction(rates: Mapping[str, Any], row: Mapping[str, Any], group: str) -> str:
    """What the autoencoder alone is off by, beside a row that lives in its latent space."""
    if not row["autoencoder_updates"]:
        return ""
    control = next(each for each in rates["controls"] if each["label"] == AUTOENCODER)
    return short(control["open_loop"][group]["deviation"])


def _screen(title: str, caption: str, heads: Sequence[str]) -> Table:
    """A table that fits 80 columns: labels are folded, numbers are not."""
    table = Table(
        title=title, title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("row")
    for each in heads:
        table.add_column(each.replace(": ", ":\n").replace(" [", "\n\\["), justify="right", no_wrap=True)
    return table


def open_loop_table(content: Mapping[str, Any]) -> Table:
    """Deviation and roughness on held-out episodes, in the first group of dimensions; the page has them all."""
    rates = _section(content)
    group = rates["groups"][0]
    name, heads = group["name"], [open_loop_head(measure, group["unit"]) for measure in SCREEN_OPEN_LOOP]
    table = _screen(
        f"open loop, held-out episodes: {name}",
        "autoencoder: deviation of the autoencoder alone",
        [heads[0], "autoencoder", *heads[1:], "seam jump [std]"],
    )

    def add(label: str, each: Mapping[str, Any], alone: str, jump: str) -> None:
        first, *rest = (short(each["open_loop"][name][measure]) for measure in SCREEN_OPEN_LOOP)
        table.add_row(label, first, alone, *rest, jump)

    for control in rates["controls"]:
        add(f"[dim]{control['label']}[/]", control, "", "")
    for _, rows in groupby(rates["rows"], key=_family):
        table.add_section()
        for row in rows:
            add(row["label"], row, _reconstruction(rates, row, name), short(row["seam_jump"]))
    return table


def _family(row: Mapping[str, Any]) -> str:
    return row["label"].partition(":")[0]


def closed_loop_table(content: Mapping[str, Any], summary: Summary) -> Table:
    """Score, success and jerk in the simulator, waiting for inference and not; the page has more measures."""
    rates = _section(content)
    table = _screen(
        f"closed loop, delay {rates['delay_seconds']:.3g} s",
        "s: synchronous, a: asynchronous; mean, and below it its 95 % interval",
        [f"{mode}: {head(metric)}" for mode, metrics in SCREEN_CLOSED_LOOP for metric in metrics],
    )
    for _, rows in groupby(rates["rows"], key=_family):
        table.add_section()
        for row in rows:
            cells = _cells(summary, row["name"], SCREEN_CLOSED_LOOP)
            table.add_row(row["label"], *(f"{value}\n[dim]{interval}[/]" for value, interval in cells))
    return table


def markdown(content: Mapping[str, Any], summary: Summary) -> str:
    """Both tables as one in Markdown: the first group's deviation and jerk per step, then the simulator's verdict."""
    rates = _section(content)
    group = rates["groups"][0]
    open_loop = [open_loop_head(measure, group["unit"]) for measure in MARKDOWN_OPEN_LOOP]
    closed = [f"{mode}: {head(metric)}" for mode, metrics in MARKDOWN_CLOSED_LOOP for metric in metrics]
    lines = [f"| row | {' | '.join([*open_loop, *closed])} |", "|:---|" + "---:|" * (len(open_loop) + len(closed))]
    for each in [*rates["controls"], *rates["rows"]]:
        cells = [short(each["open_loop"][group["name"]][measure]) for measure in MARKDOWN_OPEN_LOOP]
        measured = _cells(summary, each.get("name"), MARKDOWN_CLOSED_LOOP)
        cells += [f"{value} ({interval})" if interval else value for value, interval in measured]
        label = each["label"] if "name" in each else f"*{each['label']}*"
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(summary: Summary, row: str | None, wanted: Modes) -> list[tuple[str, str]]:
    """Value and interval of each closed-loop cell of a row: a dash where it is not measured, nothing in a control's."""
    found = []
    for mode, metrics in wanted:
        name = None if row is None else row + SYNC if mode == "s" else row
        found += [("", "") if name is None else _cell(summary, name, metric) for metric in metrics]
    return found


def _cell(summary: Summary, method: str, metric: str) -> tuple[str, str]:
    return shown(summary.interval(method, summary.delays[0], metric), metric)


def not_applicable(content: Mapping[str, Any]) -> list[str]:
    """What is left out, and why: reasons, each with the rows that it holds for."""
    rows: dict[str, list[str]] = {}
    for each in _section(content)["not_applicable"]:
        rows.setdefault(each["why"], []).append(each["row"])
    return [f"{why} ({'; '.join(labels)})" for why, labels in rows.items()]


def write_page(content: Mapping[str, Any], path: Path) -> Path:
    """Write the tables as one HTML file that opens offline; returns its path."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "writing the report") from error
    environment = Environment(
        loader=PackageLoader("segue.lab.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    rates, summary = _section(content), summarise(content)
    text = environment.get_template("rates.html.j2").render(
        title=content["title"],
        facts=facts(content),
        delay=f"{1000 * rates['delay_seconds']:.0f} ms",
        groups=[_page_group(rates, group) for group in rates["groups"]],
        rows=[(row["label"], _cells(summary, row["name"], PAGE_CLOSED_LOOP)) for row in rates["rows"]],
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


def _page_group(rates: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """The open-loop table of one group of dimensions."""
    name = group["name"]
    measures = _measures(rates, name)

    def values(each: Mapping[str, Any]) -> list[str]:
        return [short(each["open_loop"][name][measure]) for measure in measures]

    return {
        "name": name,
        "heads": [open_loop_head(measure, group["unit"]) for measure in measures],
        "controls": [(each["label"], values(each)) for each in rates["controls"]],
        "rows": [
            (row["label"], [_budget(row), _reconstruction(rates, row, name), *values(row), short(row["seam_jump"])])
            for row in rates["rows"]
        ],
    }
