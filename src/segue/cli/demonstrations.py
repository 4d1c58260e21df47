"""What a training command learns from: a task's own demonstrations, or the user's."""

from pathlib import Path

from segue.cli.reading import Reading
from segue.data.episodes import Episodes
from segue.errors import DataError
from segue.lab.tasks import tasks


def demonstrations(command: str, task: str | None, data: Path | None, reading: Reading) -> tuple[Episodes, str]:
    """Demonstrations, and the name of their folder in runs.

    Args:
        command: Of `segue`, for what is said about wrong arguments.
        task: Name of a task; None for ``data``.
        data: File or folder; None for ``task``.
        reading: How ``data`` is read.

    Raises:
        DataError: Neither or both are given, they cannot be used, or a task is given options of data.
        UnknownNameError: No such task.
    """
    if task is not None and data is None:
        if reading.given:
            raise DataError(
                got=f"{', '.join(reading.given)} with the task {task}",
                expected="these options with --data only",
                change="leave them out: a task's demonstrations have a rate, a state, and cameras or none",
            )
        return tasks.task(task).demonstrations(), task
    if data is not None and task is None:
        return reading.load(data), data.stem
    raise DataError(
        got="a task and data" if task else "neither a task nor data",
        expected="either a task with demonstrations of its own, or --data with yours",
        change=f"segue {command} adroit-door, or segue {command} --data mine.npz",
    )
