"""Push-T from pixels with chunks made for the step at which they take over: one policy, with and without a predictor.

    python benchmarks/pixels.py
    python benchmarks/pixels.py --methods naive,naive:predictor=learned,naive:predictor=oracle --training-seeds 3

Trains the plain policy of each training seed and then a predictor of its contexts, or goes on with what is in
``--runs``, which `segue train push-t-pixels --objective plain` writes too; prints how far off the predictors are on
episodes that they have not seen; rolls out every method at every delay, and writes results and report.

The methods share one policy of each seed, trained for all updates of the recipe; the predictor's updates come on top
(they look at no picture, and cost a fraction of the policy's). At delay 0 nothing is committed, nothing is predicted,
and the methods are the same to the bit.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from segue.data.episodes import Episodes
from segue.lab import compare, results
from segue.lab.delays import Fixed
from segue.lab.recipes import recipe_for
from segue.lab.report import table
from segue.lab.report.page import write_report
from segue.lab.tasks.tasks import task
from segue.methods.methods import PREDICTED, PREDICTOR, method
from segue.policies.policy import Policy
from segue.strategies.naive import FlowMatching
from segue.training.context_predictor import load_context_predictor, train_context_predictor
from segue.training.predictor import PredictorTraining
from segue.training.recipe import train_policy

TASK, POLICY = "push-t-pixels", "plain"
METHODS = "naive,naive:predictor=learned"
DELAYS = "0,4,8"


def train(episodes: Episodes, comparison: compare.Comparison, run: Path, seed: int, console: Console) -> None:
    """The policy of a training seed and its predictor, as far as they are not there yet."""
    policy = train_policy(
        episodes, comparison.recipe, POLICY, FlowMatching(), run=run, seed=seed, task=TASK, console=console
    )  # fmt: skip
    place, training = run / PREDICTOR / POLICY, replace(comparison.predictor, seed=seed)
    train_context_predictor(episodes, policy, training, run=place, task=TASK, resume=True, console=console)
    console.print(errors(place, policy, f"training seed {seed}: held-out error of the predictor"))


def errors(place: Path, policy: Policy, title: str) -> Table:
    """Error of a predictor beside that of assuming that nothing changes."""
    _, error = load_context_predictor(place, policy)
    shown = Table("steps ahead", "predicted [std]", "nothing changes [std]", title=title, title_justify="left")
    columns = error.steps, error.relative(error.predicted), error.relative(error.unchanged)
    for steps, predicted, unchanged in zip(*columns, strict=True):
        shown.add_row(str(steps), f"{predicted:.3f}", f"{unchanged:.3f}")
    return shown


def evaluate(comparison: compare.Comparison, runs: Sequence[Path], out: Path, workers: int, console: Console) -> None:
    """Roll out every cell; write results and report."""
    command = shlex.join(["python", "benchmarks/pixels.py", *sys.argv[1:]])
    path = compare.evaluate(comparison, runs, out=out, workers=workers, command=command, console=console)
    content = results.read(path)
    console.print(table.console(table.summarise(content)))
    console.print(f"report: {write_report(content, path.with_name('report.html'), {}).resolve()}", soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS, help="of the plain policy")
    parser.add_argument("--delays", default=DELAYS, help="control steps, comma-separated")
    parser.add_argument("--training-seeds", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=50, help="per cell")
    parser.add_argument("--updates", type=int, help="of the policy [default: the recipe's]")
    parser.add_argument("--predictor-updates", type=int, default=PredictorTraining().updates)
    parser.add_argument("--demonstrations", type=int, help="only so many episodes, to try it out [default: all]")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs") / TASK)
    parser.add_argument("--out", type=Path, default=Path("results") / TASK / "predictor")
    chosen = parser.parse_args()
    methods = [method(name) for name in chosen.methods.split(",")]
    others = [each.name for each in methods if each.policy != POLICY]
    if others:
        parser.error(f"{', '.join(others)}: only methods of the {POLICY} policy are compared here")
    runs = [chosen.runs / f"seed-{seed}" for seed in range(chosen.training_seeds)]
    apart = [str(run / PREDICTED) for run in runs if (run / PREDICTED).is_dir()]
    if apart:
        parser.error(f"{', '.join(apart)}: policies of `segue bench` that have learned for shorter; take other --runs")
    console, recipe = Console(), recipe_for(TASK)
    settings = task(TASK)
    comparison = compare.Comparison(
        task=TASK,
        methods=tuple(methods),
        delays=tuple(Fixed(int(delay)) for delay in chosen.delays.split(",")),
        recipe=replace(recipe, updates=chosen.updates) if chosen.updates else recipe,
        training_seeds=chosen.training_seeds,
        episodes=chosen.episodes,
        execution_horizon=settings.execution_horizon,
        predictor=PredictorTraining(updates=chosen.predictor_updates),
    )
    episodes = settings.demonstrations()
    if chosen.demonstrations:
        episodes = episodes.select(list(range(chosen.demonstrations)))
    for seed, run in enumerate(runs):
        train(episodes, comparison, run, seed, console)
    evaluate(comparison, runs, chosen.out, chosen.workers, console)


if __name__ == "__main__":
    main()
