"""The laboratory in one import: tasks, rollouts in virtual time, comparisons, statistics, reports.

    from segue.lab import Comparison, compare_methods, roll_out, task

Needs ``segue[lab]``. The names are imported when they are first used: a table needs no simulator.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.lab.compare import Comparison, evaluate
    from segue.lab.compare import run as compare_methods
    from segue.lab.delays import Fixed
    from segue.lab.recipes import recipe_for
    from segue.lab.report.film import film
    from segue.lab.report.page import write_report
    from segue.lab.report.table import console as console_table
    from segue.lab.report.table import summarise
    from segue.lab.results import read as read_results
    from segue.lab.rollout import Scales, Timing
    from segue.lab.rollout import rollout as roll_out
    from segue.lab.tasks.task import Group, Task
    from segue.lab.tasks.tasks import task

_HOME = {
    "Comparison": "compare.Comparison",
    "Fixed": "delays.Fixed",
    "Group": "tasks.task.Group",
    "Scales": "rollout.Scales",
    "Task": "tasks.task.Task",
    "Timing": "rollout.Timing",
    "compare_methods": "compare.run",
    "console_table": "report.table.console",
    "evaluate": "compare.evaluate",
    "film": "report.film.film",
    "read_results": "results.read",
    "recipe_for": "recipes.recipe_for",
    "roll_out": "rollout.rollout",
    "summarise": "report.table.summarise",
    "task": "tasks.tasks.task",
    "write_report": "report.page.write_report",
}

__all__ = [
    "Comparison",
    "Fixed",
    "Group",
    "Scales",
    "Task",
    "Timing",
    "compare_methods",
    "console_table",
    "evaluate",
    "film",
    "read_results",
    "recipe_for",
    "roll_out",
    "summarise",
    "task",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOME[name].rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
