"""Trains any module on any loss, in the one loop that all trainings share.

    batch -- loss --> gradient, clipped --> AdamW at the update's learning rate --> averaged weights --> checkpoint

`Descent` is the part that changes weights. `fit` runs it from the first update or from the last checkpoint to the end,
on one processor or on many through accelerate, and ends with the same weights either way.
"""

import atexit
import copy
import gc
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from segue.errors import TrainingError
from segue.training import checkpoint
from segue.training.config import Conduct, KeptSchedule, Schedule
from segue.training.curve import Curve, tracked
from segue.training.progress import SHOW_EVERY, training_progress
from segue.training.resume import check_same_run, learned, restore, resume_state, spread

M = TypeVar("M", bound=nn.Module)
_LOST = re.compile(r"gloo|nccl|connection", re.IGNORECASE)
"""In what a process group raises where a process of it is gone."""


def learning_rate(update: int, schedule: Schedule) -> float:
    """Linear warm-up times a cosine from the peak to zero over all updates."""
    warm = min(1.0, (update + 1) / max(schedule.warmup, 1))
    return schedule.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * update / schedule.updates))


def generator_of(seed: int, update: int, process: int, purpose: int) -> torch.Generator:
    """Random numbers of one update: a function of seed, update, process and purpose, so that nothing is to be saved."""
    seed = ((seed * 1_000_003 + update) * 1_009 + process) * 7 + purpose
    return torch.Generator().manual_seed(seed)


def training_device() -> torch.device:
    """Return the CUDA device of this process, or the CPU: what is measured in double precision runs on no other."""
    found = Accelerator().device
    return found if found.type == "cuda" else torch.device("cpu")


def averaged(module: M) -> M:
    """Copy a module to hold the moving average of its weights."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def average_into(average: nn.Module, module: nn.Module, ema: float, update: int) -> None:
    """Move the average towards the weights after an update; the decay rises from 0.1 to its limit ``ema``."""
    decay = min(ema, (1 + update) / (10 + update))
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(module.parameters()), 0)


class _Loss(nn.Module):
    """From batch to loss as a module's forward, which is what data-parallel training hooks into."""

    def __init__(self, module: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, *batch: Any) -> Tensor:
        return self.loss(self.module, *batch)


class Descent:
    """Take optimiser steps: AdamW at a schedule's learning rates.

    Args:
        module: Stays on the device that it is on.
        weights: Of the module, those to be learned; frozen ones among them stay what they are.
        loss: From the module and a batch to a scalar.
        schedule: Length and sizes of the steps.
        clip: Largest norm of the gradient; None for any.
        fused: Whether all weights are changed in one kernel, which rounds otherwise than one after the other.
        bf16: Whether what is multiplied is rounded to bfloat16.

    Raises:
        TrainingError: Processes were started together (torchrun), and accelerate sees only this one; or it was told to
            do more than to start them.
    """

    def __init__(
        self,
        module: nn.Module,
        weights: Iterable[nn.Parameter],
        loss: Callable[..., Tensor],
        schedule: Schedule,
        *,
        clip: float | None = None,
        fused: bool | None = None,
        bf16: bool = False,
    ) -> None:
        self.schedule, self.clip, self.weights, self.bf16 = schedule, clip, list(weights), bf16
        self.optimizer = torch.optim.AdamW(
            self.weights, schedule.learning_rate, weight_decay=schedule.weight_decay, fused=fused
        )
        self.accelerator = Accelerator(device_placement=False)
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started > 1 and self.accelerator.num_processes == 1:
            raise TrainingError(
                got=f"{started} processes that were started together and do not see each other: each would train alone",
                expected="a process on each GPU, or processors that are asked for",
                change="without GPUs, set ACCELERATE_USE_CPU=1; to train alone, start one process without torchrun",
            )
        if self.accelerator.num_processes > 1:
            atexit.register(_leave_group)
        _check_only_launched(self.accelerator)
        self._loss, self._steps = self.accelerator.prepare(_Loss(module, loss), self.optimizer)

    def step(self, update: int, *batch: Any) -> float:
        """Change the weights once; returns the loss of before.

        Raises:
            TrainingError: The loss is not finite; the weights stay what they are.
        """
        return self.step_over(update, [batch])

    def step_over(self, update: int, batches: Iterable[Sequence[Any]], parts: int = 1) -> float:
        """Change the weights once by the mean gradient of so many batches, each made when the one before is done with.

        Returns and raises what `step` does; the loss is the mean of theirs, and of those of all processes.
        """
        # set here and not by a scheduler, so that the rate is a function of the update and nothing is to be saved
        for group in self._steps.param_groups:
            group["lr"] = learning_rate(update, self.schedule)
        self._steps.zero_grad()
        value = 0.0
        for batch in batches:
            with torch.autocast(self.weights[0].device.type, torch.bfloat16, enabled=self.bf16):
                loss = self._loss(*batch) / parts
            value += loss.item()
            if not math.isfinite(value):
                raise TrainingError(
                    got=f"a loss of {value} in update {update}",
                    expected="a finite one",
                    change="lower the learning rate or raise the warm-up, and look for numbers in the data that are "
                    "far larger than the others; checkpoints of before are good",
                )
            self.accelerator.backward(loss)
        if self.clip is not None:
            self.accelerator.clip_grad_norm_(self.weights, self.clip)
        self._steps.step()
        if self.accelerator.num_processes > 1:
            whole = torch.tensor(value, dtype=torch.double, device=self.accelerator.device)
            value = torch.as_tensor(self.accelerator.reduce(whole, "mean")).item()
        return value


