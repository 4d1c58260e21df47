"""Rows of a comparison that were made up."""

from segue.lab.report.frontier import TRADE
from segue.lab.report.table import Summary, summarise


def summary(values: dict[str, tuple[float, ...]], default: str | None) -> Summary:
    episodes = 20
    return summarise(
        {
            "schema": 1,
            "title": "synthetic", "command": "", "created": "2026-01-01", "commit": "", "versions": {}, "machine": "",
            "task": {"name": "synthetic", "dt": 0.01, "max_steps": 10, "action_names": ["x"], "command": "position"},
            "demonstrations": {}, "budget": {}, "traces": [],
            "methods": [
                {"name": name, "label": name, "policy": "p", "settings": {}, "citation": "", "default": name == default}
                for name in values
            ],
            "cells": [
                {
                    "method": name, "delay": 4, "training_seed": 0, "execution_horizon": 8,
                    "episodes": {"seed": list(range(episodes))}
                    | {metric: [value] * episodes for metric, value in zip(TRADE, row, strict=True)},
                }
                for name, row in values.items()
            ],
        }
    )  # fmt: skip


BASE = (1.0, 2.0, 10.0, 0.1, 1.0)
