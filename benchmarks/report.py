"""Time of the report of a comparison that was made up: methods, delays and training seeds, all crossed.

Of each size it says the processor's seconds of reading the results and of drawing the page, and how large the page is.

    python benchmarks/report.py [--methods 50] [--delays 10] [--seeds 5 10 20] [--episodes 10]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from segue.core.metrics import METRICS
from segue.lab import results
from segue.lab.report.page import write_report
from segue.lab.results import CellResult, MethodFacts, Motion, Results, TaskFacts

TASK = TaskFacts(
    name="reach", summary="", dt=0.05, max_steps=200, horizon=24, action_names=["x", "y"], command="position"
)


def made_up(methods: int, delays: int, seeds: int, episodes: int) -> Results:
    """A comparison of random episodes; the first training seed has its traces."""
    rng = np.random.default_rng(0)
    names = [f"method-{number}" for number in range(methods)]
    places = [(name, delay, seed) for name in names for delay in range(delays) for seed in range(seeds)]
    cells = [
        CellResult(
            method=name, delay=delay, training_seed=seed, horizon=24, execution_horizon=8,
            episodes={
                "seed": [*range(episodes)],
                **{metric: rng.uniform(size=episodes).round(4).tolist() for metric in METRICS},
                "success": [float(each) for each in rng.uniform(size=episodes) < 0.7],
            },
        )
        for name, delay, seed in places
    ]  # fmt: skip
    traces = [
        Motion(name, delay, seed, 0, rng.normal(size=(200, 2)).round(3).tolist(), [], [*range(8, 200, 8)], 8)
        for name, delay, seed in places
        if seed == 0
    ]
    return Results(
        schema=results.SCHEMA, title="Made up", task=TASK, methods=[MethodFacts(name, name) for name in names],
        cells=cells, traces=traces,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=50)
    parser.add_argument("--delays", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--episodes", type=int, default=10)
    given = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        for seeds in given.seeds:
            content = made_up(given.methods, given.delays, seeds, given.episodes)
            path = results.write(content, Path(name) / "results.json")
            marks = [time.process_time()]
            content = results.read(path)
            marks.append(time.process_time())
            page = write_report(content, path.with_name("report.html"))
            marks.append(time.process_time())
            read, drawn = np.diff(marks)
            size = page.stat().st_size / 1e6
            console.print(f"{len(content.cells):,} cells: read {read:.1f} s, page {drawn:.1f} s, {size:.1f} MB")


if __name__ == "__main__":
    main()
