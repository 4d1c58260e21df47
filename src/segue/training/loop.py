"""Trains a policy for one stage: from its demonstrations and an objective to averaged weights."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from segue.core.observation import Observation, with_state
from segue.data.episodes import Episodes
from segue.errors import SpecError
from segue.policies.families import adapt, description
from segue.policies.policy import Policy
from segue.strategies.objective import Objective, TrainingPair
from segue.training import checkpoint
from segue.training.config import Conduct, TrainingConfig
from segue.training.data import DemonstratedChunks
from segue.training.fit import Run, averaged, fit, generator_of
from segue.training.held_out import measured


def policy_loss(
    policy: Policy, pair: TrainingPair, observation: Any, noise: float, generator: torch.Generator
) -> Tensor:
    """Mean error of a policy that sees pictures cut out anywhere, and its context with noise on it. Scalar.

    Args:
        policy: In training.
        pair: What the network is given, and what it should answer: as many as observations, or a multiple of them.
        observation: Robot units, batch axis first.
        noise: Standard deviation of the noise on the context.
        generator: Of cut and noise.
    """
    if isinstance(observation, Observation):
        observation = policy.units.augmented(observation, generator)
    context = policy.units.encode(observation)
    context = context.repeat(len(pair.x) // len(context), 1)
    disturbance = torch.randn(context.shape, generator=generator).to(context.device)
    return policy.loss(pair, context + noise * disturbance)


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
    conduct: Conduct = Conduct(),  # noqa: B008  # it is frozen
    unseen: Episodes | None = None,
    later: int = 0,
) -> Policy:
    """Train a policy for one stage; returns it with averaged weights.

    Args:
        policy: Start of the stage.
        episodes: Demonstrations.
        objective: Of the strategy.
        config: Length and settings of the stage.
        run: Folder of the checkpoints; it and the other arguments are those of `Run`.
        title: See there.
        info: Noted in the checkpoints.
        resume: See there.
        console: See there.
        conduct: See there.
        unseen: Held-out episodes, on which each row of the curve is measured; None for none.
        later: See there.

    Raises:
        CheckpointError: The run to resume was started with other settings.
        MissingExtraError: The tracker's package is not installed.
        SpecError: No such device.
        TrainingError: The loss is not finite.
    """
    device = Accelerator().device if conduct.device is None else conduct.device
    try:
        policy = policy.to(torch.device(device)).train().requires_grad_(True)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"device {device!r} ({reason})", "a device of this machine", "use --device cpu") from error
    if objective.adapter_rank:
        torch.manual_seed(config.seed)  # of fresh adapters, however the policy came here
        adapt(policy.requires_grad_(False), objective.adapter_rank)
    average, chunks = averaged(policy), DemonstratedChunks(episodes, policy, console or Console())

    def batch_of(update: int, process: int, size: int) -> tuple[Any, ...]:
        # once per update: the parts of a batch are numbered on from each other
        if objective.own_chunks and update % config.own_refresh == 0 and process % conduct.accumulate == 0:
            generator = generator_of(config.seed, update, 0, purpose=1)
            chunks.renew_own(average, config.own_steps, generator, objective.own_chunks)
        generator = generator_of(config.seed, update, process, purpose=0)
        index = torch.randint(0, len(chunks), (size,), generator=generator).to(policy.units.device)
        observation, repeated = chunks.seen(index), index.repeat(config.draws)
        if objective.max_offset:
            offset = torch.randint(0, objective.max_offset + 1, (size,), generator=generator).to(index.device)
            drawn, state = chunks.offset(repeated, offset.repeat(config.draws), policy)
            observation = with_state(observation, state[:size])
        else:
            drawn = chunks.batch(repeated, policy, objective.own_elapsed or config.own_elapsed, generator)
        return objective.pair(drawn, generator), observation, config.observation_noise, generator

    said = {"training": config, "objective": asdict(objective), **description(policy)}  # type: ignore[arg-type]
    kept = Run(run, title, info or {}, checkpoint.FORMAT, resume, console, conduct, later)
    watched = dict if unseen is None else measured(average, unseen, objective, config.seed)
    fit(policy, average, batch_of, policy_loss, config, kept, described=said, watched=watched)
    return average
