"""segue train-autoencoder, once its arguments are read."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from segue.cli.demonstrations import demonstrations
from segue.cli.reading import Reading
from segue.lab.tasks import tasks
from segue.policies.autoencoder.autoencoder import AutoencoderConfig
from segue.training.autoencoder import AutoencoderTraining, Reconstruction, load_autoencoder, train_autoencoder


def train_autoencoder_command(
    console: Console,
    task: str | None,
    data: Path | None,
    out: Path | None,
    *,
    reading: Reading,
    horizon: int | None,
    stride: int,
    latent: int | None,
    network: str,
    bottleneck: str,
    updates: int | None,
    seed: int,
    fresh: bool,
) -> None:
    """`segue train-autoencoder`."""
    episodes, name = demonstrations("train-autoencoder", task, data, reading)
    usual = 32 if task is None else tasks.task(task).horizon
    names = tuple(episodes.action_names)
    config = AutoencoderConfig(
        horizon or usual, names, latent or len(names), stride, network=network, bottleneck=bottleneck
    )
    training = AutoencoderTraining(seed=seed)
    if updates is not None:
        training = replace(training, updates=updates)
    run = out or Path("runs") / name / f"seed-{seed}" / "autoencoder"
    console.print(
        f"chunks of {config.horizon} x {len(names)} to {config.sizes.positions} x {config.latent}, "
        f"{len(episodes)} episodes, every {training.held_out_every}th held out",
        highlight=False,
    )
    train_autoencoder(episodes, config, training, run=run, task=task or "", resume=not fresh, console=console)
    _, error = load_autoencoder(run)
    console.print(error_table(error))
    console.print(f"autoencoder: {run / 'last'}", soft_wrap=True)


def error_table(error: Reconstruction) -> Table:
    """Error on held-out episodes per action dimension, each in its own unit."""
    table = Table(title="Reconstruction of held-out chunks, absolute error", title_justify="left")
    table.add_column("action")
    for name in ("mean", "95 %", "spread of the action", "mean / spread"):
        table.add_column(name, justify="right")
    for name, mean, p95, spread in zip(error.names, error.mean, error.p95, error.spread, strict=True):
        ratio = f"{mean / spread:.3f}" if spread > 0 else "-"
        table.add_row(name, f"{mean:.3g}", f"{p95:.3g}", f"{spread:.3g}", ratio)
    table.add_row("all", "", "", "", f"{error.relative:.3f}")
    return table
