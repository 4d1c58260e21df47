"""Cells that are kept: what is done is not done again, and nothing that differs is taken for the same."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segue.lab import kept
from segue.lab.delays import Fixed, Jitter
from segue.lab.results import CellResult, Motion
from segue.lab.sweep import Cell
from segue.methods.methods import method


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    for name in ("plain", "other"):
        folder = tmp_path / name / "last"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"sha256": {"policy.safetensors": name}}))
    return Cell("push-t", method("naive"), tmp_path / "plain", 0, Fixed(4), 8, 10)


def test_a_name_is_a_function_of_the_content(cell: Cell) -> None:
    assert kept.name_of(cell) == kept.name_of(replace(cell))
    # What only names the cell in a table does not change what happens in it
    assert kept.name_of(cell) == kept.name_of(replace(cell, training_seed=1))
    assert kept.name_of(cell) == kept.name_of(replace(cell, execution_horizon=3 + 5))


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
    assert len({kept.name_of(each) for each in (cell, *others)}) == 1 + len(others)


def result(cell: Cell, number: int) -> CellResult:
    trace = Motion(**cell.key, seed=number, commands=[[0.1]], measured=[[0.0]], seams=[])
    return CellResult(**cell.key, horizon=8, execution_horizon=3, episodes={"seed": [number]}, trace=trace)


def test_only_what_is_missing_is_rolled_out(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, done = [cell, replace(cell, delay=Fixed(5)), replace(cell, delay=Fixed(6))], list[int]()

    def rolled(wanted: list[Cell], workers: int):
        for each in wanted:
            done.append(each.delay.typical)
            yield result(each, each.delay.typical)

    monkeypatch.setattr(kept, "run_cells", rolled)
    folder = tmp_path / "cells"
    interrupted = kept.run(cells, 1, folder)
    first = [next(interrupted), next(interrupted)]
    interrupted.close()
    assert list(kept.run(cells, 1, folder)) == [*first, result(cells[2], 6)]
    assert done == [4, 5, 6]


def test_a_kept_result_takes_the_place_of_the_cell_that_asks(cell: Cell, tmp_path: Path) -> None:
    kept.write(tmp_path, cell, result(cell, 4))
    moved = replace(cell, training_seed=2)
    found = kept.read(tmp_path, moved)
    assert found is not None
    assert found == result(moved, 4)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"text"', "{}"])
def test_damaged_files_are_as_missing(cell: Cell, tmp_path: Path, content: str) -> None:
    (tmp_path / kept.name_of(cell)).write_text(content)
    assert kept.read(tmp_path, cell) is None
