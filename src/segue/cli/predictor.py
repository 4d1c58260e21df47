"""What is said of a predictor that was trained, and the one that `segue train` makes beside its policies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from segue.cli import options
from segue.cli.options import console
from segue.data.episodes import Episodes
from segue.errors import CheckpointError, DataError
from segue.methods.methods import PREDICTOR
from segue.training import checkpoint
from segue.training.predictor import (
    FORMAT,
    PredictionError,
    PredictorTraining,
    load_predictor,
    train_predictor,
)

HARDLY = 0.8
"""A predictor with this share of the error of "nothing changes" is hardly better."""
SHARE = 4
"""A policy's updates over those of the predictor beside it, so that a trial of a few updates stays one."""
ONLY_STATES = "pictures stay as they are seen: only the state is predicted"


def error_table(error: PredictionError) -> Table:
    """Error on held-out episodes per observation dimension, in its own unit, beside that of "nothing changes"."""
    shown = Table(
        title='Mean absolute error on held-out states, and of "nothing changes"',
        title_justify="left",
    )
    shown.add_column("observation", min_width=len("all / spread"))
    for steps in error.steps:
        shown.add_column(f"{steps} steps", justify="right")
        shown.add_column("still", justify="right", style="dim")
    for i, name in enumerate(error.names):
        pairs = zip(error.predicted[:, i], error.unchanged[:, i], strict=True)
        shown.add_row(name, *(_number(each, ".3g") for pair in pairs for each in pair))
    shown.add_section()
    pairs = zip(error.relative(error.predicted), error.relative(error.unchanged), strict=True)
    shown.add_row("all / spread", *(_number(each, ".3f") for pair in pairs for each in pair))
    return shown


def judgement(error: PredictionError) -> list[str]:
    """What the errors mean for a robot, in a line or two."""
    lines = ['A predictor that is hardly better than "nothing changes" does not help under delay.']
    predicted, unchanged = error.relative(error.predicted), error.relative(error.unchanged)
    bad = [steps for steps, ours, none in zip(error.steps, predicted, unchanged, strict=True) if ours > HARDLY * none]
    if bad:
        ahead = ", ".join(map(str, bad))
        lines.append(
            f"This one is hardly better {ahead} steps ahead: train longer (--updates), with more demonstrations, or "
            "leave it out."
        )
    return lines


def _number(value: float, form: str) -> str:
    return "-" if np.isnan(value) else f"{value:{form}}"


def train_beside(episodes: Episodes, run: Path, *, task: str, seed: int, updates: int, fresh: bool) -> bool:
    """The predictor of a run of `segue train`: all its policies share it, and one that is there is kept.

    Args:
        episodes: What the policies learn from.
        run: Home of the run's policies.
        task: Noted in the checkpoints.
        seed: Of the run.
        updates: Of the policy.
        fresh: Start anew.

    Returns:
        Whether there is one now: of a single demonstration there is none.

    Raises:
        CheckpointError: The one that is there has learned from other demonstrations, or is damaged.
    """
    folder = run / PREDICTOR
    training, size = PredictorTraining(seed=seed), dict[str, Any]()
    training = replace(training, updates=max(min(training.updates, updates // SHARE), 1))
    if checkpoint.started(folder) and not fresh:
        training, size = _settings(folder)
    shown = console if console.is_terminal else Console(quiet=True)
    try:
        train_predictor(episodes, training, run=folder, task=task, resume=not fresh, console=shown, **size)
    except DataError as error:
        console.print(f"no predictor: {error.got}, expected {error.expected}", highlight=False, soft_wrap=True)
        return False
    if options.FIRST:
        console.print(_in_a_line(folder, pictures=bool(episodes.pictures)), highlight=False, soft_wrap=True)
    return True


def _settings(folder: Path) -> tuple[PredictorTraining, dict[str, Any]]:
    """How the predictor that is there was trained, and its size."""
    saved = checkpoint.load(folder, FORMAT)
    try:
        return PredictorTraining(**saved.info["training"]), {"width": saved.info["predictor"]["width"]}
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            got=f"{saved.path}: {error}",
            expected="a predictor of this version of Segue",
            change="train it anew: segue train-predictor with --fresh",
        ) from error


def _in_a_line(folder: Path, *, pictures: bool) -> str:
    _, error = load_predictor(folder)
    middle = len(error.steps) // 2
    ours, none = (_number(error.relative(each)[middle], ".3f") for each in (error.predicted, error.unchanged))
    return (
        f"predictor: {folder / 'last'} foresees the state at the takeover; {error.steps[middle]} steps ahead it is off "
        f'by {ours} of the spread, "nothing changes" by {none}' + (f"; {ONLY_STATES}" if pictures else "")
    )
