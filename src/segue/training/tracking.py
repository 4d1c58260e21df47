"""Tells a training's curve to TensorBoard or Weights & Biases, through accelerate's trackers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from segue.errors import MissingExtraError


@contextmanager
def tracked(name: str | None, folder: Path) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Give a function that tells a tracker what an update has, by name.

    Args:
        name: ``tensorboard``, whose files come to lie in the folder; ``wandb``; or None, and nobody is told.
        folder: Of the checkpoints.

    Raises:
        MissingExtraError: The package of that name is not installed.
    """
    if name is None:
        yield lambda update, row: None
        return
    if find_spec(name) is None:
        raise MissingExtraError(name, name, f"--track {name}")
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(log_with=name, project_dir=folder, device_placement=False)
    accelerator.init_trackers("segue", init_kwargs={"wandb": {"name": str(folder)}})
    try:
        yield lambda update, row: accelerator.log(dict(row), step=update)
    finally:
        accelerator.end_training()
