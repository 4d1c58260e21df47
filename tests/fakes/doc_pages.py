"""The documentation's pages, and what is in them: code, commands, links."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import typer.main

from segue.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
DOORS = sorted((DOCS / "doors").glob("*.md"))
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "results").glob("*.md")),
    *TUTORIALS,
    *DOORS,
    *sorted((DOCS / "help").glob("*.md")),
]
FENCED = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
# Typer's groups are click's in some versions and its own in others: what is used here is the same in both.
COMMANDS: Any = typer.main.get_command(app)


class Block(NamedTuple):
    """A fenced block: its language, what stands above it, its lines."""

    language: str
    title: str
    code: str


def fenced(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCED.findall(page.read_text())]


def blocks(page: Path, language: str) -> list[str]:
    return [block.code for block in fenced(page) if block.language == language]


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def commands(page: Path, program: str) -> list[list[str]]:
    """Command lines of a program in the page's shell blocks and its running text, as words.

    Those of results stay as they were: they are of the commit that is named behind them.
    """
    whole = [block.replace("\\\n", " ") for block in blocks(page, "sh")]
    lines = [line.removesuffix(" &") for block in whole for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`(?! at commit)", prose(page))
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(program + " ")]
    return [each[1:] for each in words]


def parse(words: list[str]) -> None:
    """Read the words as the command line would, without running anything; raises for what does not exist."""
    unread = patch("segue.cli.settings.read", lambda file: {})
    with unread, patch("segue.data.kept.hub.local", lambda path, *_: path):  # what a page names need not be here
        COMMANDS.commands[words[0]].make_context(words[0], words[1:])


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
