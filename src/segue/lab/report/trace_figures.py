"""Drawings of a recorded run, in the look of `segue.lab.report.figures`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segue.core.smoothness import Array
from segue.errors import MissingExtraError
from segue.lab.report.figures import COLOURS, MUTED, STYLE, Svg, as_svg, panel

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise MissingExtraError("matplotlib", "report", "drawing the report") from error

BINS = 40
POINTS = 500
"""Bins of a line over the whole run: each shows its largest value."""


def _wide(height: float) -> tuple[Figure, Axes]:
    """One pair of axes as wide as two panels, with room for words on the left. Height in inches."""
    figure = Figure(figsize=(8.4, height))
    return figure, figure.add_axes((0.1, 0.45 / height, 0.89, 1 - 0.75 / height))


def histogram(seconds: Array, *, title: str, x_label: str) -> Svg:
    """How often each time occurred, counts logarithmic: the tail is what matters. Times in seconds, shown in ms."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.2, 2.8)
        values = 1e3 * seconds
        axes.hist(values, bins=BINS, color=COLOURS[0], log=True)
        for share, style in ((0.5, (0, (1, 2))), (0.99, (0, (4, 3)))):
            axes.axvline(float(np.quantile(values, share)), color=MUTED, linestyle=style, linewidth=1.2)
        axes.set(title=title, xlabel=x_label, ylabel="count", axisbelow=True)
        axes.set_ylim(bottom=0.7)  # a bar of one is seen, and there is a decade to label
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        return as_svg(figure, f"histogram-{title}", f"Histogram: {title}")


def steps(counts: NDArray[np.int64], planned: NDArray[np.int64], *, title: str) -> Svg:
    """How often each delay occurred, and, as outlines, how often it was planned for [steps]."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.2, 2.8)
        places = np.arange(int(max(counts.max(initial=0), planned.max(initial=0))) + 1)
        axes.bar(places, np.bincount(counts, minlength=len(places)), color=COLOURS[0])
        outline = np.bincount(planned, minlength=len(places))
        axes.bar(places, outline, facecolor="none", edgecolor=MUTED, linewidth=1.2)
        axes.set(title=title, xlabel="delay [steps]", ylabel="chunks", axisbelow=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return as_svg(figure, f"steps-{title}", f"Histogram: {title}")


def over_time(time: Array, values: Array, *, title: str, y_label: str) -> Svg:
    """The largest value of each moment of a run. Shapes (ticks,), time in seconds."""
    with mpl.rc_context(STYLE):
        figure, axes = _wide(2.4)
        starts = np.unique(np.linspace(0, len(time), min(POINTS, len(time)), endpoint=False).astype(int))
        axes.plot(time[starts], np.maximum.reduceat(values, starts), color=COLOURS[0], linewidth=1)
        axes.set(title=title, xlabel="time [s]", ylabel=y_label)
        axes.margins(x=0.01)
        return as_svg(figure, f"over-time-{title}", f"{title} over time")


def timeline(time: Array, codes: NDArray[np.integer], names: Sequence[str], *, title: str) -> Svg:
    """Which state held when, one row per state. Shapes (ticks,), time in seconds."""
    with mpl.rc_context(STYLE):
        figure, axes = _wide(0.95 + 0.28 * len(names))
        edges = np.flatnonzero(np.diff(codes.astype(int))) + 1
        starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(codes) - 1]])
        for code in range(len(names)):
            here = codes[starts] == code
            spans = [(float(time[a]), float(time[b] - time[a])) for a, b in zip(starts[here], ends[here], strict=True)]
            axes.broken_barh(spans, (code - 0.35, 0.7), color=COLOURS[code % len(COLOURS)], linewidth=0.6)
        axes.set(title=title, xlabel="time [s]", yticks=range(len(names)), yticklabels=names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.01)
        axes.grid(visible=False)
        return as_svg(figure, f"timeline-{title}", f"{title} over time")
