"""What training and evaluation cost beside what others write for them, as ratios measured in one run.

- One update of LeRobot's diffusion policy beside one of ours: a U-Net of about as many weights, the same batches of the
  same chunks, the same optimizer. Where LeRobot is not installed, it says so.
- A plain loop over the simulator, which asks the policy for a chunk and plays it open loop, beside a rollout of ours,
  which has a plan, takes chunks over at seams, measures, and answers all of its robots in one call. Where no simulator
  is installed, as beside LeRobot, it says so.

    .venv-lerobot/bin/python benchmarks/peers.py [--rounds 10] [--batch 64] [--width 64]     the update
    .venv/bin/python benchmarks/peers.py [--rounds 10]                                       the rollout
"""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from ratios import measure, new_table, row, updates
from rich.console import Console

from segue.core.chunk import nothing_to_continue
from segue.core.observation import stacked
from segue.core.robot import Simulator
from segue.data.episodes import Episodes
from segue.errors import MissingExtraError
from segue.lab.delays import Fixed
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.tasks.tasks import task
from segue.methods.methods import method
from segue.policies.diffusion import Denoising
from segue.policies.families import config_for, policy_for
from segue.policies.policy import Policy
from segue.training.config import TrainingConfig
from segue.training.data import DemonstratedChunks

TASK, EPISODES, STEPS = "adroit-door", 8, 64
Work = dict[str, Callable[[], object]]


def weights(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def theirs(policy: Policy, episodes: Episodes, batch: int) -> tuple[torch.nn.Module, Callable[[], object]]:
    """LeRobot's policy of the width that comes nearest to ours in weights, and one update of it."""
    configured = import_module("lerobot.policies.diffusion.configuration_diffusion").DiffusionConfig
    model = import_module("lerobot.policies.diffusion.modeling_diffusion").DiffusionPolicy
    types = import_module("lerobot.configs.types")
    chunks, seen = DemonstratedChunks(episodes, policy), episodes.observation.shape[1]
    padded = torch.zeros(batch, policy.spec.horizon, dtype=torch.bool)

    def of_width(width: int) -> torch.nn.Module:
        return model(configured(
            n_obs_steps=1, horizon=policy.spec.horizon, n_action_steps=8, down_dims=(width, 2 * width, 4 * width),
            input_features={
                "observation.state": types.PolicyFeature(types.FeatureType.STATE, (seen - 1,)),
                "observation.environment_state": types.PolicyFeature(types.FeatureType.ENV, (1,)),
            },
            output_features={"action": types.PolicyFeature(types.FeatureType.ACTION, chunks.chunks.shape[2:])},
            device="cpu",
        ))  # fmt: skip

    with torch.device("meta"):
        sizes = {width: weights(of_width(width)) for width in range(16, 160, 8)}
    them = of_width(min(sizes, key=lambda width: abs(sizes[width] - weights(policy)))).train()
    optimizer = torch.optim.AdamW(them.parameters(), 0.0, fused=True)

    def update() -> None:
        index = torch.randint(0, len(chunks), (batch,))
        state = policy.units.encode(chunks.observation[index])[:, None]
        optimizer.zero_grad()
        loss, _ = them({
            "observation.state": state[..., :-1], "observation.environment_state": state[..., -1:],
            "action": chunks.chunks[index], "action_is_pad": padded,
        })  # fmt: skip
        loss.backward()
        optimizer.step()

    return them, update


def evaluating(policy: Policy) -> tuple[Work, list[Simulator]]:
    """Episodes without delay, of as many steps and chunks, by a plain loop and by ours; and their robots."""
    chosen, bound = task(TASK), method("naive").bound(policy)
    robots, scales = (
        [chosen.simulator() for _ in range(EPISODES)],
        Scales.of(chosen.demonstrations(), chosen.simulator().spec),
    )
    every, action = chosen.execution_horizon, len(policy.spec.action_names)
    timing = Timing(policy.spec.horizon, every, Fixed(0), method("naive").handover, STEPS)

    def plain() -> None:
        for seed, robot in enumerate(robots):
            robot.reset(seed)
            noise, chunk = torch.Generator().manual_seed(seed), np.zeros((0, action))
            for step in range(STEPS):
                if step % every == 0:
                    known = nothing_to_continue(step, action, every)
                    [chunk] = bound.next_chunks(stacked([robot.observe()]), [known], [noise])
                robot.send(robot.spec.clip(chunk[step % every]))

    return {"plain loop": plain, "rollout": lambda: rollout(bound, robots, range(EPISODES), timing, scales)}, robots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=64, help="of our U-Net")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    console, episodes, settings = Console(), task(TASK).demonstrations(), {"width": chosen.width}

    def ours(family: str) -> Policy:
        config = config_for(family, episodes, horizon=32, network="unet", network_settings=settings)
        return policy_for(config, episodes)

    load = f"load of this machine {os.getloadavg()[0]:.1f}"
    console.print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, one thread, {load}")
    if find_spec("lerobot") is None:
        console.print("not measured: LeRobot's diffusion policy, which is not installed here (make test-lerobot)")
    else:
        policy = ours("diffusion").train()
        them, update = theirs(policy, episodes, chosen.batch)
        config = TrainingConfig(batch=chosen.batch)
        mine = updates(policy, episodes, config, Denoising(), torch.Generator().manual_seed(0))
        times = measure({"ours": mine, "LeRobot": update}, chosen.rounds, repeats=1)
        table = new_table(f"One update of {chosen.batch} chunks of 32, over LeRobot {version('lerobot')}", "one update")
        row(table, f"ours, {weights(policy):,} weights", times["ours"], times["LeRobot"])
        row(table, f"LeRobot's, {weights(them):,} weights", times["LeRobot"], times["LeRobot"])
        console.print(table)
    try:
        work, _ = evaluating(ours("flow").eval())
    except MissingExtraError as error:
        return console.print(f"not measured: a rollout beside a plain loop; {error.got}", highlight=False)
    times = measure(work, chosen.rounds, repeats=1)
    table = new_table(f"{EPISODES} episodes of {STEPS} steps on {TASK}, over a plain loop", "all of them")
    row(table, "ours, with seams and measures", times["rollout"], times["plain loop"])
    row(table, "plain loop, open loop", times["plain loop"], times["plain loop"])
    console.print(table)


if __name__ == "__main__":
    main()
