r"""Training of autoencoders of action chunks, and what they lose on episodes that they have not seen.

episodes -+- every k-th ------> held out: reconstruction error per dimension, in its unit
          +- the others ------> windows -> L1 + bottleneck term -> averaged weights
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import DataError, SpecError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, Codec, latent_statistics, refine
from segue.policies.normalizer import Normalizer
from segue.training import checkpoint
from segue.training.bounded import built, check_described, refusing
from segue.training.loop import SHOW_EVERY, average_into, generator_of, learning_rate
from segue.training.progress import TrainingProgress
from segue.training.resume import check_same_run, restore, resume_state

FORMAT = "segue/autoencoder/1"
BATCH = 1024
"""Chunks per call where nothing is learned."""


@dataclass(frozen=True)
class AutoencoderTraining:
    """How long and how an autoencoder is trained; plain JSON.

    Attributes:
        updates: Optimiser steps.
        batch: Chunks per step.
        learning_rate: Peak of the cosine.
        warmup: Updates of linear warm-up.
        weight_decay: Of AdamW.
        ema: Limit of the decay of the weights' moving average, which is what runs.
        held_out_every: k: episodes k, 2k, ... are held out; they never train.
        checkpoint_every: Updates between checkpoints.
        seed: Of every random number.
    """

    updates: int = 2000
    batch: int = 128
    learning_rate: float = 4e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.995
    held_out_every: int = 5
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("updates", 1), ("batch", 1), ("checkpoint_every", 1), ("held_out_every", 2)):
            if getattr(self, name) < least:
                raise SpecError(f"{name} = {getattr(self, name)}", f"at least {least}", f"raise {name}")


def held_out(episodes: Episodes, every: int) -> tuple[Episodes, Episodes]:
    """Split off every k-th episode, the last one where there are fewer. Returns (training, held out).

    Raises:
        DataError: There is only one episode.
    """
    if len(episodes) < 2:
        raise DataError(
            got="one episode",
            expected="at least two: one to train on, one to be measured on",
            change="record more episodes, or cut this one in two",
        )
    every = min(every, len(episodes))
    index = np.arange(len(episodes))
    last = index % every == every - 1
    return episodes.select(index[~last]), episodes.select(index[last])


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What encoding and decoding costs, per action dimension in its own unit.

    Attributes:
        names: One per dimension.
        mean: Mean absolute error. Shape (action,).
        p95: 95th percentile of the absolute error. Shape (action,).
        spread: Standard deviation of the actions themselves, to compare with. Shape (action,).
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    p95: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def relative(self) -> float:
        """Mean over the dimensions of mean error over spread; dimensions that do not move are left out."""
        moves = self.spread > 0
        return float((self.mean[moves] / self.spread[moves]).mean()) if moves.any() else 0.0


def whole_chunks(episodes: Episodes, horizon: int) -> Tensor:
    """All chunks that end within their episode. Shape (chunks, horizon, action), robot units."""
    windows = Windows(episodes, horizon)
    return torch.as_tensor(episodes.action[windows.frames[windows.valid[:, -1]]])


def reconstruction(codec: Codec, episodes: Episodes, horizon: int) -> Reconstruction:
    """Error of ``decode(encode(A))`` over all whole chunks of the episodes."""
    chunks, device = whole_chunks(episodes, horizon), next(codec.parameters()).device
    with torch.no_grad():
        errors = [(refine(codec, part.to(device)).cpu() - part).abs() for part in chunks.split(BATCH)]
    error = torch.cat(errors).flatten(0, 1).double().numpy()
    return Reconstruction(
        names=tuple(episodes.action_names),
        mean=error.mean(0),
        p95=np.quantile(error, 0.95, axis=0),
        spread=episodes.action.std(0, dtype=np.float64),
    )


def train_autoencoder(
    episodes: Episodes,
    config: AutoencoderConfig,
    training: AutoencoderTraining | None = None,
    *,
    run: Path,
    task: str = "",
    resume: bool = False,
    console: Console | None = None,
) -> ChunkAutoencoder:
    """Train an autoencoder on all but every k-th episode; returns it with averaged weights.

    Args:
        episodes: Demonstrations.
        config: What it is made of.
        training: Length and settings.
        run: Folder of the checkpoints.
        task: Noted in the checkpoints.
        resume: Go on from the last checkpoint in ``run``, if there is one.
        console: Where progress is shown.

    Raises:
        CheckpointError: The run to resume was started with other settings or on other demonstrations.
        DataError: There is only one episode, or none as long as the horizon.
    """
    training = training or AutoencoderTraining()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learned, unseen = held_out(episodes, training.held_out_every)
    torch.manual_seed(training.seed)
    codec = ChunkAutoencoder.for_episodes(config, learned).to(device)
    average = copy.deepcopy(codec).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        codec.parameters(), training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    info = {"autoencoder": asdict(config), "training": asdict(training), "task": task}
    first = _restore(run, info, codec, average, optimizer) if resume and checkpoint.started(run) else 0
    actions = torch.as_tensor(learned.action, device=device)
    frames = torch.as_tensor(Windows(learned, config.horizon).frames, device=device)
    with TrainingProgress(
        "autoencoder", training.updates, training.batch, console or Console(), first=first
    ) as progress:
        for update in range(first, training.updates):
            generator = generator_of(training.seed, update, 0, purpose=2)
            index = torch.randint(0, len(frames), (training.batch,), generator=generator).to(device)
            loss = codec.loss(actions[frames[index]], generator)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(update, training)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average_into(average, codec, min(training.ema, (1 + update) / (10 + update)))
            done = update + 1
            if done % SHOW_EVERY == 0 or done == training.updates:
                progress.show(done, loss.item())
            if done % training.checkpoint_every == 0 or done == training.updates:
                content = {"format": FORMAT, "update": done, **info, **_measured(average, learned, unseen)}
                checkpoint.write(run, done, average, content, resume_state(codec, optimizer))
    return average


def _restore(
    run: Path,
    info: Mapping[str, Any],
    codec: ChunkAutoencoder,
    average: ChunkAutoencoder,
    optimizer: torch.optim.Optimizer,
) -> int:
    saved = checkpoint.load(run, FORMAT)
    check_same_run(run, saved, info, ("training", "autoencoder"), codec)
    return restore(saved, codec, average, optimizer)


def _measured(codec: ChunkAutoencoder, learned: Episodes, unseen: Episodes) -> dict[str, dict[str, list[float]]]:
    """What a checkpoint says about the error on held-out episodes, and about the latents."""
    error = reconstruction(codec, unseen, codec.config.horizon)
    latents = latent_statistics(codec, learned, codec.config.horizon)
    return {
        "held_out_error": {"mean": error.mean.tolist(), "p95": error.p95.tolist(), "spread": error.spread.tolist()},
        "latents": {"mean": latents.mean.tolist(), "scale": latents.scale.tolist()},
    }


def load_autoencoder(path: Path | str) -> tuple[ChunkAutoencoder, Reconstruction]:
    """An autoencoder with its averaged weights, and its error on the held-out episodes.

    Raises:
        CheckpointError: Nothing there, truncated, or not an autoencoder.
    """
    saved = checkpoint.load(path, FORMAT)
    with refusing(saved.path, *checkpoint.FITTING):
        check_described(saved.info["autoencoder"])
        codec = autoencoder_of(saved.info["autoencoder"], saved.weights)
        error = saved.info["held_out_error"]
        columns = [np.array(error[name], np.float64) for name in ("mean", "p95", "spread")]
        return codec, Reconstruction(codec.config.action_names, *columns)


def autoencoder_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ChunkAutoencoder:
    """An autoencoder from the JSON of its configuration and its weights, frozen."""
    values = {**config, "action_names": tuple(config["action_names"])}
    action = Normalizer(weights["action.mean"].cpu().numpy(), weights["action.scale"].cpu().numpy())
    codec = built(lambda: ChunkAutoencoder(AutoencoderConfig(**values), action), weights)
    return codec.eval().requires_grad_(False)
