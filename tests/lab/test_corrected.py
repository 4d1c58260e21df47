"""A comparison with methods that correct: what is trained, what runs, and what is kept of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fakes.point_mass import PointMass, demonstrations, recipe
from segue.errors import CheckpointError
from segue.lab import cells, compare, results, sweep
from segue.lab.delays import Fixed
from segue.lab.tasks.tasks import Task, task
from segue.methods.methods import methods
from segue.methods.parts import parts_of
from segue.training.correction.residual import CorrectionTraining

QUIET = Console(quiet=True)
POINT = Task("point", "a point mass", 0.1, 25, 8, 3, PointMass, demonstrations)


@pytest.fixture(autouse=True)
def point(monkeypatch: pytest.MonkeyPatch) -> None:
    """The point mass as a task by the name ``point``."""
    for module in (sweep, compare):
        monkeypatch.setattr(module, "task", lambda name: POINT if name == "point" else task(name))


@pytest.mark.faults
def test_a_bench_trains_the_correction_of_each_policy_after_it_and_runs_with_it(tmp_path: Path) -> None:
    rows = methods("naive,a2c2,legato:correction=learned,remac,vlash")
    few = CorrectionTraining(updates=3, batch=16, warmup=1, learning_rate=0.05)
    compared = compare.Comparison(
        "point", tuple(rows), (Fixed(2),), replace(recipe(4), relative=True), 1, 2, 3, correction=few
    )
    compare.train(compared, tmp_path, 1, QUIET)
    run = tmp_path / "seed-0"
    found = parts_of(run, rows)
    assert [found[each.name].correction for each in rows] == [
        None, run / "correction" / "plain", run / "correction" / "legato", None, None,
    ]  # fmt: skip
    compare.train(compared, tmp_path, 1, QUIET)  # finds that all is there
    path = compare.evaluate(compared, [run], out=tmp_path, workers=1, command="segue bench", console=QUIET)
    read = results.read(path)
    assert [each.method for each in read.cells] == [each.name for each in rows]
    naive, corrected = (each.episodes["jerk_command"] for each in read.cells[:2])
    assert naive != corrected
    assert read.budget["updates per correction"] == 3


def test_a_cell_is_a_function_of_its_correction(tmp_path: Path) -> None:
    rows = methods("naive,a2c2")
    few = CorrectionTraining(updates=1, batch=16)
    compared = compare.Comparison("point", tuple(rows), (Fixed(2),), recipe(4), 1, 2, 3, correction=few)
    with pytest.raises(CheckpointError, match="segue train"):
        parts_of(tmp_path / "seed-0", rows)
    compare.train(replace(compared, methods=(rows[0],)), tmp_path, 1, QUIET)
    with pytest.raises(CheckpointError, match="segue train-correction TASK"):
        parts_of(tmp_path / "seed-0", rows)
    compare.train(compared, tmp_path, 1, QUIET)
    naive, corrected = compare.cells_of(compared, [tmp_path / "seed-0"], {0: [(each, Fixed(2)) for each in rows]})
    assert "correction" not in cells.described(naive)
    assert cells.described(corrected)["correction"]["format"] == "segue/correction/1"
