"""Learning rates of the families of `segue rates`: success and deviation of one training run at each.

python benchmarks/learning_rates.py                      the door, 1200 updates, 50 episodes (twenty minutes)
python benchmarks/learning_rates.py --updates 100        to see that it runs
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from segue.lab.processes import executor, in_turn
from segue.lab.rates import run
from segue.lab.rates.rates import CONTINUOUS, LEARNERS, Rates, Row, rates_for
from segue.lab.tasks.tasks import task
from segue.policies.diffusion import PREDICTIONS

FORMS = ("direct", "latent")
TRIED = (1e-3, 2e-3, 4e-3, 8e-3)


def protocols(chosen: argparse.Namespace) -> Iterator[Rates]:
    """The protocol of one family each, at one learning rate."""
    settings = task(chosen.env)
    plain = rates_for(settings, len(settings.simulator().spec.action_names), delay=0.08)
    for rate in TRIED:
        for family in CONTINUOUS:
            said = {"predicts": chosen.predicts} if family == "diffusion" else {}
            learner = replace(LEARNERS[family], learning_rate=rate)
            learners = {**LEARNERS, family: replace(learner, family_settings={**learner.family_settings, **said})}
            yield replace(
                plain, updates=chosen.updates, episodes=chosen.episodes, families=(family,), learners=learners
            )


def tried(job: tuple[Rates, Path]) -> list[dict[str, Any]]:
    """Train and measure the rows of a protocol of one family."""
    rates, runs = job
    (family,) = rates.families
    rate = rates.learners[family].learning_rate
    folder = runs / f"{rate:g}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "autoencoder").exists():
        (folder / "autoencoder").symlink_to((runs / "seed-0" / "autoencoder").resolve())
    found = []
    for form in FORMS:
        row = Row(family, form)
        run.train(run.Training(rates, 0, folder, family, row.space, (row.objective,)))
        measured = run.measure((rates, row, 0, folder))
        group, *_ = measured.open_loop.values()
        success = [float(np.mean(cell.values("success"))) for cell in measured.cells]
        found.append(
            {"family": family, "rate": rate, "form": form, "deviation": group["deviation"], "success": success}
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="adroit-door")
    parser.add_argument("--predicts", default="action", choices=PREDICTIONS, help="of diffusion policies")
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/learning-rates"))
    chosen = parser.parse_args()
    every = list(protocols(chosen))
    run.train(run.Training(every[0], 0, chosen.runs / "seed-0", "", "autoencoder", ()))
    table = Table("family", "row", "learning rate", "deviation", "success, waiting", "success")
    with executor(chosen.workers) as processes:
        for found in in_turn(processes, tried, [(rates, chosen.runs) for rates in every]):
            for each in found:
                waiting, not_waiting = each["success"]
                table.add_row(
                    each["family"], each["form"], f"{each['rate']:g}", f"{each['deviation']:.3g}",
                    f"{waiting:.2f}", f"{not_waiting:.2f}",
                )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
