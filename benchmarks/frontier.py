"""Draw the frontier of success, completion time and smoothness of each task into docs/pictures/frontier-*.svg.

    python benchmarks/frontier.py [--results results] [--out docs/pictures]

A method whose rows differ in one number is a curve over it, with the number at each point; any other is a point. The
frontier are the methods that none other is at least as good as in all three and better in one; the others are pale.
frontier-TASK.svg is of results/TASK/results.json, a column per delay; frontier-knobs.svg of results/tuning, where more
values were tried on fewer episodes and other seeds, a column per task at a delay of 8 steps.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from choice import TASKS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from rich.console import Console

from segue.core.metrics import METRICS, mean_of_defined
from segue.lab import results
from segue.lab.report.figures import looks
from segue.lab.statistics import pareto_front
from segue.methods.methods import method

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segue",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
}
KNOBS, TUNED_AT = "tuning", 8
Points = Mapping[str, tuple[float, float, float]]
"""Of each method, means of success (on Push-T the score), completion time [s] and measured jerk."""


class Curve(NamedTuple):
    """Methods that differ in one number, in its order; of a method alone, no knob."""

    label: str
    knob: str
    values: tuple[float, ...]
    names: tuple[str, ...]


def curves(names: Iterable[str]) -> list[Curve]:
    """Every curve, and every method that lies on none."""
    found, left = dict[Any, dict[float, str]](), dict.fromkeys(names)
    for name in left:
        settings = {**method(name).settings, "base": name.split(":")[0]}
        settings.pop("noise")  # fresh noise carries a share of 0, and the share says the rest
        for knob, value in settings.items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                rest = tuple((key, str(other)) for key, other in settings.items() if key != knob)
                found.setdefault((knob, rest), {}).setdefault(float(value), name)
    lines = [(knob, *zip(*sorted(at.items()), strict=True)) for (knob, _), at in found.items() if len(at) > 1]
    drawn = [Curve(_label(on_it, knob), knob, values, on_it) for knob, values, on_it in lines]
    alone = [name for name in left if not any(name in curve.names for curve in drawn)]
    return [*drawn, *(Curve(method(name).label, "", (), (name,)) for name in alone)]


def _label(names: Iterable[str], knob: str) -> str:
    """What the methods of a curve have in common, in words."""
    gone = ("share=", "noise=") if knob == "share" else (f"{knob}=",)
    common = (":".join(part for part in name.split(":") if not part.startswith(gone)) for name in names)
    return method(min(common, key=len)).label


def frontier(points: Points) -> set[str]:
    """The methods that none other dominates."""
    front = pareto_front(np.array(list(points.values())), ("higher", "lower", "lower"))
    return {name for name, on_it in zip(points, front, strict=True) if on_it}


def measured(cells: Iterable[results.CellResult], delay: int, success: str) -> Points:
    """What a comparison says at a delay; methods without all three are left out."""
    values = dict[str, list[list[float]]]()
    for cell in cells:
        if cell.delay == delay:
            means = [mean_of_defined(cell.values(metric)) for metric in (success, "completion_time", "jerk_measured")]
            values.setdefault(cell.method, []).append(means)
    return {name: tuple(mean) for name, rows in values.items() if np.isfinite(mean := np.mean(rows, axis=0)).all()}


def draw(columns: Mapping[str, tuple[str, Points]]) -> Figure:
    """A column of two panels for each title: what is measured as success there, over jerk and over completion time."""
    every = curves(dict.fromkeys(name for _, points in columns.values() for name in points))
    of_curves = dict(zip(every, looks([f"{curve.label} {curve.knob}" for curve in every]).values(), strict=True))
    figure = Figure(figsize=(2.4 * len(columns), 4.4 + 0.17 * (len(every) // 2 + 1)), layout="constrained")
    panels = figure.subplots(2, len(columns), squeeze=False, sharey="col")
    for place, (title, (success, points)) in enumerate(columns.items()):
        for axes, metric, number in zip(panels[:, place], ("jerk_measured", "completion_time"), (2, 1), strict=True):
            _panel(axes, points, of_curves, number)
            axes.set_xlabel(f"{METRICS[metric].label.lower()} [{METRICS[metric].unit}]")
            axes.set_ylabel(METRICS[success].label.lower())
        panels[0, place].set(title=title, xscale="log")
        jerk = panels[0, place].xaxis
        jerk.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=ScalarFormatter())
        jerk.set_minor_formatter(NullFormatter())
    handles = [Line2D([], [], color=look.colour, marker=look.marker, ms=4, lw=1.2) for look in of_curves.values()]
    said = [f"{curve.label}: {curve.knob.replace('_', ' ')}" if curve.knob else curve.label for curve in every]
    figure.legend(handles, said, loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    return figure


def _panel(axes: Axes, points: Points, of_curves: Mapping[Curve, Any], number: int) -> None:
    front = frontier(points)
    for curve, look in of_curves.items():
        if not (names := [name for name in curve.names if name in points]):
            continue
        xs, ys = [points[name][number] for name in names], [points[name][0] for name in names]
        axes.plot(xs, ys, color=look.colour, lw=1, alpha=0.6)
        on_it = [name in front for name in names]
        shown: dict[str, Any] = {"marker": look.marker, "color": look.colour, "edgecolors": "black"}
        shown |= {"alpha": [1 if on else 0.35 for on in on_it], "linewidths": [0.7 * on for on in on_it]}
        axes.scatter(xs, ys, 25, **shown)
        for name, x, y in zip(names, xs, ys, strict=True):
            if curve.knob:
                value = f"{curve.values[curve.names.index(name)]:g}"
                axes.annotate(value, (x, y), (3, 3), textcoords="offset points", fontsize=6, color=look.colour)


def pictures(folder: Path) -> dict[str, Figure]:
    """One for each task that has results, and one of the tuning."""
    drawn, tuned = dict[str, Figure](), dict[str, tuple[str, Points]]()
    for task in TASKS:
        success = "score" if task == "push-t" else "success"
        if (path := folder / task / "results.json").is_file():
            content = results.read(path)
            delays = sorted({cell.delay for cell in content.cells})
            titles = {f"delay {delay} ({1000 * delay * content.task.dt:.0f} ms)": delay for delay in delays}
            columns = {title: (success, measured(content.cells, delay, success)) for title, delay in titles.items()}
            drawn[task.rpartition("/")[2]] = draw(columns)
        if (path := folder / KNOBS / f"{task.replace('/', '-')}.json").is_file():
            rows = {name: settings.get(f"{task} {TUNED_AT}") for name, settings in json.loads(path.read_text()).items()}
            wanted = (success, "completion_time", "jerk_measured")
            means = {name: tuple(row[metric] for metric in wanted) for name, row in rows.items() if row}
            tuned[f"{task.rpartition('/')[2]}, delay {TUNED_AT}"] = (success, means)
    return {**drawn, "knobs": draw(tuned)} if tuned else drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    chosen = parser.parse_args()
    console = Console(highlight=False)
    with mpl.rc_context(STYLE):
        for name, figure in pictures(chosen.results).items():
            path = chosen.out / f"frontier-{name}.svg"
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            console.print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
