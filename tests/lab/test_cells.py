"""Cells by content: what is done is not done again, and nothing that differs is taken for the same."""

import hashlib
import json
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from segue.core.plugins import source_of
from segue.errors import CheckpointError, SpecError
from segue.lab import cells, sweep
from segue.lab.delays import Fixed, Jitter
from segue.lab.processes import Here
from segue.lab.results import CellResult, Motion, Number
from segue.lab.sweep import Cell
from segue.methods.methods import method
from segue.strategies.naive import Naive

QUIET = Console(quiet=True)


@dataclass(frozen=True)
class OwnStrategy(Naive):
    """Of a user."""


def name_of(cell: Cell) -> str:
    return cells.digest(cells.described(cell))


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    for name in ("plain", "other"):
        folder = tmp_path / name / "last"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(
            json.dumps(
                {
                    "sha256": {"policy.safetensors": name, "resume.safetensors": name},
                    "policy": {"width": 8},
                    "update": 4,
                }
            )
        )
    return Cell("push-t", method("naive"), tmp_path / "plain", 0, Fixed(4), 8, 10)


def test_a_name_is_a_function_of_the_content(cell: Cell) -> None:
    assert name_of(cell) == name_of(replace(cell))
    # What only names the cell in a table does not change what happens in it
    assert name_of(cell) == name_of(replace(cell, training_seed=1))
    assert name_of(cell) == name_of(replace(cell, execution_horizon=3 + 5))


def test_whatever_changes_an_episode_changes_the_name(cell: Cell, tmp_path: Path) -> None:
    others = [
        replace(cell, task="adroit-door"),
        replace(cell, method=method("rtc")),
        replace(cell, method=method("naive:scale=0.7")),
        replace(cell, method=method("naive:noise=carried")),
        replace(cell, method=method("naive-restart")),
        replace(cell, checkpoint=tmp_path / "other"),
        replace(cell, predictor=tmp_path / "other"),
        replace(cell, autoencoder=tmp_path / "other"),
        replace(cell, delay=Fixed(5)),
        replace(cell, delay=Jitter(4, 1)),
        replace(cell, slowdown=2.0),
        replace(cell, execution_horizon=9),
        replace(cell, episodes=11),
        replace(cell, first_seed=1),
    ]
    assert len({name_of(each) for each in (cell, *others)}) == 1 + len(others)


def test_a_policy_is_its_configuration_and_its_weights(cell: Cell, tmp_path: Path) -> None:
    """Not what it would be resumed with, nor where it lies."""
    file, before = tmp_path / "plain" / "last" / "config.json", name_of(cell)
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, "sha256": {"policy.safetensors": "plain"}, "update": 5}))
    (tmp_path / "plain").rename(tmp_path / "elsewhere")
    assert name_of(replace(cell, checkpoint=tmp_path / "elsewhere")) == before
    (tmp_path / "elsewhere" / "last" / "config.json").write_text(json.dumps({**info, "policy": {"width": 9}}))
    assert name_of(replace(cell, checkpoint=tmp_path / "elsewhere")) != before


def test_weights_of_before_their_hash_was_noted_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        cells.of_weights(tmp_path)
    (tmp_path / "policy.safetensors").write_bytes(b"weights")
    assert cells.of_weights(tmp_path) == {"sha256": hashlib.sha256(b"weights").hexdigest()}


def test_a_method_or_a_task_of_somebody_else_is_known_by_its_file(cell: Cell) -> None:
    own = replace(cell.method, strategy=OwnStrategy())
    assert cells.described(cell)["foreign"] == []
    assert cells.described(replace(cell, method=own))["foreign"] == [source_of(OwnStrategy)]


def result(cell: Cell, number: int) -> CellResult:
    trace = Motion(**cell.key, seed=number, commands=[[0.1]], measured=[[0.0]], seams=[])
    columns: dict[str, list[Number]] = {"seed": [number], "success": [1.0], "score": [None]}
    return CellResult(**cell.key, horizon=8, execution_horizon=3, episodes=columns, trace=trace)


