"""Shows the progress of a training: a bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def training_progress(
    title: str, updates: int, batch: int, console: Console, *, first: int = 0, shown: bool = True
) -> Iterator[Callable[[int, float], None]]:
    """Give a function that shows loss, samples per second and time left after an update (counted from 1).

    Args:
        title: Shown in front.
        updates: Total.
        batch: Samples per update.
        console: Where to write.
        first: Updates done before, by the run that is resumed.
        shown: False on all processes but the first.
    """
    started, lines = time.monotonic(), shown and not console.is_terminal
    bar = Progress(
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
    task = bar.add_task(title, total=updates, loss=float("nan"), speed=0.0)

    def show(update: int, loss: float) -> None:
        speed = (update - first) * batch / max(time.monotonic() - started, 1e-9)
        bar.update(task, completed=update, loss=loss, speed=speed)
        if lines:
            console.print(
                f"{title}: update {update}/{updates}, loss {loss:.4f}, {speed:.0f} samples/s, "
                f"{(updates - update) * batch / max(speed, 1e-9):.0f} s left",
                highlight=False,
                soft_wrap=True,
            )

    with bar:
        yield show
