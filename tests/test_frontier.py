"""The default method against the frontier of the others."""

from segue.evaluation.frontier import TRADE, frontier_lines
from segue.evaluation.table import Summary, summarise


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


def test_a_trade_is_outside_of_the_frontier() -> None:
    (line,) = frontier_lines(summary({"ours": BASE, "smooth": (0.0, 3.0, 5.0, 0.05, 0.5)}, "ours"))
    assert line == "delay 4: ours is outside of the frontier of the others; best mean in success, completion time."


def test_a_method_behind_in_everything_is_said_to_be() -> None:
    (line,) = frontier_lines(summary({"ours": (0.0, 3.0, 11.0, 0.2, 2.0), "other": BASE}, "ours"))
    assert line == "delay 4: ours is no better than other in any measure; best mean in none."


def test_dominated_methods_are_named() -> None:
    (line,) = frontier_lines(summary({"ours": BASE, "worse": (1.0, 2.0, 10.0, 0.1, 2.0)}, "ours"))
    assert line.endswith("nowhere worse than worse, and better somewhere.")


def test_nothing_is_said_without_a_default() -> None:
    assert frontier_lines(summary({"one": BASE, "two": BASE}, None)) == []


def test_one_method_alone_has_no_frontier_to_stand_against() -> None:
    assert frontier_lines(summary({"ours": BASE}, "ours")) == []
