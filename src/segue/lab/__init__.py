"""The laboratory in one import: tasks, rollouts in virtual time, comparisons, statistics, reports.

    from segue.lab import Comparison, compare_methods, roll_out, task

Needs ``segue[lab]``. The names are imported when they are first used: a table needs no simulator.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.lab.compare import Comparison
    from segue.lab.compare import run as compare_methods
    from segue.lab.delays import Fixed
    from segue.lab.recipes import recipe_for
    from segue.lab.report.table import console as console_table
    from segue.lab.report.table import summarise
    from segue.lab.results import read as read_results
    from segue.lab.rollout import Scales, Timing
    from segue.lab.rollout import rollout as roll_out
    from segue.lab.tasks.tasks import task

_HOME = {
    "Comparison": "compare.Comparison",
    "Fixed": "delays.Fixed",
    "Scales": "rollout.Scales",
    "Timing": "rollout.Timing",
    "compare_methods": "compare.run",
    "console_table": "report.table.console",
    "read_results": "results.read",
    "recipe_for": "recipes.recipe_for",
    "roll_out": "rollout.rollout",
    "summarise": "report.table.summarise",
    "task": "tasks.tasks.task",
}

__all__ = [
    "Comparison",
    "Fixed",
    "Scales",
    "Timing",
    "compare_methods",
    "console_table",
    "read_results",
    "recipe_for",
    "roll_out",
    "summarise",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOME[name].rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
