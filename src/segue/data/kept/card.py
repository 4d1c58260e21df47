"""The model card of a run, written from what its checkpoints say: README.md of a repository of the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segue.core import foreign
from segue.data.kept.hub import checkpoints
from segue.errors import CheckpointError, DataError


def card(run: Path, target: str, *, licence: str | None = None, data: str = "", results: Path | None = None) -> str:
    """Write the card of a run.

    Args:
        run: Folder of `segue train`.
        target: Name that it is to have, hf:USER/NAME.
        licence: As the hub abbreviates it, such as apache-2.0; None where nobody says it.
        data: Where the demonstrations come from.
        results: A results.json of `segue eval` or `segue bench`; None for none.

    Raises:
        CheckpointError: A checkpoint cannot be read.
        DataError: The results cannot be read.
    """
    head = ["---", "library_name: segue", "pipeline_tag: robotics", "tags: [robotics, segue, action-chunking]"]
    head += [f"license: {json.dumps(licence)}"] if licence else []
    lines = [*head, "---", "", f"# {target.rpartition('/')[2]}", ""]
    lines += ["Policies of action chunks, trained with [Segue](https://pypi.org/project/segue/).", ""]
    lines += [f"Licence: {licence}." if licence else "Its author names no licence.", ""]
    if data:
        lines += [f"Demonstrations: {_cell(data)}", ""]
    lines += ["| checkpoint | task | seed | updates | batch | horizon | rate [Hz] | network |", "|:--" * 8 + "|"]
    for last in checkpoints(run):
        lines.append(_row(last.relative_to(run).parent, foreign.read_json(last / "config.json", CheckpointError)))
    lines += _results(results) if results else []
    lines += ["", "```sh", f"segue serve {target}", "```", ""]
    return "\n".join(lines)


def _row(name: Path, info: Any) -> str:
    """What a checkpoint says of itself; a dash where it says nothing."""
    info = info if isinstance(info, Mapping) else {}
    recipe, policy = info.get("recipe") or {}, info.get("policy") if isinstance(info.get("policy"), Mapping) else {}
    spec = (policy or {}).get("spec") or {}
    training = info.get("training") or {}
    dt = spec.get("dt")
    cells = [
        name, info.get("task") or "-", info.get("seed", training.get("seed", "-")),
        recipe.get("updates", info.get("update", "-")), training.get("batch", "-"), spec.get("horizon", "-"),
        f"{1 / dt:g}" if dt else "-", recipe.get("network", "-"),
    ]  # fmt: skip
    return "| " + " | ".join(_cell(each) for each in cells) + " |"


def _results(file: Path) -> list[str]:
    """The means of each method at each delay."""
    found = foreign.read_json(file, DataError)
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list):
        raise DataError(f"{file} without cells", "results.json of `segue eval` or `segue bench`", "pass that file")
    solved = dict[tuple[Any, Any], list[float]]()
    for cell in cells:
        column = (cell.get("episodes") or {}).get("success") if isinstance(cell, dict) else None
        if column:
            solved.setdefault((cell.get("method"), cell.get("delay")), []).extend(float(each or 0) for each in column)
    if not solved:
        return []
    lines = ["", f"Results of `{_cell(found.get('command', ''))}`:", "", "| method | delay | solved | episodes |"]
    lines.append("|:--|--:|--:|--:|")
    for (method, delay), each in solved.items():
        lines.append(f"| {_cell(method)} | {_cell(delay)} | {sum(each) / len(each):.3f} | {len(each)} |")
    return lines


def _cell(value: Any) -> str:
    """A value in a table, on one line."""
    return " ".join(str(value).replace("|", "\\|").split())
