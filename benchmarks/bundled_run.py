"""Trains the policy and the predictor that come with the package, for `segue try`.

    python benchmarks/bundled_run.py                            minutes on two cores
    python benchmarks/bundled_run.py --updates 8 --width 16     to see that everything works

They learn from the human demonstrations of the door, are narrow enough to be carried along (under 5 MB together), and
are written to src/segue/lab/bundled_run without what only resuming needs, with the command in a file beside them.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from segue.cli.trial import RUN, TASK
from segue.lab.recipes import recipe_for
from segue.lab.results import commit
from segue.lab.tasks.tasks import task
from segue.methods.methods import PREDICTOR, objective
from segue.training.checkpoint import POLICY
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import train_policy

LARGEST = 5_000_000
"""Bytes of all files together."""


def carried(run: Path, home: Path, note: str) -> int:
    """Copy what running needs of a run's checkpoints into the package; bytes of all files."""
    shutil.rmtree(home, ignore_errors=True)
    for name in ("plain", PREDICTOR):
        (home / name / "last").mkdir(parents=True)  # a folder and no link: wheels have none
        for file in ("config.json", POLICY):
            shutil.copy(run / name / "last" / file, home / name / "last" / file)
    (home / "COMMAND").write_text(note)
    return sum(file.stat().st_size for file in home.rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--home", type=Path, default=RUN)
    chosen = parser.parse_args()
    episodes = task(TASK).demonstrations()
    recipe = replace(recipe_for(TASK), updates=chosen.updates, network_settings={"width": chosen.width})
    training = PredictorTraining()
    training = replace(training, updates=min(training.updates, chosen.updates))
    with tempfile.TemporaryDirectory() as folder:
        run, console = Path(folder), Console()
        train_predictor(
            episodes, training, run=run / PREDICTOR, task=TASK, resume=False, console=console, width=chosen.width
        )
        train_policy(episodes, recipe, "plain", objective("plain"), run=run, task=TASK, console=console)
        note = f"python {' '.join(sys.argv)}\ncommit {commit()}\n"
        size = carried(run, chosen.home, note)
    print(f"{chosen.home}: {size / 1e6:.2f} MB")
    if size > LARGEST:
        sys.exit(f"more than {LARGEST / 1e6:g} MB; change: --width {chosen.width // 2}")


if __name__ == "__main__":
    main()
