"""The curve of a training: a row for every hundred updates in ``curve.csv`` beside the checkpoints, and for trackers.

    update,loss,held-out loss,error,seconds,error of shoulder [rad],...

A run that is resumed goes on behind the row of its checkpoint, so that no update has two rows.
"""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from segue.errors import MissingExtraError

NAME = "curve.csv"
HELD_OUT_LOSS, ERROR = "held-out loss", "error"
COLUMNS = ("update", "loss", HELD_OUT_LOSS, ERROR, "seconds")
"""Columns of every curve; what is measured beside them comes behind. A cell is empty where nothing is held out."""


class Curve:
    """Writes the rows of one training.

    Args:
        folder: Of the checkpoints.
        first: Updates done before, by the run that is resumed; 0 begins the curve anew.

    Attributes:
        seconds: Seconds of training that the rows so far took.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self._file = folder / NAME
        rows = [row for row in read(folder) if int(row["update"]) <= first]
        self.seconds = float(rows[-1]["seconds"]) if rows else 0.0
        self._header: list[str] = list(rows[0]) if rows else []
        if self._file.exists():
            aside = self._file.with_suffix(f".{os.getpid()}")
            with aside.open("w", newline="") as file:
                table = csv.DictWriter(file, self._header)
                if rows:
                    table.writeheader()
                    table.writerows(rows)
            aside.replace(self._file)

    def add(self, update: int, loss: float, measured: Mapping[str, float], seconds: float) -> None:
        """Append a row.

        Args:
            update: Updates done.
            loss: Mean over the updates since the row before.
            measured: On held-out episodes, by column.
            seconds: Of training, since the run was begun or resumed.
        """
        row = {"update": update, "loss": f"{loss:.6g}", "seconds": f"{self.seconds + seconds:.2f}"}
        row |= {name: f"{value:.6g}" for name, value in measured.items()}
        begins = not self._header
        self._header = self._header or [*COLUMNS, *(name for name in measured if name not in COLUMNS)]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", newline="") as file:
            table = csv.DictWriter(file, self._header, extrasaction="ignore")
            if begins:
                table.writeheader()
            table.writerow(row)


def read(folder: Path) -> list[dict[str, str]]:
    """Read the rows of the curve beside some checkpoints, none where there is no curve.

    A row that was cut off while it was written is left out.
    """
    try:
        with (folder / NAME).open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    return [row for row in rows if None not in row and None not in row.values() and row["update"].isdecimal()]


@contextmanager
def tracked(name: str | None, folder: Path) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Give a function that tells one of accelerate's trackers what an update has, by name.

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
