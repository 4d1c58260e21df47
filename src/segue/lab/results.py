"""Results of a comparison: everything that a reader needs to believe and repeat them, as JSON.

out/results.json    what was compared and how, and the measures of every episode
out/traces.json     the commands of an episode of each cell, which reports draw; bulky, and not needed for any number
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.errors import MarkupError

from segue.core import foreign
from segue.core.robot import RobotSpec
from segue.data.episodes import Episodes
from segue.errors import DataError
from segue.lab.scales import demonstration_metrics
from segue.lab.tasks.tasks import Task
from segue.methods.methods import Method

SCHEMA = 1
TRACES = "traces.json"
KEPT = ("seed", "success", "score", "completion_time", "overlap_rmse", "seam_jump", "jerk_measured", "mode_switches")
KEPT_IN_FULL = (*KEPT, "jerk_command_step", "stall_time")
"""Columns of episodes that the pages' tables are made of; in full, of those on seams and contact."""
DEMONSTRATIONS_SHOWN = 5
PACKAGES = (
    "segue",
    "torch",
    "numpy",
    "mujoco",
    "gymnasium",
    "gymnasium-robotics",
    "metaworld",
    "gym-pusht",
    "pymunk",
    "robosuite",
)


def build(
    task: Task,
    methods: Sequence[Method],
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    command: str,
    budget: Mapping[str, Any],
) -> dict[str, Any]:
    """Assemble the rows of `sweep.run_cells` with what they were made from.

    Only the first training seed's traces are kept, beside those of a few demonstrations.
    """
    spec, demonstrations = task.simulator().spec, task.demonstrations()
    first = min(row["training_seed"] for row in rows)
    return {
        "schema": SCHEMA,
        "title": title,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "task": {
            "name": task.name,
            "summary": task.summary,
            "dt": task.dt,
            "max_steps": task.max_steps,
            "horizon": rows[0]["horizon"],
            "action_names": list(spec.action_names),
            "command": spec.command,
            "action_kinds": list(spec.kinds.words),
            "pose_names": list(spec.pose_names),
        },
        "demonstrations": {
            name: value for name, value in demonstration_metrics(demonstrations, spec).items() if np.isfinite(value)
        },
        "budget": dict(budget),
        "methods": [method.description() for method in methods],
        "cells": [{key: value for key, value in row.items() if key != "trace"} for row in rows],
        "traces": [
            *(row["trace"] for row in rows if row["training_seed"] == first and "trace" in row),
            *(_demonstrated(demonstrations, spec, i) for i in range(min(DEMONSTRATIONS_SHOWN, len(demonstrations)))),
        ],
    }


def _demonstrated(demonstrations: Episodes, spec: RobotSpec, index: int) -> dict[str, Any]:
    """A demonstration as a trace, for the report to compare with."""
    commands = np.clip(demonstrations.episode(index).action, spec.action_low, spec.action_high)
    return {
        "method": "demonstrations",
        "delay": 0,
        "training_seed": 0,
        "seed": index,
        "commands": np.round(commands, 3).tolist(),
        "measured": [],
        "seams": [],
        "worst_seam": 0,
    }


def write(results: Mapping[str, Any], path: Path) -> Path:
    """Write results as JSON, one cell per line, so that versions of a file can be compared; traces beside them."""
    if "traces" in results:
        _write({"traces": results["traces"]}, path.with_name(TRACES))
    return _write({key: value for key, value in results.items() if key != "traces"}, path)


def _write(content: Mapping[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for key, value in content.items():
        if key in ("cells", "traces"):
            lines = ",\n".join(json.dumps(each, allow_nan=False, separators=(",", ":")) for each in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    aside = path.with_name(f".{path.name}.part")
    aside.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    aside.replace(path)
    return path


def read(path: Path) -> dict[str, Any]:
    """Read results.

    Raises:
        DataError: Missing, not JSON, or of another schema.
    """
    results = foreign.read_json(path)
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise DataError(
            got=f"{path} without schema {SCHEMA}",
            expected="a results file of this version of Segue",
            change="evaluate again, or use the version that wrote it",
        )
    traces = path.with_name(TRACES)
    if "traces" not in results and traces.exists():
        beside = foreign.read_json(traces)
        if not isinstance(beside, dict) or not isinstance(beside.get("traces"), list):
            raise DataError(f"{traces} without traces", "the file as it was written beside the results", "remove it")
        results["traces"] = beside["traces"]
    return results


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Raise `DataError` where a file says what it should, and holds something else."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MarkupError, TypeError, ValueError) as error:
        raise DataError(
            got=f"{path} with content of another form ({type(error).__name__}: {str(error)[:100]})",
            expected="a results file as `segue eval` or `segue bench` wrote it",
            change="evaluate again, or copy the file again",
        ) from error


def slim(content: Mapping[str, Any], kept: Sequence[str] = KEPT) -> dict[str, Any]:
    """The part of results that is kept with the source: the measures that pages show, four digits, no traces."""
    cells = [
        {
            **cell,
            "episodes": {
                name: [None if value is None else _short(value) for value in column]
                for name, column in cell["episodes"].items()
                if name in kept
            },
        }
        for cell in content["cells"]
    ]
    return {**{key: value for key, value in content.items() if key != "traces"}, "cells": cells}


def _short(value: float) -> float | int:
    """Four significant digits, whole numbers as they are."""
    return int(value) if value == int(value) else float(f"{value:.4g}")


def rows_of(path: Path, methods: Sequence[Method], asked: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows of an earlier results file that may stand beside new ones, by method; each says its commit.

    Args:
        path: Of the results; where there are none, there are no rows.
        methods: Wanted; one that the file has with other settings, or not in full, is left out.
        asked: ``task``, ``delays``, how they are ``drawn``, ``training_seeds``, ``episodes`` and ``updates``, which
            must agree.
    """
    if not path.is_file():
        return {}
    content = read(path)
    budget = content["budget"]
    alike = (content["task"]["name"], budget["episodes per cell"]) == (asked["task"], asked["episodes"])
    if not alike or budget.get("delays drawn", "") != asked["drawn"]:
        return {}
    if str(asked["updates"]) not in str(budget["updates per policy"]).split(" and "):
        return {}
    # Settings of files from before there was a choice.
    usual = {"noise": "fresh", "scale": 1.0, "share": 0.0, "predictor": "none", "ramp_seconds": None}
    there = {each["name"]: each["settings"] for each in content["methods"]}
    wanted = {(delay, seed) for delay in asked["delays"] for seed in asked["training_seeds"]}
    found = {}
    for method in methods:
        rows = [
            {"commit": content["commit"], **cell}
            for cell in content["cells"]
            if cell["method"] == method.name and (cell["delay"], cell["training_seed"]) in wanted
        ]
        now, before = method.description()["settings"], there.get(method.name, {})
        same = before.keys() <= now.keys() and all(before.get(key, usual.get(key)) == now[key] for key in now)
        if same and {(row["delay"], row["training_seed"]) for row in rows} == wanted:
            found[method.name] = rows
    return found


def commit() -> str:
    """Commit of the source tree that runs, with ``+`` when it has changes; empty outside of a repository."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "--", "."], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if dirty else "")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
