"""A recorded run beside the evaluation in virtual time under the delays that the run had.

    segue run adroit-door runs/adroit-door/seed-0/predicted --seconds 60 --trace runs/realtime/local.trace
    segue eval adroit-door runs/adroit-door/seed-0/predicted --methods predictive --episodes 28 \
        --delay-trace runs/realtime/latencies.txt --out runs/realtime/virtual
    python benchmarks/realtime.py runs/realtime/local.trace runs/realtime/virtual/results.json

Give the evaluation as many episodes as the run finished: both count seeds from the same one up. Prints a table in
Markdown; with --out, also writes the numbers as JSON.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from segue.core.metrics import METRICS, episode_metrics
from segue.lab import results
from segue.lab.statistics import Interval, Sample, mean_interval
from segue.trace.file import Trace, read
from segue.trace.measures import OF_THE_TASK, delays, episode_records

SHOWN = ("seam_jump", "overlap_rmse", "jerk_command", "jerk_measured", "nsparc", "nldlj", "mode_switches", "hesitation")


def interval(values: Sequence[float]) -> Interval:
    """Mean over episodes of one training seed."""
    seeds = np.arange(len(values))
    return mean_interval(Sample(np.array(values, np.float64), np.zeros_like(seeds), seeds))


def run_measures(trace: Trace, episodes: int) -> dict[str, Interval]:
    """Of the finished episodes of a run."""
    measured = [episode_metrics(record) for record in episode_records(trace)[:episodes]]
    return {name: interval([each[name] for each in measured]) for name in METRICS if name not in OF_THE_TASK}


def virtual_measures(content: results.Results) -> tuple[dict[str, Interval], int]:
    """Of the one cell of an evaluation, and its number of episodes."""
    (done,) = content.cells
    names = [name for name in METRICS if name in done.episodes and name not in OF_THE_TASK]
    return {name: interval(done.values(name)) for name in names}, len(done.seeds)


def cell(found: Interval) -> str:
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"


def table(run: dict[str, Interval], virtual: dict[str, Interval]) -> list[str]:
    """Markdown rows; a measure agrees when the two intervals overlap."""
    rows = ["| measure | `segue run` | `segue eval` | intervals overlap |", "|:---|---:|---:|:---|"]
    for name in SHOWN:
        one, other = run[name], virtual[name]
        agree = "yes" if one.low <= other.high and other.low <= one.high else "no"
        unit = f" [{METRICS[name].unit}]" if METRICS[name].unit else ""
        rows.append(f"| {METRICS[name].label}{unit} | {cell(one)} | {cell(other)} | {agree} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="A recorded run beside the evaluation under its delays.")
    parser.add_argument("trace", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    given = parser.parse_args()
    trace, content = read(given.trace), results.read(given.results)
    virtual, episodes = virtual_measures(content)
    run = run_measures(trace, episodes)
    executed, _ = delays(trace)
    counts = {int(delay): int(count) for delay, count in zip(*np.unique(executed, return_counts=True), strict=True)}
    print(f"{episodes} episodes; delays of the run [steps: chunks] {counts}\n")
    print("\n".join(table(run, virtual)))
    if given.out is not None:
        numbers = {
            "command": content.command,
            "commit": content.commit,
            "versions": content.versions,
            "episodes": episodes,
            "delays": counts,
            "run": {name: asdict(found) for name, found in run.items()},
            "virtual": {name: asdict(found) for name, found in virtual.items()},
        }
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
