"""The event loop that a server runs on."""

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from typing import Any


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed (`segue[fast]`), whose turns cost less, and else on asyncio's own."""
    try:
        loops: Any = import_module("uvloop")
    except ImportError:
        loops = asyncio
    loops.run(main)
