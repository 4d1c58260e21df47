"""One page that shows a comparison: a self-contained HTML file, with every episode as CSV beside it."""

import base64
import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.metrics import METRICS
from segue.core.smoothness import normalised
from segue.errors import MissingExtraError
from segue.lab.report import figures, tables
from segue.lab.report.figures import DEMONSTRATIONS, Curve, Look, Point, Trace
from segue.lab.report.table import (
    Summary,
    episode_rows,
    facts,
    head,
    provenance,
    summarise,
    unit,
)
from segue.lab.report.verdict import PLAIN, headline, verdict
from segue.lab.statistics import CONFIDENCE, pareto_front

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise MissingExtraError("jinja2", "report", "writing the report") from error

Array = NDArray[np.floating]

AT_FIRST = ("success", "mode_switches", "seam_jump")
AGAINST_DELAY = ("success", "completion_time", "jerk_measured", "seam_jump", "mode_switches", "hesitation")
ROWS = 3  # action dimensions in the panels of executed actions: more do not fit a screen


def write_report(results: Mapping[str, Any], path: Path, videos: Mapping[str, Path | bytes] | None = None) -> Path:
    """Write the page, and ``results.csv`` beside it.

    Args:
        results: The parsed results, schema 1.
        path: The HTML file; its folder is made if it does not exist.
        videos: Title to animated WebP, as a file or as bytes; they become part of the page.

    Returns:
        ``path``.

    Raises:
        DataError: Results of another schema, or without cells.
    """
    text, rows = render(results, videos or {}), list(episode_rows(results))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name("results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    path.write_text(text, encoding="utf-8")
    return path


def render(results: Mapping[str, Any], videos: Mapping[str, Path | bytes]) -> str:
    """The page as text. See `write_report`."""
    summary = summarise(results)
    looks = figures.looks(list(summary.labels))
    methods = {method["name"]: _method(method, f"look-{index}") for index, method in enumerate(results["methods"])}
    environment = Environment(
        loader=PackageLoader("segue.lab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    dt, said = results["task"]["dt"], headline(summary)
    return environment.get_template("report.html.j2").render(
        title=results["title"],
        facts=facts(results, summary),
        headline=said,
        difference=_difference(summary, looks) if said else [],
        verdict=verdict(summary),
        level=f"{CONFIDENCE:.0%}".replace("%", " %"),
        delays=summary.delays,
        milliseconds={delay: f"{1000 * delay * dt:.0f} ms" for delay in summary.delays},
        methods=list(methods.values()),
        symbols=[Markup(figures.swatch(looks[name])) for name in methods],
        **tables.tables(summary, methods),
        **_delay_figures(results, summary, looks),
        **_trace_figures(results, methods, looks),
        videos=[{"title": title, "source": _embedded(video)} for title, video in videos.items()],
        provenance=provenance(results, summary),
        metrics=[tables.explained(name) for name in summary.metrics],
    )


def _method(method: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    settings = ", ".join(f"{name} = {value}" for name, value in method.get("settings", {}).items())
    return {
        "name": method["name"],
        "label": method["label"],
        "default": bool(method.get("default")),
        "plain": method["name"] == PLAIN,
        "policy": method.get("policy", ""),
        "settings": settings or "none",
        "citation": method.get("citation") or "–",
        "swatch": Markup(f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true"><use href="#{symbol}"/></svg>'),
    }


def _delay_figures(results: Mapping[str, Any], summary: Summary, looks: Mapping[str, Look]) -> dict[str, Any]:
    trades = [name for name in ("success", "completion_time") if {name, "jerk_measured"} <= set(summary.metrics)]
    end = results["task"]["max_steps"] * results["task"]["dt"]
    return {
        "frontier": [_frontiers(summary, looks, metric) for metric in trades],
        "curves": [
            _curve(summary, looks, metric, summary.labels, METRICS[metric].label)
            for metric in AGAINST_DELAY
            if metric in summary.metrics
        ],
        "completion": [_completion(summary, looks, delay, end) for delay in summary.delays],
    }


def _frontiers(summary: Summary, looks: Mapping[str, Look], metric: str) -> list[Markup]:
    """Success or completion time against measured jerk, one panel per delay, on common axes."""
    cells = {
        (name, delay): (summary.interval(name, delay, "jerk_measured"), summary.interval(name, delay, metric))
        for name in summary.labels
        for delay in summary.delays
    }
    cells = {key: pair for key, pair in cells.items() if not any(math.isnan(cell.value) for cell in pair)}
    if not cells:
        return []
    # One episode has a mean and no interval: the mean alone then says how far the axes go.
    reach = np.array([[(axis.low, axis.value, axis.high) for axis in pair] for pair in cells.values()])
    (left, bottom), (right, top) = np.nanmin(reach, axis=(0, 2)), np.nanmax(reach, axis=(0, 2))
    margin = max(0.08 * (top - bottom), 1e-3)
    limits = [left / 1.2, right * 1.2] if right > 10 * left > 0 else [0.0, right * 1.08]
    higher = METRICS[metric].better == "higher"
    limits += [bottom - margin, top + margin] if higher else [top + margin, bottom - margin]
    panels = []
    for delay in summary.delays:
        here = {name: pair for (name, at), pair in cells.items() if at == delay}
        values = np.array([[x.value, y.value] for x, y in here.values()]).reshape(-1, 2)
        front = pareto_front(values, ("lower", "higher" if higher else "lower"))
        points = [
            Point(looks[name], x, y, bool(outlined))
            for (name, (x, y)), outlined in zip(here.items(), front, strict=True)
        ]
        svg = figures.frontier(
            points,
            title=f"{METRICS[metric].label}, delay {delay}",
            x_label=head("jerk_measured"),
            y_label=head(metric),
            limits=limits,
        )
        panels.append(Markup(svg))
    return panels


def _difference(summary: Summary, looks: Mapping[str, Look]) -> list[Markup]:
    """The first picture, where there is a headline: what delay does to a policy alone, and under the default method."""
    assert summary.default is not None
    shown = [metric for metric in AT_FIRST if metric in summary.metrics]
    names = (PLAIN, summary.default)
    return [_curve(summary, looks, metric, names, f"{METRICS[metric].label} under delay") for metric in shown]


def _curve(summary: Summary, looks: Mapping[str, Look], metric: str, names: Iterable[str], title: str) -> Markup:
    """A metric of some methods against the delay."""
    lines = []
    for name in names:
        cells = {delay: summary.interval(name, delay, metric) for delay in summary.delays}
        delays = [delay for delay, cell in cells.items() if not math.isnan(cell.value)]
        values = np.array([[cells[d].value, cells[d].low, cells[d].high] for d in delays]).reshape(-1, 3)
        lines.append(Curve(looks[name], np.array(delays, float), *values.T))
    svg = figures.curves(
        lines,
        title=title,
        y_label=unit(metric) or ("share" if metric in ("success", "hesitation") else ""),
        reference=summary.demonstrations.get(metric),
        unit_interval=metric == "success",
    )
    return Markup(svg)


def _completion(summary: Summary, looks: Mapping[str, Look], delay: int, end: float) -> Markup:
    lines = []
    for name in summary.labels:
        success, time = (summary.samples.get((name, delay, metric)) for metric in ("success", "completion_time"))
        if success is not None and time is not None:
            done = np.sort(time.values[success.values == 1])
            lines.append(Curve(looks[name], done, np.arange(1, len(done) + 1) / len(success.values)))
    return Markup(figures.completion(lines, title=f"Delay {delay}", end=end))


def _trace_figures(
    results: Mapping[str, Any], methods: Mapping[str, dict[str, Any]], looks: Mapping[str, Look]
) -> dict[str, Any]:
    traces = figures.read_traces(results)
    policies = [trace for trace in traces if trace.method in methods]
    if not policies:
        return {"executed": [], "close_ups": [], "spectra": []}
    scale = np.concatenate([trace.commands for trace in policies]).std(axis=0)
    delay = max(trace.delay for trace in policies)
    here = [trace for trace in policies if trace.delay == delay]
    worst = {}
    for trace in here:
        if trace.method not in worst or trace.jump(scale) > worst[trace.method].jump(scale):
            worst[trace.method] = trace
    worst = {name: worst[name] for name in methods if name in worst and worst[name].worst is not None}
    return {
        **_executed(results, here, worst, scale, methods, looks),
        **_close_ups(results, worst, scale, methods, looks),
        **_spectra(results, traces, scale, looks),
    }


def _executed(
    results: Mapping[str, Any],
    here: Sequence[Trace],
    worst: Mapping[str, Trace],
    scale: Array,
    methods: Mapping[str, dict[str, Any]],
    looks: Mapping[str, Look],
) -> dict[str, Any]:
    """One episode that as many methods as possible have a trace of, in the dimensions with the largest steps."""
    seeds = sorted({trace.seed for trace in here})
    seed = max(seeds, key=lambda seed: len({trace.method for trace in here if trace.seed == seed}))
    episode = {trace.method: trace for trace in here if trace.seed == seed}
    size = np.max([trace.steps(scale) for trace in [*worst.values(), *episode.values()]], axis=0)
    rows = sorted(np.argsort(-size, kind="stable")[:ROWS].tolist())
    shared = figures.shared_limits([trace.commands[:, rows] for trace in episode.values()])
    task = results["task"]
    items = []
    for name in (name for name in methods if name in episode):
        trace = episode[name]
        svg = figures.executed(
            trace.commands[:, rows],
            trace.seams,
            trace.worst,
            look=looks[name],
            names=[task["action_names"][row] for row in rows],
            limits=shared,
            dt=task["dt"],
        )
        note = f"{len(trace.seams)} seams in {len(trace.commands) * task['dt']:.1f} s"
        items.append({"method": methods[name], "note": note, "svg": Markup(svg)})
    note = f"Delay {here[0].delay}, training seed {seed[0]}, episode seed {seed[1]}."
    if len(size) > len(rows):
        note += f" Of {len(size)} action dimensions, the {len(rows)} with the largest steps at worst seams."
    return {"executed": items, "executed_note": note}


def _close_ups(
    results: Mapping[str, Any],
    worst: Mapping[str, Trace],
    scale: Array,
    methods: Mapping[str, dict[str, Any]],
    looks: Mapping[str, Look],
) -> dict[str, Any]:
    """The worst seam of each method among its recorded episodes, in the dimension with the largest step there."""
    chosen = {name: (trace, int(np.argmax(trace.steps(scale)))) for name, trace in worst.items()}
    lines = {name: normalised(trace.commands, scale)[:, row] for name, (trace, row) in chosen.items()}
    around = {name: figures.around(lines[name], trace.worst or 0) for name, (trace, _) in chosen.items()}
    span = 1.15 * max((float(np.ptp(window)) for _, window in around.values()), default=1.0)
    items = [
        {
            "method": methods[name],
            "note": f"episode seed {trace.seed[1]}, jump {trace.jump(scale):.2f} std",
            "svg": Markup(
                figures.close_up(
                    *around[name],
                    look=looks[name],
                    title=results["task"]["action_names"][row],
                    span=span,
                    y_label="action [std]",
                )
            ),
        }
        for name, (trace, row) in chosen.items()
    ]
    note = "The largest jump among the recorded episodes at this delay, in units of the executed actions' deviation."
    return {"close_ups": items, "close_note": note}


def _spectra(
    results: Mapping[str, Any], traces: Sequence[Trace], scale: Array, looks: Mapping[str, Look]
) -> dict[str, Any]:
    """The commanded velocity's spectrum at the smallest and the largest recorded delay."""
    task = results["task"]
    paths = [(trace, trace.path(scale, task)) for trace in traces]
    own = [path for trace, path in paths if trace.method == DEMONSTRATIONS]
    reference = figures.mean_spectrum(own, task["dt"]) if own else None
    delays = sorted({trace.delay for trace in traces if trace.method in looks})
    panels = []
    for delay in sorted({delays[0], delays[-1]}):
        lines = []
        for name, look in looks.items():
            theirs = [path for trace, path in paths if (trace.method, trace.delay) == (name, delay)]
            if theirs:
                lines.append(Curve(look, *figures.mean_spectrum(theirs, task["dt"])))
        svg = figures.spectrum(lines, reference, title=f"Delay {delay}", y_label="power [(std/s)²/Hz]")
        panels.append(Markup(svg))
    note = "Power spectral density of the commanded velocity, mean over the recorded episodes, summed over dimensions."
    note += " Dashed: the demonstrations." if own else " No demonstration was recorded to compare with."
    return {"spectra": panels, "spectrum_note": note}


def _embedded(video: Path | bytes) -> str:
    data = video if isinstance(video, bytes) else video.read_bytes()
    return "data:image/webp;base64," + base64.b64encode(data).decode()
