"""The tables of a comparison's page: who wins where, the main one, and every measure in full."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from segue.core.metrics import METRICS
from segue.lab.report.table import HEADLINE, Summary, cell_shown, shown, unit
from segue.lab.report.verdict import among, duels
from segue.lab.results import MethodFacts
from segue.lab.statistics import Interval

MAIN = ("success", "completion_time", "jerk_measured", "seam_jump")
SHORT = {"completion_time": "Time", "jerk_measured": "Jerk", "seam_jump": "Jump"}


def explained(name: str) -> dict[str, str]:
    """A metric, for people."""
    better = METRICS[name].better
    direction = "reported only" if better == "none" else f"{better} is better"
    return {**asdict(METRICS[name]), "unit": unit(name) or "no unit", "direction": direction}


def tables(summary: Summary, methods: Mapping[str, MethodFacts]) -> dict[str, Any]:
    """All of them, as the template takes them."""
    relative = {name for name in MAIN if name.startswith("jerk") and summary.demonstrations.get(name, 0) > 0}
    metrics = [name for name in MAIN if name in summary.metrics]
    heads = [(SHORT.get(name, METRICS[name].label), "× demos" if name in relative else unit(name)) for name in metrics]
    rows = [
        (method, [_cell(summary, name, at, metric, metric in relative) for at in summary.delays for metric in metrics])
        for name, method in methods.items()
    ]
    note = "Jerk is measured jerk as a multiple of the demonstrations'; 1 is as smooth as they are." if relative else ""
    return {
        "winners": [_winners(summary, methods, name) for name in HEADLINE if name in summary.metrics],
        "duels": duels(summary),
        "hero": summary.labels.get(summary.default or "", ""),
        "main_metrics": heads,
        "main_rows": rows,
        "ratio_note": note,
        "full": [_full(summary, methods, name) for name in summary.metrics],
    }


def _cell(summary: Summary, name: str, delay: int, metric: str, relative: bool, *below: str) -> dict[str, Any]:
    """How the cell is marked, its mean, and what stands below it: its interval, or why there is none."""
    mean, between = cell_shown(summary, name, delay, metric, relative=relative)
    if not summary.measured(name, delay, metric):
        between = between or ("undefined" if (name, delay, metric) in summary.samples else "not measured")
    tied = "tied" if summary.among_best(name, delay, metric) else ""
    mark = "best" if name == summary.best(delay, metric) else tied
    return {"mark": mark, "mean": mean, "below": [each for each in (between, *below) if each]}


def _winners(summary: Summary, methods: Mapping[str, MethodFacts], metric: str) -> dict[str, Any]:
    return {"metric": explained(metric), "cells": [winner(summary, methods, at, metric) for at in summary.delays]}


def winner(summary: Summary, methods: Mapping[str, MethodFacts], delay: int, metric: str) -> dict[str, Any] | None:
    """The method with the best mean, that mean, and whether it is clearly better than all others; None without one."""
    standing = summary.standing(delay, metric)
    if standing is None:
        return None
    value, _ = shown(summary.interval(standing.best, delay, metric), metric)
    others = len(summary.ranked(delay, metric)) - 1
    rivals = among([summary.labels[name] for name in standing.rivals], others)
    remark = f"not clearly better than {rivals}" if standing.rivals else "clearly" if others else "measured alone"
    return {
        "method": methods[standing.best],
        "label": summary.labels[standing.best],
        "clearly": remark == "clearly",
        "value": f"{value} {unit(metric)}".strip(),
        "remark": remark,
    }


def _full(summary: Summary, methods: Mapping[str, MethodFacts], metric: str) -> dict[str, Any]:
    def cell(name: str, delay: int) -> dict[str, Any]:
        times, _ = shown(summary.ratio(name, delay, metric))
        return _cell(summary, name, delay, metric, False, "" if times == "–" else f"× {times} of demonstrations")

    own = summary.demonstrations.get(metric)
    return {
        "metric": explained(metric),
        "demonstrations": "" if own is None else shown(Interval(own, own, own, 1, 1), metric)[0],
        "rows": [(method, [cell(name, delay) for delay in summary.delays]) for name, method in methods.items()],
    }
