"""Pages whose blocks are written by a script, between markers: ``<!-- KIND:NAME -->`` and ``<!-- /KIND:NAME -->``."""

import re
import sys
from collections.abc import Callable
from pathlib import Path


def names(page: str, kind: str) -> list[str]:
    """Names of the marked blocks of a kind, in their order."""
    return [found["name"] for found in _marked(kind).finditer(page)]


def filled(page: str, kind: str, block: Callable[[str], str]) -> str:
    """A page with every marked block of a kind written again, from its name."""
    return _marked(kind).sub(lambda found: found[1] + block(found["name"]) + found[3], page)


def update(path: Path, after: str, *, check: bool, source: Path) -> None:
    """Write a page that has changed and say so; with ``check``, change nothing and exit with status 1 instead."""
    if after == path.read_text():
        return
    if check:
        print(f"{path} is not what {source} says; change: python {sys.argv[0]}")
        sys.exit(1)
    path.write_text(after)
    print(f"{path} written")


def _marked(kind: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {kind}:(?P<name>\S+) -->\n).*?(<!-- /{kind}:(?P=name) -->)", re.DOTALL)
