"""Compare two methods on the same policy, seeds and delays: what `segue bench` does, as a library.

A few updates and episodes, so that the table shows its form; for numbers, `segue bench adroit-door`.

    python examples/02_compare_two_methods.py [updates]
"""

import sys
import tempfile
from pathlib import Path

from rich.console import Console

from segue.lab import Comparison, Fixed, compare_methods, console_table, read_results, summarise
from segue.learn import Recipe, TrainingConfig, method


def main(updates: int) -> None:
    comparison = Comparison(
        task="adroit-door",
        methods=(method("naive"), method("rtc-identity")),
        delays=(Fixed(0), Fixed(8)),
        recipe=Recipe(updates=updates, network_settings={"width": 128}, training=TrainingConfig(batch=64)),
        training_seeds=1,
        episodes=2,
        execution_horizon=8,
    )
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        path = compare_methods(comparison, runs=here, out=here, workers=1, command="examples/02", console=console)
        summary = summarise(read_results(path))
    console.print(console_table(summary, metrics=("seam_jump", "jerk_command", "overlap_rmse_free")))
    jumps = summary.difference("rtc-identity", "naive", 8, "seam_jump")
    print(f"seam jump at delay 8, RTC - naive: {jumps.value:.3f} [{jumps.low:.3f}, {jumps.high:.3f}] std")


if __name__ == "__main__":
    main(updates=int(sys.argv[1]) if len(sys.argv) > 1 else 60)
