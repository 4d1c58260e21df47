"""Tutorials and notebooks: every block runs, in its order, in an empty folder.

    ```sh                            run, line by line
    ```python title="name.py"        written into a file of that name
    ```python                        run
    ```sh title="not run ..."        read by the command line, not run: the title says why

Lines that begin with `segue` or `python` run in this process, because to start torch anew for each of them would take
most of the time; everything else, and what is to go on in the background, is left to bash.
"""

import json
import os
import re
import runpy
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.doc_pages import DOCS, DOORS, FENCED, ROOT, TUTORIALS, Block, commands, fenced, parse
from segue.cli import app
from segue.robot import Wish
from segue.trace.file import read

OWN_ROBOT, OWN_METHOD, OPENPI = (DOCS / "doors" / f"{name}.md" for name in ("own-robot", "own-method", "openpi"))
COMPARE = DOCS / "compare.md"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
RUNNER = runpy.run_path(str(DOCS / "_site" / "notebooks.py"))
NOT_RUN = "not run by the tests: "


class Folder:
    """A folder in which somebody follows a page.

    Args:
        path: The folder.
        background: Processes that lines with ``&`` started, the last one is ``$!``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.background: list[subprocess.Popen[bytes]] = []

    def line(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        if words == ["kill", "$!"]:
            self.end()
        elif words and words[-1] == "&":
            argv = [sys.executable, "-m", "segue"] if words[0] == "segue" else words[:1]
            self.background.append(subprocess.Popen([*argv, *words[1:-1]]))
        elif words and words[0] == "segue":
            program(words)
        elif words[:2] == ["python", "-m"]:
            subprocess.run([sys.executable, *words[1:]], check=True)
        elif words and words[0] == "python":
            script(words[1:])
        elif words:
            subprocess.run(["bash", "-e", "-c", line], check=True)

    def end(self) -> None:
        for process in self.background:
            process.terminate()
            process.wait(timeout=60)
        self.background.clear()


def program(words: list[str]) -> None:
    sys.argv = words
    status: Any = 0
    try:
        app.main()
    except SystemExit as end:
        status = end.code
    assert not status, words


def script(words: list[str]) -> None:
    """Run a script as `python` does: its own folder comes first on the path, and its neighbours are read anew."""
    sys.argv = words
    before = set(sys.modules)
    sys.path.insert(0, str(Path.cwd()))
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.path.pop(0)
        for name in set(sys.modules) - before:
            if str(Path.cwd()) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", sys.argv)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    place = Folder(tmp_path)
    yield place
    place.end()


def follow(block: Block, folder: Folder) -> None:
    if block.title.startswith(NOT_RUN):
        return
    if block.language == "sh":
        for line in block.code.replace("\\\n", " ").splitlines():
            folder.line(line)
    elif block.language in ("python", "toml") and block.title:
        (folder.path / block.title).write_text(block.code)
    elif block.language == "python":
        (folder.path / "block.py").write_text(block.code)
        script(["block.py"])


@pytest.mark.pages
@pytest.mark.parametrize("page", [*TUTORIALS, OWN_METHOD, COMPARE], ids=lambda page: page.stem)
def test_a_tutorial_runs_from_top_to_bottom(page: Path, folder: Folder) -> None:
    for block in fenced(page):
        follow(block, folder)


@pytest.mark.pages
def test_the_door_to_a_robot_of_ones_own_is_five_commands_that_run(folder: Folder) -> None:
    shutil.copy(ROOT / "examples" / "my_arm.py", folder.path)
    for block in fenced(OWN_ROBOT):
        follow(block, folder)
    [trace] = folder.path.glob("runs/my-arm/run/*/trace")
    ticks = read(trace).ticks
    assert len(ticks) > 0
    assert np.abs(ticks["action"][:, 0]).max() <= 1.5


@pytest.mark.pages
def test_the_door_to_openpi_runs_against_its_stand_in(folder: Folder) -> None:
    shutil.copy(ROOT / "examples" / "my_arm.py", folder.path)
    limits = [block for block in fenced(OWN_ROBOT) if block.title == "arm.toml"]
    for block in [*limits, *fenced(OPENPI)]:
        follow(block, folder)
    [trace] = folder.path.glob("runs/my-arm/run/*/trace")
    assert read(trace).ticks["action"][-1] == pytest.approx([0.5, 0.5], abs=0.4)  # from 0, the goal is at 0.5


def test_a_pedal_of_the_page_makes_wishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of Linux: time, kind, code, value; a synchronisation, a key pressed, and released."""
    [code] = [block.code for block in fenced(OWN_ROBOT) if block.title == "pedal.py"]
    events = [struct.pack("qqHHi", 1, 2, *event) for event in ((0, 0, 0), (1, 48, 1), (1, 48, 0), (1, 48, 1))]
    (tmp_path / "event7").write_bytes(b"".join(events))
    names: dict[str, Any] = {}
    exec(code.replace("/dev/input", str(tmp_path)), names)
    assert list(names["wishes"]()) == [Wish.HOLD, Wish.HOLD]


