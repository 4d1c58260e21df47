"""The recipe of two stages: plain flow matching, then what the method is trained with, from that checkpoint.

    run/first-stage            plain flow matching, half of the updates
    run/<objective>            from there, the other half under the objective

Every method has the same total budget, a plain policy too: its second stage is plain flow matching again. Training
with schedules from scratch ruins a small policy, which has not yet learned what to continue to. Families other than
flow know one objective, and have one stage of all updates.
"""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from segue.data.episodes import Episodes
from segue.errors import DataError, SpecError, UnknownNameError
from segue.policies.families import FAMILIES, config_for, family_of, policy_for
from segue.policies.policy import Policy
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Objective
from segue.training.autoencoder import load_autoencoder
from segue.training.config import Conduct, TrainingConfig
from segue.training.loop import train

FIRST_STAGE = "first-stage"


@dataclass(frozen=True)
class Recipe:
    """Settings that a policy is made and trained with, for any demonstrations.

    Attributes:
        horizon: H.
        updates: Optimiser steps of both stages together.
        relative: Learn actions relative to the observed state, where the demonstrations name one.
        network: Name of the network.
        network_settings: Its settings.
        family: ``flow``, ``diffusion`` or ``regression``.
        family_settings: Further fields of the family's configuration, where they differ from the defaults.
        vision: Fields of `Vision` that differ from the defaults; used where the demonstrations have pictures.
        autoencoder: Run of `train_autoencoder`: the policy lives in its latent space. None for action space.
        stages: 2, or 1 to train under the objective from scratch.
        training: Everything else; its ``updates`` are set by the stages.
    """

    horizon: int = 32
    updates: int = 6000
    relative: bool = False
    network: str = "mlp"
    network_settings: Mapping[str, Any] = field(default_factory=dict)
    family: str = "flow"
    family_settings: Mapping[str, Any] = field(default_factory=dict)
    vision: Mapping[str, Any] = field(default_factory=dict)
    autoencoder: Path | None = None
    stages: int = 2
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UnknownNameError("family", self.family, FAMILIES)

    @property
    def first_stage_updates(self) -> int:
        """Updates of the stage that all objectives share; 0 where there is none."""
        return self.updates // 2 if self.stages == 2 and self.family == "flow" else 0

    def of_family(self, family: str) -> "Recipe":
        """Turn to another family, with that family's own defaults."""
        return self if family == self.family else replace(self, family=family, family_settings={})

    def policy(self, episodes: Episodes) -> Policy:
        """Policy with fresh weights (from torch's global generator), fitted to the demonstrations.

        Raises:
            CheckpointError: There is no autoencoder in its folder.
            DataError: Actions are to be relative, and none has a state that it could be relative to.
            SpecError: The autoencoder or a setting does not fit.
        """
        if self.relative and not any(index is not None for index in episodes.state_of_action):
            raise DataError(
                got=f"relative actions, of which none of {len(episodes.action_names)} has a state",
                expected="an observation that measures what an action commands",
                change="leave --relative out, give actions the names of their states, or set state_of_action",
            )
        autoencoder = None if self.autoencoder is None else load_autoencoder(self.autoencoder)[0]
        config = config_for(
            self.family,
            episodes,
            horizon=self.horizon,
            relative=self.relative,
            autoencoder=autoencoder,
            vision=self.vision,
            network=self.network,
            network_settings=dict(self.network_settings),
            **self.family_settings,
        )
        return policy_for(config, episodes, autoencoder)


