"""Where commands write, and what the user typed."""

import sys

from rich.console import Console

console = Console()


def command_line() -> str:
    """What the user typed, for results and traces."""
    return " ".join(["segue", *sys.argv[1:]])