@pytest.mark.parametrize("page", [*TUTORIALS, *DOORS], ids=lambda page: page.stem)
def test_what_is_not_run_says_so_and_exists(page: Path) -> None:
    for block in fenced(page):
        if block.language == "sh" and block.title:
            assert block.title.startswith(NOT_RUN), block.title
    for words in commands(page, "segue"):
        if len(words) > 1:
            parse(words)


@pytest.mark.parametrize("page", DOORS, ids=lambda page: page.stem)
def test_a_door_takes_at_most_five_commands(page: Path) -> None:
    """A page may have another way in under a heading of its own; each takes at most five."""
    counts = []
    for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        code = "".join(code.replace("\\\n", " ") for language, _, code in FENCED.findall(part) if language == "sh")
        counts.append(len(re.findall(r"^[^#\n]", code, re.MULTILINE)))
    assert sum(counts) >= 1
    assert max(counts) <= 5


def test_the_files_of_the_door_for_own_methods_are_the_examples() -> None:
    blocks = {block.title: block.code for block in fenced(OWN_METHOD)}
    for name in ("my_method.py", "my_task.py"):
        assert blocks[name] == (DOCS.parent / "examples" / name).read_text()


def test_a_line_that_fails_would_be_noticed(folder: Folder) -> None:
    with pytest.raises(AssertionError):
        folder.line("segue check nowhere.npz")
    with pytest.raises(subprocess.CalledProcessError):
        folder.line("cat nowhere.txt")
    follow(Block("python", "fails.py", "raise RuntimeError('noticed')\n"), folder)
    with pytest.raises(RuntimeError, match="noticed"):
        folder.line("python fails.py")


def read_notebook(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def came_out(notebook: dict[str, Any]) -> list[str]:
    """What the cells say and draw, without numbers, which other processors and versions round otherwise."""
    outputs = [each for cell in notebook["cells"] for each in cell.get("outputs", [])]
    texts = ["".join(each.get("text", ["a picture"])) for each in outputs]
    return [re.sub(r"better|worse|level|[-+−]?[\d.,–]+|[─\s]+", " ", text) for text in texts]


@pytest.mark.pages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.usefixtures("folder")
def test_a_notebook_runs_from_top_to_bottom_and_says_what_it_is_kept_with(path: Path) -> None:
    assert came_out(RUNNER["executed"](path)) == came_out(read_notebook(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_what_came_out_of_its_code_and_nothing_of_a_machine(path: Path) -> None:
    notebook = read_notebook(path)
    assert notebook["nbformat"] == 4
    assert notebook["metadata"]["ran"] == RUNNER["digest"](notebook), "python docs/_site/notebooks.py runs it anew"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    said = "".join("".join(each.get("text", [])) for cell in code for each in cell["outputs"])
    assert len(said) > 50
    assert not re.search(r"samples/s|\d s\b|(^|[\s'\"])(/|~|[A-Z]:\\)\w", said)
    assert re.match(r"# \S", "".join(notebook["cells"][0]["source"]))


def test_notebooks_are_small() -> None:
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 300_000


def test_the_speed_of_a_machine_and_its_folders_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = ("a: update 2/2, loss 1.0, 9 samples/s, 0 s left", "a: about 3 s left for 2 updates", str(tmp_path / "runs"))
    cell = {"cell_type": "code", "source": [f"print({line!r})\n" for line in said]}
    (tmp_path / "one.ipynb").write_text(json.dumps({"metadata": {}, "cells": [cell]}))
    [ran] = RUNNER["executed"](tmp_path / "one.ipynb")["cells"]
    assert [each["text"] for each in ran["outputs"]] == [["runs\n"]]