def versions() -> dict[str, str]:
    """Versions that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("segue", "torch", "numpy")}}


def check_objective(objective: Objective, name: str, recipe: Recipe) -> None:
    """Refuse an objective that a policy of a recipe cannot be trained under, before anything is trained.

    Raises:
        SpecError: It is one of another family, tells commanded states to a policy of absolute actions, or learns
            adapters without a first stage.
    """
    if family_of(objective) != recipe.family:
        raise SpecError(
            got=f"objective {name!r} for a {recipe.family} policy",
            expected=f"an objective of that family; this one trains {family_of(objective)} policies",
            change=f"train with --family {family_of(objective)}, or with another objective",
        )
    if objective.max_offset and not recipe.relative:
        raise SpecError(
            got=f"objective {name!r} for a policy of absolute actions, which does not say what they command",
            expected="actions relative to the observed state",
            change="train with --relative, or under another objective",
        )
    if objective.adapter_rank and not recipe.first_stage_updates:
        raise SpecError(
            got=f"objective {name!r}, which learns adapters alone, in one stage",
            expected="a plain policy before it, which they are put into",
            change="train with two stages",
        )


def train_policy(
    episodes: Episodes,
    recipe: Recipe,
    name: str = FIRST_STAGE,
    objective: Objective = FlowMatching(),  # noqa: B008  # it has no state
    *,
    run: Path,
    seed: int = 0,
    task: str = "",
    resume: bool = True,
    console: Console | None = None,
    conduct: Conduct = Conduct(),  # noqa: B008  # it is frozen
) -> Policy:
    """Train under an objective by the recipe; the first stage is shared by all objectives in the same run.

    Args:
        episodes: Demonstrations.
        recipe: What the policy is made of.
        name: Of the objective; the second stage is kept in ``run / name``. The first stage alone is trained by default.
        objective: What the second stage is trained with.
        run: Folder of both stages.
        seed: Of everything random.
        task: Noted in the checkpoints.
        resume: Go on where an interrupted run stopped, and load a stage that is done; False starts anew.
        console: Where progress is shown.
        conduct: How it is carried out and watched.

    Returns:
        The policy with averaged weights.

    Raises:
        CheckpointError: The run was started with other settings or on other demonstrations.
        DataError: There are too few episodes to hold some out.
        SpecError: The objective is one of another family, tells commanded states to a policy of absolute actions, or
            learns adapters without a first stage.
        TrainingError: The loss is not finite.
    """
    check_objective(objective, name, recipe)
    stage = 1 if name == FIRST_STAGE else 2
    learned, unseen = episodes.split(conduct.held_out, seed) if conduct.held_out else (episodes, None)
    if stage == 2 and recipe.first_stage_updates:
        policy = train_policy(
            episodes, recipe, run=run, seed=seed, task=task, resume=resume, console=console, conduct=conduct
        )
        title, updates = f"second stage: {name}", recipe.updates - recipe.first_stage_updates
    else:
        torch.manual_seed(seed)
        policy = recipe.policy(learned)
        title, updates = f"only stage: {name}", recipe.updates
        if stage == 1:
            title, updates = "first stage: plain", recipe.first_stage_updates
    info, config = _info(recipe, name, seed, task, stage), _stage(recipe, updates, 2 * seed + stage - 1)
    return train(
        policy, learned, objective, config, run=run / name, title=title, info=info, resume=resume, console=console,
        conduct=conduct, unseen=unseen, later=recipe.updates - updates if name == FIRST_STAGE else 0,
    )  # fmt: skip


def _info(recipe: Recipe, name: str, seed: int, task: str, stage: int) -> dict[str, Any]:
    """Note for a checkpoint how it came to be."""
    made_of = {**asdict(recipe), "autoencoder": None if recipe.autoencoder is None else str(recipe.autoencoder)}
    return {"task": task, "seed": seed, "name": name, "stage": stage, "recipe": made_of, "versions": versions()}


def _stage(recipe: Recipe, updates: int, seed: int) -> TrainingConfig:
    """Settings of one stage; a short stage still has one checkpoint where own chunks are renewed."""
    refresh = recipe.training.own_refresh
    every = min(recipe.training.checkpoint_every, max(updates // refresh, 1) * refresh)
    return replace(recipe.training, updates=updates, seed=seed, checkpoint_every=every)
