"""One page that shows a recorded run: a self-contained HTML file in the look of the comparison's report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from segue.core.metrics import METRICS, EpisodeRecord, commanded_path, episode_metrics
from segue.core.smoothness import power_spectrum
from segue.lab.report.table import head, shown, unit
from segue.lab.report.tables import explained
from segue.lab.results import worst_seam
from segue.lab.statistics import Interval
from segue.trace.file import Trace
from segue.trace.measures import OF_THE_TASK, episode_records, scale_of
from segue.trace.summary import RunSummary, summarise_run

LOOK = "legato"
"""The method whose look a run has."""
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
    smooth = Table("smoothness", "mean", "range over episodes", "better")
    for name, cell in measures.items():
        smooth.add_row(head(name).replace("[", r"\["), *_cells(name, cell), METRICS[name].better)
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
    from segue.lab.report.html import write_page

    summary, records = summarise_run(trace), episode_records(trace)
    robot, created = trace.header["robot"], str(trace.header.get("created", ""))
    facts = [f"robot {robot['name']}", f"{1 / robot['dt']:.3g} Hz control", f"{summary.seconds:.1f} s"]
    theirs = scale_of(trace, [])[1]
    return write_page(
        path,
        "trace.html.j2",
        title=title,
        facts=[*facts, f"{len(trace.chunks):,} chunks", created[:10]],
        findings=summary.findings(),
        rows=summary.rows(),
        rungs=summary.rungs[:RUNGS],
        more_rungs=max(len(summary.rungs) - RUNGS, 0),
        measures=[_measure(name, cell) for name, cell in measures_of(records).items()],
        scale_note="std is the standard deviation of the "
        + ("demonstrations' actions." if theirs else "run's own commands: not to be compared with other runs."),
        provenance=[
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in trace.header.items()
        ],
        **_punctuality(summary),
        **_worst_seam(records),
    )


def _cells(name: str, cell: tuple[float, float, float]) -> tuple[str, str]:
    return shown(Interval(*cell, 1, 1), name)


def _measure(name: str, cell: tuple[float, float, float]) -> dict[str, str]:
    value, ends = _cells(name, cell)
    return {**explained(name), "unit": unit(name), "value": value, "range": ends}


def _punctuality(summary: RunSummary) -> dict[str, Any]:
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
    return {"histograms": histograms, "lines": lines}


def _worst_seam(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Actions around the worst seam of the run, a close-up of it, and the power spectrum of its episode."""
    from segue.lab.report import executed, figures

    record = max(records, key=lambda record: worst_seam(record)[0], default=None)
    if record is None or not (step := worst_seam(record)[1]):
        return {"executed": [], "executed_note": ""}
    spec, dt, looks = record.spec, record.spec.dt, figures.looks([LOOK])
    first, last = max(step - WINDOW, 0), min(step + WINDOW, len(record.commands))
    seams = [seam.step - first for seam in record.seams if first <= seam.step < last]
    around = {LOOK: executed.Executed(spec.kinds.continuous(record.commands)[first:last], seams, step - first)}
    size, names = around[LOOK].steps(record.scale), spec.action_names
    frequency, density = power_spectrum(commanded_path(record.commands, record.scale, spec), dt)
    curve = figures.Curve(looks[LOOK], frequency[1:], density[1:])
    note = (
        f"Around the worst seam of the run, {first * dt:.2f} to {last * dt:.2f} s of its episode. Vertical lines: a "
        "new chunk takes over. Close-up: hollow before the seam, filled from the new chunk's first action on."
    )
    drawings = [
        *executed.panels(around, size, looks=looks, names=names, dt=dt).values(),
        *executed.close_ups(around, record.scale, looks=looks, names=names, y_label="[std]").values(),
        figures.spectrum([curve], None, title="Velocity of the commanded path", y_label="[(std/s)²/Hz]"),
    ]
    return {"executed": drawings, "executed_note": note}
