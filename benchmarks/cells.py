"""Memory and time of a comparison's cells where nothing is rolled out: fake cells, kept and read again.

The process that asks for the cells has their results in memory at the end; this is what it takes, beside the same
process without cells.

    python benchmarks/cells.py [--cells 10000] [--episodes 100]
"""

import argparse
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from segue.core.metrics import METRICS
from segue.lab import cells, results, sweep
from segue.lab.delays import Fixed
from segue.lab.processes import Here
from segue.lab.results import CellResult, MethodFacts
from segue.lab.sweep import Cell
from segue.lab.tasks.tasks import task
from segue.methods.methods import method

console = Console(highlight=False)


def fake(episodes: int, cell: Cell) -> CellResult:
    """Random measures in as many digits as true ones."""
    rng = np.random.default_rng([cell.training_seed, cell.delay.typical])
    columns = {name: [sweep.rounded(value) for value in rng.uniform(size=episodes)] for name in METRICS}
    return CellResult(
        **cell.key, horizon=16, execution_horizon=8, episodes={"seed": [*map(int, range(episodes))], **columns}
    )


def peak() -> float:
    """Largest memory that this process has had [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=100)
    given = parser.parse_args()
    door, naive = task("adroit-door"), method("naive")
    cells.run_cell = partial(fake, given.episodes)
    sweep.check = lambda _: None
    with tempfile.TemporaryDirectory() as name:
        folder, policy = Path(name), Path(name) / "plain"
        policy.mkdir()
        (policy / "config.json").write_text('{"sha256": {"policy.safetensors": "fake"}}')
        wanted = [
            Cell("adroit-door", naive, policy, number // 10, Fixed(number % 10), 8 + number // 10, given.episodes)
            for number in range(given.cells)
        ]
        cells.described(wanted[0])  # brings the simulator
        for what in ("computed and kept", "read again"):
            before, started = peak(), time.perf_counter()
            found = dict(cells.run(wanted, Here(), folder / "cells", console))
            seconds = time.perf_counter() - started
            console.print(
                f"{len(found):,} cells {what}: {seconds:.1f} s, {before:.0f} MB before, {peak():.0f} MB at most"
            )
        started = time.perf_counter()
        content = results.build(
            door, [MethodFacts(**naive.description())], list(found.values()), title="", command="", budget={}
        )
        file = results.write(content, folder / "results.json")
        seconds, size = time.perf_counter() - started, file.stat().st_size / 1e6
        console.print(f"results.json of {size:.0f} MB: {seconds:.1f} s, {peak():.0f} MB at most")


if __name__ == "__main__":
    main()
