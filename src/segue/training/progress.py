"""What a person sees while training: a bar in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """Loss, samples per second and time left of one stage.

    Args:
        title: Shown in front.
        updates: Total.
        batch: Samples per update.
        console: Where to write.
        first: Updates done before, by the run that is resumed.
        shown: False on all processes but the first.
    """

    def __init__(
        self, title: str, updates: int, batch: int, console: Console, *, first: int = 0, shown: bool = True
    ) -> None:
        self.title, self.updates, self.batch, self.console, self.shown = title, updates, batch, console, shown
        self._started = time.monotonic()
        self._first = first
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[speed]:.0f} samples/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._task = self._bar.add_task(title, total=updates, loss=float("nan"), speed=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, update: int, loss: float) -> None:
        """After an update (counted from 1)."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        speed = (update - self._first) * self.batch / seconds
        self._bar.update(self._task, completed=update, loss=loss, speed=speed)
        if self.shown and not self.console.is_terminal:
            left = (self.updates - update) * self.batch / max(speed, 1e-9)
            self.console.print(
                f"{self.title}: update {update}/{self.updates}, loss {loss:.4f}, {speed:.0f} samples/s, "
                f"{left:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )
