"""Where the default method stands against the frontier of all others, on the five measures of the trade.

A method lies outside of the frontier of the others when none of them is at least as good in every measure and better in
one. Means are compared here; whether a difference is more than chance, the intervals say.
"""

import numpy as np

from segue.core.metrics import METRICS
from segue.lab.report.table import Summary
from segue.lab.statistics import Better, dominates

TRADE = ("success", "completion_time", "jerk_measured", "seam_jump", "mode_switches")
"""What continuation trades against each other."""


def frontier_lines(summary: Summary) -> list[str]:
    """One sentence per delay about the default method; none without a default, or without others to stand against."""
    hero = summary.default
    if hero is None or len(summary.labels) < 2:
        return []
    return [_line(summary, hero, delay) for delay in summary.delays]


def dominating(summary: Summary, method: str, delay: int) -> list[str]:
    """The methods that are at least as good in every measure that this one has, and better in one."""
    points, better = _trade(summary, method, delay)
    return [name for name in points if name != method and dominates(points[name], points[method], better)]


def _trade(summary: Summary, method: str, delay: int) -> tuple[dict[str, np.ndarray], list[Better]]:
    """Means of all methods in the measures that this one has, and the direction of each."""
    metrics = [metric for metric in TRADE if summary.measured(method, delay, metric)]
    better: list[Better] = ["higher" if METRICS[metric].better == "higher" else "lower" for metric in metrics]
    return {
        name: np.array([summary.interval(name, delay, metric).value for metric in metrics]) for name in summary.labels
    }, better


def _line(summary: Summary, hero: str, delay: int) -> str:
    points, better = _trade(summary, hero, delay)
    label = summary.labels[hero]
    above = [summary.labels[name] for name in dominating(summary, hero, delay)]
    below = [summary.labels[name] for name in points if name != hero and dominates(points[hero], points[name], better)]
    best = [METRICS[metric].label.lower() for metric in TRADE if summary.best(delay, metric) == hero]
    place = f"no better than {', '.join(above)} in any measure" if above else "outside of the frontier of the others"
    parts = [f"delay {delay}: {label} is {place}"]
    parts.append(f"best mean in {', '.join(best)}" if best else "best mean in none")
    if below:
        parts.append(f"nowhere worse than {', '.join(below)}, and better somewhere")
    return "; ".join(parts) + "."