def _check_only_launched(accelerator: Accelerator) -> None:
    """Raise `TrainingError` for what a file of accelerate's, or its options, would change in the training unseen."""
    kinds = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU", "MPS")
    compiler, parts = accelerator.state.dynamo_plugin, accelerator.gradient_accumulation_steps
    told = {
        "mixed precision": (accelerator.mixed_precision, "no"),
        "gradient accumulation": (parts, 1),
        "compilation": (compiler.backend.value if compiler else "NO", "NO"),
        "processes of the kind": (accelerator.distributed_type.value, *kinds),
    }
    if set_so := ", ".join(f"{name} {value}" for name, (value, *plain) in told.items() if value not in plain):
        raise TrainingError(
            got=f"settings of accelerate's own: {set_so}",
            expected="that it only starts the processes",
            change="leave them out of `accelerate launch` and its file, or use torchrun; --precision and --accumulate "
            "are options of `segue train`",
        )


def _check_alike(accelerator: Accelerator, described: Mapping[str, Any], average: nn.Module) -> None:
    """Raise `TrainingError` where processes that train together were given other settings or demonstrations."""
    if accelerator.num_processes == 1:
        return
    digest = hashlib.sha256(json.dumps(checkpoint.as_json(described), sort_keys=True).encode())
    for buffer in average.buffers():  # what is measured on demonstrations
        digest.update(buffer.cpu().numpy().tobytes())
    own = torch.tensor([int.from_bytes(digest.digest()[:7], "big")], device=accelerator.device)
    if len({*torch.as_tensor(accelerator.gather(own)).tolist()}) > 1:
        raise TrainingError(
            got="processes that were started together with other settings, or on other demonstrations",
            expected="the same on every machine",
            change="give each the same command, the same files and the same version of Segue",
        )


@contextmanager
def _told_of_loss(folder: Path) -> Iterator[None]:
    """Raise `TrainingError` where the connection to another process breaks."""
    try:
        yield
    except RuntimeError as error:
        if not torch.distributed.is_initialized() or not _LOST.search(str(error)):
            raise
        raise TrainingError(
            got=f"the connection to a process that trains along: {str(error).partition('. ')[0]}",
            expected="all of them until the end",
            change=f"see what it says itself, and start them all again: they go on from the checkpoints in {folder}",
        ) from error


def _leave_group() -> None:
    """Close the process group in order: left to the interpreter's end, its threads can abort the process."""
    if torch.distributed.is_initialized():
        gc.collect()  # what was trained in parallel holds on to the group, in circles
        torch.distributed.destroy_process_group()


@dataclass(frozen=True, eq=False)
class Run:
    """Folder, format and title of a training's checkpoints, and the console that shows its progress.

    Attributes:
        folder: Of the checkpoints.
        title: Shown in front of the progress.
        noted: What the checkpoints say besides.
        format: Their format.
        resume: Go on from the last checkpoint in the folder, if there is one.
        console: Where progress is shown.
        conduct: How it is carried out and watched.
        later: Updates of stages that follow, for how long all will take.
    """

    folder: Path
    title: str
    noted: Mapping[str, Any]
    format: str
    resume: bool
    console: Console | None
    conduct: Conduct = field(default_factory=Conduct)
    later: int = 0


