"""Train on the bundled door demonstrations, then run one episode in which inference takes four control steps.

The policy learns what to do, the predictor what is seen four steps later: each chunk is made for when it takes over.
A few updates show the way and teach little: the policy of `make demo` has a hundred times as many.

    python examples/01_train_and_run.py [updates]
"""

import sys
import tempfile
from pathlib import Path

from segue.lab import Fixed, Scales, Timing, roll_out, task
from segue.learn import (
    CarriedNoise,
    ContinuingPolicy,
    PredictivePolicy,
    PredictorTraining,
    Recipe,
    TrainingConfig,
    method,
    objective,
    train_policy,
    train_predictor,
)
from segue.robot import METRICS, episode_metrics


def main(updates: int) -> None:
    door, legato = task("adroit-door"), method("legato")
    episodes, simulator = door.demonstrations(), door.simulator()

    recipe = Recipe(updates=updates, network_settings={"width": 128}, training=TrainingConfig(batch=64))
    with tempfile.TemporaryDirectory() as run:
        policy = train_policy(episodes, recipe, legato.policy, objective(legato.policy), run=Path(run))
        predictor = train_predictor(episodes, PredictorTraining(updates=updates), run=Path(run) / "predictor")

    chunks = ContinuingPolicy(policy, legato.strategy, noise=CarriedNoise(scale=0.7))
    [record] = roll_out(
        PredictivePolicy(chunks, predictor),
        [simulator],
        seeds=[0],
        timing=Timing(recipe.horizon, door.execution_horizon, Fixed(4), legato.handover, door.max_steps),
        scales=Scales.of(episodes, simulator.spec),
    )
    for name, value in episode_metrics(record).items():
        print(f"{METRICS[name].label:24} {value:12.4g} {METRICS[name].unit}")


if __name__ == "__main__":
    main(updates=int(sys.argv[1]) if len(sys.argv) > 1 else 60)
