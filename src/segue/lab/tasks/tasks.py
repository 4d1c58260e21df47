"""The tasks by name, and those of others: ``gymnasium:ID``, ``module:TASK``, and the short names of packages."""

from dataclasses import replace

from segue.core import plugins
from segue.errors import SpecError, UnknownNameError
from segue.lab.tasks import adroit_door, adroit_pen, gymnasium_task, metaworld_demonstrations, push_t, push_t_pixels
from segue.lab.tasks.contact import board_writing, peeling, wipe
from segue.lab.tasks.task import Task

_ALL = (
    adroit_door.TASK,
    adroit_pen.TASK,
    push_t.TASK,
    push_t_pixels.TASK,
    wipe.TASK,
    board_writing.TASK,
    peeling.TASK,
    *metaworld_demonstrations.TASKS,
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
GROUP = "segue.tasks"
"""Entry points with which a package adds tasks."""


def names() -> list[str]:
    """All tasks that have a short name."""
    return [*TASKS, *plugins.installed(GROUP)]


def task(name: str) -> Task:
    """A task by its name.

    Args:
        name: One of `names`; ``gymnasium:ID``, see `segue.lab.tasks.gymnasium_task`; or ``module:TASK``, a `Task`
            of the user's own, or a function that makes one.

    Raises:
        UnknownNameError: There is no such task; the message lists what exists and the closest name.
        SpecError: There is no such module, or what it has there is no task.
    """
    if name in TASKS:
        return TASKS[name]
    if name.startswith(gymnasium_task.PREFIX):
        return gymnasium_task.task(name)
    if name not in plugins.installed(GROUP) and ":" not in name:
        own = "my_module:TASK, in the current folder or installed, or gymnasium:ID"
        raise UnknownNameError("task", name, names(), own, "`segue list`")
    what = f"the task {name!r}"
    found = plugins.named(GROUP, name, what)
    if not isinstance(found, Task):
        found = plugins.made(found, name, "task") if callable(found) else found
    if not isinstance(found, Task):
        raise SpecError(
            got=f"{what}, which is {type(found).__name__}",
            expected="a Task (`from segue.lab import Task`), or a function that makes one",
            change="name another object of the module",
        )
    return replace(found, name=name, code=(*found.code, found.simulator))