def fit(
    module: nn.Module,
    average: nn.Module,
    batch_of: Callable[[int, int, int], tuple[Any, ...]],
    loss: Callable[..., Tensor],
    schedule: KeptSchedule,
    run: Run,
    *,
    described: Mapping[str, Any],
    weights: Iterable[nn.Parameter] | None = None,
    clip: float | None = None,
    measured: Callable[[], Mapping[str, Any]] = dict,
    watched: Callable[[], Mapping[str, float]] = dict,
    adopt: Callable[[checkpoint.Checkpoint], object] = lambda _: None,
) -> None:
    """Train a module to the end of its schedule, and its average with it.

    Args:
        module: Start of the training, on its device.
        average: `averaged` of the module; it is what checkpoints hold.
        batch_of: From the update, the number of this process and its share of the batch to what ``loss`` takes.
        loss: From the module and a batch to a scalar.
        schedule: Length and settings.
        run: Where it is kept, and whether it is resumed.
        described: What checkpoints say of the module and the training; a run with something else is not resumed.
        weights: In the order by which checkpoints number their moments; None for all that require a gradient.
        clip: Largest norm of the gradient; None for any.
        measured: What a checkpoint says of the average as it is by then, such as errors on held-out episodes.
        watched: What a row of the curve says of the average as it is by then, by column.
        adopt: Called with a checkpoint that is resumed, before it is compared with this run.

    Raises:
        CheckpointError: The run to resume was started with other settings or on other demonstrations.
        MissingExtraError: The tracker's package is not installed.
        TrainingError: The loss is not finite, or processes that were started together do not see each other.
    """
    described = {**described, "conduct": run.conduct.noted}
    weights = learned(module).values() if weights is None else weights
    descent = Descent(module, weights, loss, schedule, clip=clip, fused=True, bf16=run.conduct.precision == "bf16")
    accelerator, first = descent.accelerator, 0
    main, parts = accelerator.is_main_process, run.conduct.accumulate
    _check_alike(accelerator, described, average)
    if run.resume and main and checkpoint.started(run.folder):
        saved = checkpoint.load(run.folder, run.format)
        adopt(saved)
        check_same_run(run.folder, saved, described, module)
        first = restore(saved, module, average, descent.optimizer)
    if run.resume and accelerator.num_processes > 1:  # those on other machines may see no checkpoint, or an older one
        first = spread(first, module, average, descent.optimizer)
    # a part of a batch is drawn as if by a process of its own: so many processes learn the same
    share, part = max(schedule.batch // (accelerator.num_processes * parts), 1), accelerator.process_index * parts
    progress = training_progress(
        run.title, schedule.updates, schedule.batch, run.console or Console(), first=first, shown=main, later=run.later
    )
    curve, losses, started = Curve(run.folder, first) if main else None, list[float](), time.monotonic()
    with _told_of_loss(run.folder), progress as show, tracked(run.conduct.track if main else None, run.folder) as track:
        for update in range(first, schedule.updates):
            value = descent.step_over(update, (batch_of(update, part + each, share) for each in range(parts)), parts)
            average_into(average, module, schedule.ema, update)
            done = update + 1
            losses.append(value)
            show(done, value)
            if curve is not None and (done % SHOW_EVERY == 0 or done == schedule.updates):
                row, mean = watched(), sum(losses) / len(losses)
                curve.add(done, mean, row, time.monotonic() - started)
                track(done, {"loss": mean, **row})
                losses.clear()
            if done % schedule.checkpoint_every == 0 or done == schedule.updates:
                # measured on every process, for each of them returns the average
                said = {name: checkpoint.as_json(each) for name, each in described.items() if each is not None}
                content = {"format": run.format, "update": done, **said, **run.noted, **measured()}
                if main:
                    checkpoint.write(run.folder, done, average, content, resume_state(module, descent.optimizer))
        accelerator.wait_for_everyone()  # so that no process reads or leaves before the last checkpoint is there
