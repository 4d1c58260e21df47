"""The report's drawings, each one small panel as an SVG element.

A panel is small so that a page can put one or four beside each other. Lines, points and the methods' colours are
drawn here; ink, grid and background follow the page's colour scheme: the SVG refers to ``currentColor``,
``--muted`` and ``--rule``. Legends are the page's, once for all panels.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.smoothness import power_spectrum
from segue.errors import MissingExtraError
from segue.lab.statistics import Interval

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator
except ImportError as error:
    raise MissingExtraError("matplotlib", "report", "drawing the report") from error

Array = NDArray[np.floating]

# Colours that no panel uses otherwise; `as_svg` exchanges them for the page's own.
INK, MUTED, RULE = "#010203", "#040506", "#070809"
PAGE = {INK: "currentColor", MUTED: "var(--muted)", RULE: "var(--rule)"}

# Okabe and Ito's colour-blind-safe set without black and yellow (no contrast on a dark or a white page), plus grey
# and wine (Tol). With more methods than colours, the marker tells two apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888", "#AA4466")
MARKERS = ("o", "X", "D", "^", "P", "v", "s", "*", "<", ">", "h", "d")
KNOWN = (
    *("predictive", "naive", "rtc", "training-time-rtc", "rtc-identity", "blend", "sync", "ensembling"),
    *("literal-legato", "naive-restart", "reuse-then-refine", "legato-free", "cross-fade", "bid", "vlash", "legato"),
)
"""Methods whose look never changes: the n-th has the n-th colour and the n-th marker, both counted around, so that
relatives share a colour."""

BINS = 48
"""Frequencies of an averaged power spectrum."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.formatter.limits": (-3, 5),
    "path.simplify_threshold": 0.3,
}


class Svg(str):
    """An SVG element, which a page takes as it is."""

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Look:
    """How one method is drawn, in every panel of every report."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Point:
    """A value with its interval on each of two axes."""

    look: Look
    x: Interval
    y: Interval
    outlined: bool


@dataclass(frozen=True, eq=False)
class Curve:
    """A line, with a band where ``low`` and ``high`` are given. All of shape (points,)."""

    look: Look
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None


def looks(names: Sequence[str]) -> dict[str, Look]:
    """One look per method. Known names keep theirs; the others get, in order, free ones of rarely used colours.

    There are 96; methods beyond them share one.
    """
    # Counted around, colours and markers meet again after 24: each further round starts one marker on.
    count = len(COLOURS) * len(MARKERS)
    every = [Look(COLOURS[i % len(COLOURS)], MARKERS[(i + i // 24) % len(MARKERS)]) for i in range(count)]
    taken = {name: every[KNOWN.index(name)] for name in names if name in KNOWN}
    for name in names:
        if name not in taken:
            used = [look.colour for look in taken.values()]
            free = [look for look in every if look not in taken.values()] or every
            taken[name] = min(free, key=lambda look, used=used: used.count(look.colour))
    return {name: taken[name] for name in names}


def swatch(look: Look) -> Svg:
    """The method's marker on a short line, for legends and table rows. SVG, 26 x 12 units."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(26 / 72, 12 / 72))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.plot([0, 1], [0, 0], color=look.colour)
        axes.plot([0.5], [0], color=look.colour, marker=look.marker, markersize=6.5, linestyle="none")
        axes.set(xlim=(0, 1), ylim=(-1, 1))
        return as_svg(figure, f"swatch-{look.colour}-{look.marker}", "")


def frontier(points: Sequence[Point], *, title: str, x_label: str, y_label: str, limits: Sequence[float]) -> Svg:
    """One delay's trade: a point per method with both intervals, the non-dominated ones outlined.

    The horizontal axis is logarithmic when the methods are more than ten times apart.

    Args:
        points: One per method.
        title: Above the panel.
        x_label: Name and unit; smaller is better.
        y_label: Name and unit.
        limits: x left, x right, y bottom, y top, shared by the panels of all delays; bottom above top turns an axis
            on which lower is better over, so that better is always up.
    """
    with mpl.rc_context(STYLE):
        figure, axes = panel(3.3, 2.7)
        for point in points:
            x, y, colour = point.x.value, point.y.value, point.look.colour
            axes.hlines(y, point.x.low, point.x.high, color=colour, linewidth=1, alpha=0.6)
            axes.vlines(x, point.y.low, point.y.high, color=colour, linewidth=1, alpha=0.6)
            if point.outlined:
                axes.plot([x], [y], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK, zorder=4)
            axes.plot([x], [y], point.look.marker, color=colour, markersize=7, zorder=5)
        if limits[0] > 0 and limits[1] > 10 * limits[0]:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xlim=limits[:2], ylim=limits[2:])
        return as_svg(figure, f"frontier-{y_label}-{title}", f"{y_label} against {x_label}, {title}")


