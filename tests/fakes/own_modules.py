"""A module of a user's in the current folder, of which nothing is left after a test."""

import sys
from pathlib import Path

import pytest


def written(name: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a module into a folder and go there."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (folder / f"{name}.py").write_text(code)
