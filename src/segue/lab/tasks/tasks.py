"""The tasks by name."""

from segue.errors import UnknownNameError
from segue.lab.tasks import adroit_door, metaworld_demonstrations, push_t, push_t_pixels
from segue.lab.tasks.contact import board_writing, peeling, wipe
from segue.lab.tasks.task import Task

_ALL = (
    adroit_door.TASK,
    push_t.TASK,
    push_t_pixels.TASK,
    wipe.TASK,
    board_writing.TASK,
    peeling.TASK,
    *metaworld_demonstrations.TASKS,
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def names() -> list[str]:
    """All tasks."""
    return list(TASKS)


def task(name: str) -> Task:
    """A task by its name.

    Raises:
        UnknownNameError: There is no such task; the message lists what exists and the closest name.
    """
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]