def curves(
    lines: Sequence[Curve], *, title: str, y_label: str, reference: float | None = None, unit_interval: bool = False
) -> Svg:
    """A metric against the inference delay, with its interval as a band.

    Args:
        lines: One per method.
        title: Above the panel.
        y_label: Name and unit.
        reference: The demonstrations' own value, a dashed line.
        unit_interval: The metric is a share: the axis is [0, 1].
    """
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.2, 2.8)
        alpha = min(0.13, 0.6 / max(len(lines), 1))
        for line in lines:
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=line.look.colour, alpha=alpha, linewidth=0)
            axes.plot(line.x, line.y, color=line.look.colour, marker=line.look.marker)
        if reference is not None:
            axes.axhline(reference, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        if unit_interval:
            axes.set_ylim(-0.03, 1.03)
        else:
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set(title=title, xlabel="inference delay [steps]", ylabel=y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        return as_svg(figure, f"curves-{title}", f"{title} against inference delay")


def completion(lines: Sequence[Curve], *, title: str, end: float) -> Svg:
    """The share of all episodes that had succeeded by each moment; failures never join. Time in seconds."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(3.3, 2.4)
        for line in lines:
            x = np.concatenate([[0.0], line.x, [end]])
            y = np.concatenate([[0.0], line.y, line.y[-1:] if len(line.y) else [0.0]])
            axes.plot(x, y, color=line.look.colour, drawstyle="steps-post")
            axes.plot(x[-1:], y[-1:], color=line.look.colour, marker=line.look.marker, linestyle="none", clip_on=False)
        axes.set(title=title, xlabel="time [s]", ylabel="succeeded by then", xlim=(0, end), ylim=(0, 1.02))
        return as_svg(figure, f"completion-{title}", f"Completion times, {title}")


def spectrum(lines: Sequence[Curve], reference: tuple[Array, Array] | None, *, title: str, y_label: str) -> Svg:
    """Power against frequency in Hz, logarithmic; the demonstrations dashed."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.6, 3.0)
        for line in lines:
            axes.plot(line.x, line.y, color=line.look.colour)
            every = max(1, len(line.x) // 8)
            axes.plot(line.x[::every], line.y[::every], color=line.look.colour, marker=line.look.marker, linestyle="")
        if reference is not None:
            axes.plot(*reference, color=INK, linestyle=(0, (4, 3)), linewidth=1.4)
        axes.set(title=title, xlabel="frequency [Hz]", ylabel=y_label, yscale="log")
        axes.margins(x=0.01)
        return as_svg(figure, f"spectrum-{title}", f"Power spectrum, {title}")


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """One pair of axes with fixed margins, so that panels beside each other align. Sizes in inches."""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes((0.6 / width, 0.45 / height, 1 - 0.72 / width, 1 - 0.75 / height))


def as_svg(figure: Figure, name: str, description: str) -> Svg:
    """The figure as an SVG element that scales with its container.

    The name salts the ids of clips and markers: panels share one page, and equal ids would cross-refer.
    """
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    width, height = (float(value) for value in re.findall(r'\b(?:width|height)="([\d.]+)pt"', svg)[:2])
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(?!m[0-9a-f]{10}|p[0-9a-f]{10}|[A-Za-z]*[0-9a-f]{10})[^"]*"', "", svg)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\n\s*", "\n", svg)
    for sentinel, page in PAGE.items():
        svg = svg.replace(sentinel, page)
    escaped = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    label = f'role="img" aria-label="{escaped}"' if description else 'aria-hidden="true"'
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{min(width * 2, 860):g}px" {label}>'
    return Svg(opening + svg[svg.index(">") + 1 :])


def mean_spectrum(paths: Sequence[Array], dt: float) -> tuple[Array, Array]:
    """`power_spectrum` averaged over episodes of different length, in equal bins of frequency.

    Args:
        paths: Each of shape (steps, dimension), normalised.
        dt: Control period [s].

    Returns:
        Frequencies [Hz] and densities [(1 / s)^2 / Hz], without the bins that no episode reaches and without the
        lowest, which holds the mean.
    """
    edges = np.linspace(0, 0.5 / dt, BINS + 1)
    total, count = np.zeros(BINS), np.zeros(BINS)
    for path in paths:
        frequency, density = power_spectrum(path, dt)
        place = np.clip(np.digitize(frequency, edges) - 1, 0, BINS - 1)
        total += np.bincount(place, weights=density, minlength=BINS)
        count += np.bincount(place, minlength=BINS)
    used = count > 0
    used[0] = False
    return ((edges[:-1] + edges[1:]) / 2)[used], total[used] / count[used]