@pytest.fixture
def rolled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Delays of the cells that are rolled out."""
    done: list[int] = []

    def run_cell(cell: Cell) -> CellResult:
        done.append(cell.delay.typical)
        if cell.delay.typical == 13:
            raise SpecError("thirteen", "", "")
        return result(cell, cell.delay.typical)

    monkeypatch.setattr(cells, "run_cell", run_cell)
    monkeypatch.setattr(sweep, "check", lambda _: None)
    return done


def test_only_what_is_missing_is_rolled_out(cell: Cell, tmp_path: Path, rolled: list[int]) -> None:
    wanted, folder = [replace(cell, delay=Fixed(delay)) for delay in (4, 5, 6)], tmp_path / "cells"
    interrupted = cells.run(wanted, Here(), folder, QUIET)
    first = [next(interrupted), next(interrupted)]
    interrupted.close()
    assert list(cells.run(wanted, Here(), folder, QUIET)) == [*first, (2, result(wanted[2], 6))]
    assert rolled == [4, 5, 6]


def test_what_a_cell_raises_is_said_once_with_the_cell(cell: Cell, tmp_path: Path, rolled: list[int]) -> None:
    screen = Console(file=StringIO(), width=200)
    wanted = [replace(cell, delay=Fixed(delay)) for delay in (4, 13, 6)]
    with pytest.raises(SpecError, match="thirteen"):
        list(cells.run(wanted, Here(), tmp_path / "cells", screen))
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue() == "failed: push-t, method naive, delay 13, training_seed 0\n"
    assert rolled == [4, 13]
    assert len(list((tmp_path / "cells").glob("*.json"))) == 1


def test_a_kept_result_takes_the_place_of_the_cell_that_asks(cell: Cell, tmp_path: Path, rolled: list[int]) -> None:
    list(cells.run([cell], Here(), tmp_path, QUIET))
    moved = replace(cell, training_seed=2)
    assert list(cells.run([moved], Here(), tmp_path, QUIET)) == [(0, result(moved, 4))]
    assert rolled == [4]


def test_a_file_says_what_it_is_and_how_long_it_took(cell: Cell, tmp_path: Path, rolled: list[int]) -> None:
    list(cells.run([cell], Here(), tmp_path, QUIET))
    [file] = tmp_path.glob("*.json")
    content = json.loads(file.read_text())
    assert content["description"] == cells.described(cell)
    assert content["description"]["delay"] == {"model": "Fixed", "steps": 4, "slowdown": 1.0}
    assert content["result"]["episodes"]["success"] == [1.0]
    assert content["seconds"] >= 0
    assert file.name == f"{name_of(cell)[:32]}.json"


def test_another_file_under_the_name_is_not_taken(cell: Cell, tmp_path: Path, rolled: list[int]) -> None:
    other = replace(cell, delay=Fixed(5))
    list(cells.run([other], Here(), tmp_path, QUIET))
    [file] = tmp_path.glob("*.json")
    file.rename(cells.file_of(tmp_path, cells.described(cell)))
    assert list(cells.run([cell], Here(), tmp_path, QUIET)) == [(0, result(cell, 4))]
    assert rolled == [5, 4]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"text"', "{}", "changed"])
def test_damaged_files_are_said_and_computed_again(cell: Cell, tmp_path: Path, content: str, rolled: list[int]) -> None:
    list(cells.run([cell], Here(), tmp_path, QUIET))
    [file] = tmp_path.glob("*.json")
    file.write_text(file.read_text().replace('"success":[1.0]', '"success":[0.0]') if content == "changed" else content)
    screen = Console(file=StringIO(), width=200)
    assert list(cells.run([cell], Here(), tmp_path, screen)) == [(0, result(cell, 4))]
    assert isinstance(screen.file, StringIO)
    assert f"{file.name} is damaged: computed again" in screen.file.getvalue()
    assert list(cells.run([cell], Here(), tmp_path, QUIET)) == [(0, result(cell, 4))]
    assert rolled == [4, 4]
