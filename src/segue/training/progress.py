"""Shows the progress of a training: a bar in a terminal, plain lines elsewhere, and early on how long it will take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SHOW_EVERY = 100
"""Updates between lines where there is no terminal, and between rows of the curve."""
_SOON, _SILENT = 2.0, 60.0  # seconds after which it is said how long all takes, and after which a line comes anyway


@contextmanager
def training_progress(
    title: str,
    updates: int,
    batch: int,
    console: Console,
    *,
    first: int = 0,
    shown: bool = True,
    later: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[int, float], None]]:
    """Give a function that is told the loss after each update (counted from 1), and shows it with the time left.

    The first update, which finds its ways and fills its memory, does not count for the time that the others take.

    Args:
        title: Shown in front.
        updates: Total.
        batch: Samples per update.
        console: Where to write.
        first: Updates done before, by the run that is resumed.
        shown: False on all processes but the first.
        later: Updates of the stages that follow.
        clock: Seconds, from any beginning.
    """
    began = said = clock()
    lines, estimated = shown and not console.is_terminal, False
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
        nonlocal began, said, estimated
        now, counted = clock(), update - first - 1
        if counted <= 0:
            each, began = max(now - began, 1e-9), now
        else:
            each = max(now - began, 1e-9) / counted
        speed = batch / each
        bar.update(task, completed=update, loss=loss, speed=speed)
        if shown and not estimated and counted >= 2 and now - began >= _SOON:
            estimated = True
            left = f"{title}: about {duration((updates - update) * each)} left for {updates - update} updates"
            all_of_it = f", {duration((updates - update + later) * each)} with those that follow" if later else ""
            console.print(left + all_of_it, highlight=False, soft_wrap=True)
        if lines and (update % SHOW_EVERY == 0 or update == updates or now - said >= _SILENT):
            said = now
            console.print(
                f"{title}: update {update}/{updates}, loss {loss:.4f}, {speed:.0f} samples/s, "
                f"{(updates - update) * each:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )

    with bar:
        yield show


def duration(seconds: float) -> str:
    """Say seconds as a person would: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
