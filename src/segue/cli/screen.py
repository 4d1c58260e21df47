"""Where commands write, and what the user typed."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

    from segue.safety.limits import JointLimits

console = Console()
complaints = Console(stderr=True)


def command_line() -> str:
    """What the user typed, for results and traces."""
    return " ".join(["segue", *sys.argv[1:]])


def limits_table(limits: "JointLimits") -> "Table":
    """What every joint may do."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("limits", "unit", "position", "velocity", "acceleration", "jerk")
    ranges = (f"{low:.4g} to {high:.4g}" for low, high in zip(limits.low, limits.high, strict=True))
    most = zip(limits.velocity, limits.acceleration, limits.jerk, strict=True)
    for name, unit, reach, rest in zip(limits.names, limits.units, ranges, most, strict=True):
        table.add_row(escape(name), unit, reach, *(f"{each:.4g}" for each in rest))
    return table
