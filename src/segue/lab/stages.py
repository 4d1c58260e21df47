"""Stages of training: each is trained by one process at a time, also where several work on the same runs.

runs/stages/1f3a...json     what a stage is a function of, the weights that came of it, and how long it took
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from segue.lab import cells
from segue.training import checkpoint
from segue.training.recipe import versions

FORMAT = "segue/stage/1"


@dataclass(frozen=True)
class Stages:
    """Stages of the policies of one training seed.

    Attributes:
        runs: Folder of all training seeds.
        task: Whose demonstrations are learned.
        seed: Of the training.
    """

    runs: Path
    task: str
    seed: int

    @property
    def home(self) -> Path:
        """Where the results of stages are."""
        return self.runs / "stages"

    @contextmanager
    def alone(self, name: str, settings: Any, console: Console) -> Iterator[None]:
        """Hold a stage while it is trained, and note what came of it; whoever else wants it waits.

        Args:
            name: Its folder in that of the training seed.
            settings: What it is trained with, a dataclass.
            console: Where it is said that another process holds it.
        """
        description, folder = self.described(name, settings), self.runs / f"seed-{self.seed}" / name
        file = cells.file_of(self.home, description)
        self.home.mkdir(parents=True, exist_ok=True)
        with file.with_suffix(".lock").open("w") as held:  # the system lets go of it when this process ends
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                console.print(f"{folder} is being trained by another process: waiting for it", soft_wrap=True)
                fcntl.flock(held, fcntl.LOCK_EX)
            fresh, started = not checkpoint.started(folder), time.perf_counter()
            yield
            if not file.exists():
                result = {"sha256": cells.of_weights(folder)["sha256"], "from the start": fresh}
                cells.write(self.home, description, result, time.perf_counter() - started)

    def described(self, name: str, settings: Any) -> dict[str, Any]:
        """All that a stage is a function of."""
        made_of = asdict(settings)
        if made_of.get("autoencoder"):
            made_of["autoencoder"] = True  # that of the training seed, wherever it lies
        content = {"format": FORMAT, "task": self.task, "stage": name, "seed": self.seed, "settings": made_of}
        return checkpoint.as_json({**content, "versions": versions()})
