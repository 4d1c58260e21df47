"""Should Legato's second stage learn from predicted observations, as it is given them under delay?

    python benchmarks/predicted_observations.py

For each task, on the training seeds and initial states that the default is tuned on (`benchmarks/default.py`): the
second stage of Legato once on the demonstrations, and once on the demonstrations and as many frames again with their
observations as the predictor foresaw them, 1 to 12 steps before. Both have the same updates, and are rolled out as
``predictive-legato`` at the same delays. The numbers go to results/tuning/predicted-observations.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import default
import numpy as np
import torch
from rich.console import Console

from segue.core.metrics import mean_of_defined
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.lab.delays import Fixed
from segue.lab.recipes import recipe_for
from segue.lab.sweep import Cell, run_cell
from segue.lab.tasks.tasks import task
from segue.methods.methods import PREDICTOR, method, objective
from segue.policies.predictors.predictor import Predictor
from segue.training import checkpoint
from segue.training.loop import train
from segue.training.predictor import load_predictor
from segue.training.recipe import FIRST_STAGE

METHOD, DELAYS, LONGEST = "predictive-legato", (8, 12), 12
VARIANTS = {"seen": "legato", "seen and predicted": "legato-predicted"}


def foreseen(episodes: Episodes, predictor: Predictor, seed: int) -> Episodes:
    """Return the demonstrations with each observation as it was predicted 1 to `LONGEST` steps before.

    The first frame of an episode has nothing before it and stays what it is.
    """
    age, frames = Windows(episodes, 1).age, np.arange(episodes.frames)
    steps = np.minimum(np.random.default_rng(seed).integers(1, LONGEST + 1, episodes.frames), age)
    before = frames - steps
    committed = episodes.action[np.minimum(before[:, None] + np.arange(LONGEST), frames[-1])]
    ahead = predictor.ahead(episodes.observation[before], committed, steps)
    return replace(episodes, observation=np.asarray(ahead, np.float32))


def joined(one: Episodes, other: Episodes) -> Episodes:
    """Return the episodes of both."""
    return replace(
        one,
        observation=np.concatenate([one.observation, other.observation]),
        action=np.concatenate([one.action, other.action]),
        ends=np.concatenate([one.ends, one.frames + other.ends]),
    )


def trained(name: str, seed: int, runs: Path, console: Console) -> Path:
    """Train the run of a training seed as far as it isn't there; the second stage that is asked about is in it."""
    run = default.train(name, seed, {"legato"}, runs, console)
    episodes, recipe = task(name).demonstrations(), recipe_for(name)
    predictor, _ = load_predictor(run / PREDICTOR)
    as_before = checkpoint.load(run / "legato").info["training"]
    config = replace(recipe.training, **{each: as_before[each] for each in ("updates", "seed", "checkpoint_every")})
    train(
        checkpoint.load(run / FIRST_STAGE).policy(), joined(episodes, foreseen(episodes, predictor, seed)),
        objective("legato"), config, run=run / VARIANTS["seen and predicted"], title=f"{name} {seed}", resume=True,
        console=console,
    )  # fmt: skip
    return run


def measured(name: str, runs: dict[int, Path], policy: str, delay: int) -> dict[str, float]:
    """Means of the measures over all episodes of both training seeds."""
    columns: dict[str, list[float]] = {measure: [] for measure in default.MEASURES}
    for seed, run in runs.items():
        cell = Cell(
            name, method(METHOD), run / policy, seed, Fixed(delay), task(name).execution_horizon, default.EPISODES,
            predictor=run / PREDICTOR, first_seed=default.FIRST_SEED + 1000 * (seed - default.TRAINING_SEEDS[0]),
        )  # fmt: skip
        done = run_cell(cell)
        for measure, column in columns.items():
            column += done.values(measure)
    return {measure: round(mean_of_defined(column), 4) for measure, column in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(default.TASKS), help="separated by commas")
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--out", type=Path, default=Path("results/tuning/predicted-observations.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    console = Console()
    rows = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in given.tasks.split(","):
        runs = {seed: trained(name, seed, given.runs, console) for seed in default.TRAINING_SEEDS}
        for shown, policy in VARIANTS.items():
            for delay in DELAYS:
                if (at := f"{name} {delay}, {shown}") not in rows:
                    rows[at] = measured(name, runs, policy, delay)
                    given.out.write_text(json.dumps(rows, indent=1) + "\n")
                    console.print(at, rows[at], width=200)


if __name__ == "__main__":
    main()
