"""One page that shows a recorded run: a self-contained HTML file in the look of the comparison's report."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from segue.core.metrics import METRICS, EpisodeRecord, commanded_path, episode_metrics
from segue.core.seams import seam_jump
from segue.core.smoothness import normalised, power_spectrum
from segue.errors import MissingExtraError
from segue.lab.report.table import head, shown, unit
from segue.lab.statistics import Interval
from segue.trace.file import Trace
from segue.trace.measures import OF_THE_TASK, episode_records, scale_of
from segue.trace.summary import RunSummary, summarise_run

ROWS = 3  # action dimensions in the panel of executed actions
WINDOW = 150
"""Ticks before and after the worst seam that are drawn."""
RUNGS = 50
"""Changes of the ladder that are listed."""

Measures = Mapping[str, tuple[float, float, float]]


def measures_of(records: Sequence[EpisodeRecord]) -> Measures:
    """Mean, smallest and largest value over the episodes, of each measure that is defined in one."""
    values = [episode_metrics(record) for record in records]
    found = {}
    for name in METRICS:
        numbers = np.array([each[name] for each in values])
        numbers = numbers[~np.isnan(numbers)]
        if name not in OF_THE_TASK and numbers.size:
            found[name] = (float(numbers.mean()), float(numbers.min()), float(numbers.max()))
    return found


def console_tables(summary: RunSummary, measures: Measures) -> list[Table]:
    """The run and its smoothness, for a terminal."""
    run = Table("run", "")
    for name, value in summary.rows():
        run.add_row(name, value)
    smooth = Table("smoothness", "mean", "range over episodes")
    for name, cell in measures.items():
        smooth.add_row(head(name).replace("[", r"\["), *_cells(name, cell))
    return [run, smooth] if measures else [run]


def write_trace_report(trace: Trace, path: Path, title: str) -> Path:
    """Write the page.

    Args:
        trace: The run.
        path: The HTML file; its folder is made if it does not exist.
        title: Headline.

    Raises:
        DataError: The trace's header does not name the robot.
        MissingExtraError: The packages of the extra ``report`` are not installed.
    """
    text = _render(trace, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _render(trace: Trace, title: str) -> str:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "writing the report") from error

    summary, records = summarise_run(trace), episode_records(trace)
    environment = Environment(
        loader=PackageLoader("segue.lab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    theirs = scale_of(trace, [])[1]
    return environment.get_template("trace.html.j2").render(
        title=title,
        facts=_facts(trace, summary),
        rows=summary.rows(),
        rungs=summary.rungs[:RUNGS],
        more_rungs=max(len(summary.rungs) - RUNGS, 0),
        measures=[_measure(name, cell) for name, cell in measures_of(records).items()],
        scale_note="std is the standard deviation of the "
        + ("demonstrations' actions." if theirs else "run's own commands: not to be compared with other runs."),
        provenance=[(name, _text(value)) for name, value in trace.header.items()],
        **_drawings(summary, records),
    )


def _facts(trace: Trace, summary: RunSummary) -> list[str]:
    robot = trace.header["robot"]
    facts = [f"robot {robot['name']}", f"{1 / robot['dt']:.3g} Hz control", f"{summary.seconds:.1f} s"]
    return [*facts, f"{len(trace.chunks):,} chunks", str(trace.header.get("created", ""))[:10]]


def _cells(name: str, cell: tuple[float, float, float]) -> tuple[str, str]:
    return shown(Interval(*cell, 1, 1), name)


def _measure(name: str, cell: tuple[float, float, float]) -> dict[str, str]:
    metric, (value, ends) = METRICS[name], _cells(name, cell)
    direction = "reported only" if metric.better == "none" else f"{metric.better} is better"
    return {
        "label": metric.label, "direction": direction, "value": value, "range": ends, "unit": unit(name),
        "formula": metric.formula, "source": metric.source,
    }  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _drawings(summary: RunSummary, records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    from markupsafe import Markup

    from segue.lab.report import trace_figures as figures

    histograms, lines = [], []
    if summary.ticks:
        histograms.append(figures.histogram(summary.lateness, title="Lateness", x_label="lateness [ms]"))
        lines.append(figures.over_time(summary.time, 1e3 * summary.lateness, title="Lateness", y_label="[ms]"))
    if len(summary.latencies):
        histograms.append(figures.histogram(summary.latencies, title="Inference", x_label="asking to answer [ms]"))
    if len(summary.delays):
        histograms.append(figures.steps(summary.delays, summary.planned, title="Delay"))
    if summary.ticks and summary.states:
        lines.append(figures.timeline(summary.time, summary.ladder, summary.states, title="Safety ladder"))
    executed, note = _executed(records)
    return {
        "histograms": [Markup(svg) for svg in histograms],
        "lines": [Markup(svg) for svg in lines],
        "executed": [Markup(svg) for svg in executed],
        "executed_note": note,
    }


def _worst_seam(records: Sequence[EpisodeRecord]) -> tuple[EpisodeRecord, int] | None:
    """Episode and step of the largest jump."""
    jumps = [
        (seam_jump(each.commands, seam.step, each.scale, each.spec.kinds), each, seam.step)
        for each in records
        for seam in each.seams
    ]
    jumps = [jump for jump in jumps if not math.isnan(jump[0])]
    return max(jumps, key=lambda jump: jump[0])[1:] if jumps else None


def _executed(records: Sequence[EpisodeRecord]) -> tuple[list[str], str]:
    """Actions around the worst seam, a close-up of it, and the power spectrum of its episode."""
    from segue.lab.report import figures

    found = _worst_seam(records)
    if found is None:
        return [], ""
    record, step = found
    spec, dt, look = record.spec, record.spec.dt, figures.looks(["legato"])["legato"]
    commands = spec.kinds.continuous(record.commands)
    sizes = np.abs(normalised(commands[step] - commands[step - 1], record.scale))
    rows = sorted(np.argsort(-sizes, kind="stable")[:ROWS].tolist())
    first, last = max(step - WINDOW, 0), min(step + WINDOW, len(record.commands))
    window = commands[first:last, rows]
    worst = int(np.argmax(sizes))
    around, line = figures.around(normalised(commands, record.scale)[:, worst], step)
    frequency, density = power_spectrum(commanded_path(record.commands, record.scale, spec), dt)
    names = [spec.action_names[row] for row in rows]
    drawings = [
        figures.executed(
            window, [seam.step - first for seam in record.seams if first <= seam.step < last], step - first,
            look=look, names=names, limits=figures.shared_limits([window]), dt=dt,
        ),
        figures.close_up(
            around, line, look=look, title=spec.action_names[worst], span=max(float(np.ptp(line)) * 1.15, 1e-6),
            y_label="[std]",
        ),
        figures.spectrum(
            [figures.Curve(look, frequency[1:], density[1:])], None, title="Velocity of the commanded path",
            y_label="[(std/s)²/Hz]",
        ),
    ]  # fmt: skip
    note = (
        f"Around the worst seam of the run, {first * dt:.2f} to {last * dt:.2f} s of its episode. Vertical lines: a "
        "new chunk takes over. Close-up: hollow before the seam, filled from the new chunk's first action on."
    )
    return drawings, note
