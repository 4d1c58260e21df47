"""What an inference costs under every method of the tables, over one under `naive`, into results/costs.json.

    python benchmarks/costs.py [--task push-t] [--rounds 15] [--out results/costs.json]

Networks of the task's sizes with fresh weights: time does not depend on what they have learned. A whole inference is
timed, with prediction, guidance and every drawn chunk, for one robot on one thread; all methods take their turn in each
round, and a ratio is the median over the rounds of (method / naive in the same round). What corrects single actions is
timed by benchmarks/correction.py.
"""

import argparse
import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ratios import measure
from rich.console import Console

from segue.core.chunk import Continuation, Past
from segue.data.episodes import Episodes
from segue.lab import results
from segue.lab.recipes import recipe_for
from segue.lab.tasks.tasks import task
from segue.methods.methods import Method, method, objective
from segue.methods.parts import predictor_of
from segue.policies.families import adapt
from segue.policies.policy import Policy
from segue.training.predictor import predictor_for

DELAY = 4


def inference(each: Method, policy: Policy, episodes: Episodes, steps: int) -> Callable[[], object]:
    """One whole inference: a chunk that goes on where another one has been executed for some steps."""
    shown, horizon = episodes.episode(0), policy.spec.horizon
    fresh = each.predictor == "learned"
    predictor = predictor_for(episodes).eval() if fresh else predictor_of(each.predictor, policy, None)
    actions = shown.action[:horizon]
    continuation = Continuation(
        start=steps,
        prefix=actions[steps:],
        delay=DELAY,
        execution_horizon=steps,
        votes=np.ones(horizon - steps, np.int64),
        previous=actions[steps - 1],
        past=Past(shown.observation[0], actions[:steps]),
    )
    bound, seen = each.uncorrected.bound(policy, None, predictor), shown.observation[steps : steps + 1]
    return partial(bound.next_chunks, seen, [continuation], [torch.Generator()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="push-t", help="whose sizes and recipe are used, and whose results")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("results/costs.json"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    of, recipe = task(chosen.task), recipe_for(chosen.task)
    episodes = of.demonstrations()
    plain, adapted = recipe.policy(episodes), recipe.policy(episodes)
    adapt(adapted, objective("remac").adapter_rank)
    measured = results.read(Path("results") / chosen.task / "results.json")
    methods = {each.name: method(each.name) for each in measured.methods}
    work = {
        name: inference(each, adapted if each.policy == "remac" else plain, episodes, of.execution_horizon)
        for name, each in methods.items()
    }
    times = measure(work, chosen.rounds, repeats=5)
    ratios = {name: np.quantile(times[name] / times["naive"], (0.25, 0.5, 0.75)).round(2).tolist() for name in work}
    said = {
        "task": chosen.task,
        "delay": DELAY,
        "rounds": chosen.rounds,
        "machine": platform.machine(),
        "ratios": ratios,
    }
    chosen.out.write_text(json.dumps(said, indent=1) + "\n")
    for name, (low, middle, high) in ratios.items():
        Console(highlight=False).print(f"{name}: {middle:.2f} ({low:.2f} to {high:.2f})", soft_wrap=True)


if __name__ == "__main__":
    main()
