"""One stage of training: batches, loss, averaged weights, checkpoints; on one processor or many through accelerate."""

import atexit
import copy
import gc
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from segue.core.observation import Observation
from segue.data.episodes import Episodes
from segue.policies.families import description
from segue.policies.policy import Module, Policy, SeeingUnits
from segue.strategies.objective import Objective, TrainingPair
from segue.training import checkpoint
from segue.training.config import Schedule, TrainingConfig
from segue.training.data import DemonstratedChunks
from segue.training.progress import TrainingProgress
from segue.training.resume import check_same_run, learned, restore, resume_state

SHOW_EVERY = 100


class _Loss(nn.Module):
    """From observation to loss as a module's forward, which is what data-parallel training hooks into."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, pair: TrainingPair, observation: Any, noise: float, generator: torch.Generator) -> Tensor:
        if isinstance(observation, Observation) and isinstance(self.policy.units, SeeingUnits):
            observation = self.policy.units.augmented(observation, generator)
        context = self.policy.units.encode(observation)
        disturbance = torch.randn(context.shape, generator=generator).to(context.device)
        return self.policy.loss(pair, context + noise * disturbance)


def learning_rate(update: int, config: Schedule) -> float:
    """Linear warm-up times a cosine from the peak to zero over the stage."""
    warm = min(1.0, (update + 1) / max(config.warmup, 1))
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * update / config.updates))


def generator_of(seed: int, update: int, process: int, purpose: int) -> torch.Generator:
    """Random numbers of one update: a function of seed, update, process and purpose, so that nothing is to be saved."""
    seed = ((seed * 1_000_003 + update) * 1_009 + process) * 7 + purpose
    return torch.Generator().manual_seed(seed)


def _leave_group() -> None:
    """Close the process group in order: left to the interpreter's end, its threads can abort the process."""
    if torch.distributed.is_initialized():
        gc.collect()  # what was trained in parallel holds on to the group, in circles
        torch.distributed.destroy_process_group()


@torch.no_grad()
def average_into(average: Module, module: Module, decay: float) -> None:
    """One step of the exponential moving average of the weights."""
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(module.parameters()), 0)


def train(
    policy: Policy,
    episodes: Episodes,
    objective: Objective,
    config: TrainingConfig,
    *,
    run: Path,
    title: str,
    info: Mapping[str, Any] | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Policy:
    """Train a policy for one stage; returns it with averaged weights.

    Args:
        policy: Start of the stage.
        episodes: Demonstrations.
        objective: Of the strategy.
        config: Length and settings of the stage.
        run: Folder of the checkpoints.
        title: Shown in the progress bar.
        info: Written to the checkpoints' config.json.
        resume: Go on from the last checkpoint in ``run``, if there is one.
        console: Where progress is shown.

    Raises:
        CheckpointError: The run to resume was started with other settings.
    """
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        atexit.register(_leave_group)
    policy = policy.to(accelerator.device).train().requires_grad_(True)
    average = copy.deepcopy(policy).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        learned(policy).values(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    info = {"training": asdict(config), "objective": asdict(objective), **(info or {})}  # type: ignore[arg-type]
    first = _restore(run, info, policy, average, optimizer) if resume and checkpoint.started(run) else 0
    chunks = DemonstratedChunks(episodes, policy)
    loss_of, optimizer = accelerator.prepare(_Loss(policy), optimizer)
    share = max(config.batch // accelerator.num_processes, 1)
    progress = TrainingProgress(
        title, config.updates, config.batch, console or Console(), first=first, shown=accelerator.is_main_process
    )
    with progress:
        for update in range(first, config.updates):
            if objective.own_chunks and update % config.own_refresh == 0:
                generator = generator_of(config.seed, update, 0, purpose=1)
                chunks.renew_own(average, config.own_steps, generator, objective.own_chunks)
            generator = generator_of(config.seed, update, accelerator.process_index, purpose=0)
            index = torch.randint(0, len(chunks), (share,), generator=generator).to(accelerator.device)
            pair = objective.pair(chunks.batch(index, policy, config.own_elapsed, generator), generator)
            loss = loss_of(pair, chunks.seen(index), config.observation_noise, generator)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(update, config)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            average_into(average, policy, min(config.ema, (1 + update) / (10 + update)))
            done = update + 1
            if done % SHOW_EVERY == 0 or done == config.updates:
                progress.show(done, loss.item())
            if accelerator.is_main_process and (done % config.checkpoint_every == 0 or done == config.updates):
                checkpoint.save(run, done, average, info, resume_state(policy, optimizer))
    accelerator.wait_for_everyone()  # so that no process reads or leaves before the last checkpoint is there
    return average


def _restore(
    run: Path, info: Mapping[str, Any], policy: Policy, average: Policy, optimizer: torch.optim.Optimizer
) -> int:
    """Load the last checkpoint into all three; returns the updates done."""
    saved = checkpoint.load(run)
    described = description(policy)
    check_same_run(run, saved, {**info, **described}, ("training", "objective", *described), policy)
    saved.policy()  # raises for weights that do not fit the configuration
    return restore(saved, policy, average, optimizer)
