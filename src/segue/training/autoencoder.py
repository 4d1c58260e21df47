r"""Trains autoencoders of action chunks, and measures what they lose on episodes that they have not seen.

episodes -+- every k-th ------> held out: reconstruction error per dimension, in its unit
          +- the others ------> windows -> L1 + bottleneck term -> averaged weights
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import DataError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, Codec, latent_statistics, refine
from segue.policies.normalizer import Normalizer
from segue.training import checkpoint
from segue.training.bounded import built, check_described, refusing
from segue.training.config import KeptSchedule
from segue.training.fit import Run, averaged, fit, generator_of, training_device

FORMAT = "segue/autoencoder/1"
BATCH = 1024
"""Chunks per call where nothing is learned."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(KeptSchedule):
    """Settings of an autoencoder's training, on batches of chunks; plain JSON.

    Attributes:
        held_out_every: k: episodes k, 2k, ... are held out; they never train.
    """

    updates: int = 2000
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    ema: float = 0.995
    held_out_every: int = 5
    checkpoint_every: int = 500

    least: ClassVar = {"updates": 1, "batch": 1, "checkpoint_every": 1, "held_out_every": 2}


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
    """Error of encoding and decoding, per action dimension in its own unit.

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
        TrainingError: The loss is not finite.
    """
    training = training or AutoencoderTraining()
    device = training_device()
    learned, unseen = held_out(episodes, training.held_out_every)
    torch.manual_seed(training.seed)
    codec = ChunkAutoencoder.for_episodes(config, learned).to(device)
    average = averaged(codec)
    actions = torch.as_tensor(learned.action, device=device)
    frames = torch.as_tensor(Windows(learned, config.horizon).frames, device=device)

    def batch_of(update: int, process: int, size: int) -> tuple[Tensor, torch.Generator]:
        generator = generator_of(training.seed, update, process, purpose=2)
        index = torch.randint(0, len(frames), (size,), generator=generator).to(device)
        return actions[frames[index]], generator

    described = {"autoencoder": config, "training": training}
    measured = partial(_measured, average, learned, unseen)
    kept = Run(run, "autoencoder", {"task": task}, FORMAT, resume, console)
    fit(codec, average, batch_of, ChunkAutoencoder.loss, training, kept, described=described, measured=measured)
    return average


def _measured(codec: ChunkAutoencoder, learned: Episodes, unseen: Episodes) -> dict[str, dict[str, list[float]]]:
    """Measure what a checkpoint notes: the error on held-out episodes, mean and scale of the latents."""
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
