"""Comparisons that were made up."""

from collections.abc import Mapping
from typing import Any

import msgspec

from segue.lab.report.frontier import TRADE
from segue.lab.report.table import Summary, summarise
from segue.lab.results import Results

TASK = {
    "name": "reach", "summary": "", "dt": 0.05, "max_steps": 100, "horizon": 24, "action_names": ["x"],
    "command": "position",
}  # fmt: skip


def decoded(content: Mapping[str, Any]) -> Results:
    """The content of a results file, as it is read."""
    return msgspec.convert(content, Results)


def cell(name: str, delay: int, columns: Mapping[str, Any], training_seed: int = 0, first_seed: int = 0) -> Any:
    """A cell of a results file, with seeds in a row."""
    seeds = range(first_seed, first_seed + len(next(iter(columns.values()))))
    return {
        "method": name, "delay": delay, "training_seed": training_seed, "horizon": 24,
        "execution_horizon": max(8, delay), "episodes": {"seed": [*seeds], **columns},
    }  # fmt: skip


def comparison(labels: Mapping[str, str], cells: list[Any], *, default: str | None = None, **parts: Any) -> Any:
    """The content of a results file."""
    methods = [{"name": name, "label": label, "default": name == default} for name, label in labels.items()]
    return {"schema": 1, "title": "A comparison", "task": TASK, "methods": methods, "cells": cells, **parts}


def summary(values: dict[str, tuple[float, ...]], default: str | None) -> Summary:
    """Of the measures of `TRADE`, the same in every episode."""
    cells = [
        cell(name, 4, {metric: [value] * 20 for metric, value in zip(TRADE, row, strict=True)})
        for name, row in values.items()
    ]
    return summarise(decoded(comparison({name: name for name in values}, cells, default=default)))


BASE = (1.0, 2.0, 10.0, 0.1, 1.0)
