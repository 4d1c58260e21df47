"""What a training command learns from: a task's own demonstrations, or the user's."""

from pathlib import Path

from segue.data import files
from segue.data.episodes import Episodes
from segue.envs import tasks
from segue.errors import DataError


def demonstrations(
    command: str,
    task: str | None,
    data: Path | None,
    *,
    rate: float | None = None,
    state: str | None = None,
    cameras: tuple[str, ...] = (),
) -> tuple[Episodes, str]:
    """Demonstrations, and the name of their folder in runs.

    Args:
        command: Of `segue`, for what is said about wrong arguments.
        task: Name of a task; None for ``data``.
        data: File or folder; None for ``task``.
        rate: As in `segue.data.files.load`.
        state: The same.
        cameras: The same.

    Raises:
        DataError: Neither or both are given, they cannot be used, or a task is given options of data.
        UnknownNameError: No such task.
    """
    if task is not None and data is None:
        if rate is not None or state is not None or cameras:
            raise DataError(
                got=f"--rate, --state or --cameras with the task {task}",
                expected="these options with --data only",
                change="leave them out: a task's demonstrations have a rate, a state, and cameras or none",
            )
        return tasks.task(task).demonstrations(), task
    if data is not None and task is None:
        return files.load(data, rate=rate, state=state, cameras=cameras), data.stem
    raise DataError(
        got="a task and data" if task else "neither a task nor data",
        expected="either a task with demonstrations of its own, or --data with yours",
        change=f"segue {command} adroit-door, or segue {command} --data mine.npz",
    )
