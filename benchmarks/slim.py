"""Take the bulk out of results that are kept with the source: `python benchmarks/slim.py [FOLDER]`, default results/.

What is left makes every table of docs/; for a report with pictures, run the command that a file
names. Of the traces, what docs/_site/pictures.py draws is kept: a second of one action under four methods.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from segue.lab import results

DRAWN = ("naive", "ensembling", "rtc-identity", "predictive")
DELAY, FIRST, LAST = 8, 40, 120
IN_FULL = {"seams", "contact"}
"""Folders whose tables have more columns."""


def executed(content: results.Results) -> dict[str, Any] | None:
    """The action that moves most under the first of the methods, and where chunks took over; None without traces."""
    traces = {trace.method: trace for trace in content.traces or () if trace.delay == DELAY}
    if not all(name in traces for name in DRAWN):
        return None
    commands = {name: np.array(traces[name].commands, float)[FIRST:LAST] for name in DRAWN}
    moving = int(np.argmax(commands[DRAWN[0]].std(axis=0)))
    labels = {method.name: method.label for method in content.methods}
    return {
        "command": content.command,
        "commit": content.commit,
        "dt": content.task.dt,
        "delay": DELAY,
        "first": FIRST,
        "action": content.task.action_names[moving],
        "methods": {
            name: {
                "label": labels[name],
                "commands": commands[name][:, moving].tolist(),
                "seams": [step for step in traces[name].seams if FIRST <= step < FIRST + len(commands[name])],
            }
            for name in DRAWN
        },
    }


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results")
    for path in sorted(folder.glob("**/results.json")):
        before, content = path.stat().st_size, results.read(path)
        if (drawn := executed(content)) is not None:
            path.with_name("executed.json").write_text(json.dumps(drawn) + "\n")
        path.with_name(results.TRACES).unlink(missing_ok=True)
        kept = results.KEPT_IN_FULL if IN_FULL & set(path.parts) else results.KEPT
        results.write(results.slim(content, kept), path)
        print(f"{path}: {before / 1e6:.2f} to {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
