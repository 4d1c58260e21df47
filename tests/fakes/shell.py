"""The command line as a shell runs it."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from segue.cli import app

Segue: TypeAlias = Callable[..., tuple[int, str, str]]


def segue_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Segue:
    """Run the entry point; exit status, what was said, and what was complained about."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["segue", *map(str, arguments)])
        status: Any = 0
        try:
            app.main()
        except SystemExit as end:
            status = end.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return run
