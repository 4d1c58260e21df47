"""Cells of a comparison, with a policy that was trained for a moment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from rich.console import Console

from fakes.point_mass import SPEC, PointMass, demonstrations, recipe
from segue.errors import CheckpointError, SpecError, TimingError
from segue.lab import compare, results, sweep
from segue.lab.delays import Fixed
from segue.lab.results import CellResult
from segue.lab.sweep import FIRST_SEED, Cell, run_cells
from segue.lab.tasks.tasks import Task, task
from segue.methods.methods import METHODS, PREDICTED, PREDICTOR, method, objective
from segue.methods.parts import Parts, parts_of
from segue.training import checkpoint
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import train_policy

QUIET = Console(quiet=True)
POINT = Task("point", "a point mass", 0.1, 25, 8, 3, PointMass, demonstrations)


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> None:
    """The point mass as a task by the name ``point``."""
    for module in (sweep, compare):
        monkeypatch.setattr(module, "task", lambda name: POINT if name == "point" else task(name))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("plain", "legato"):
        train_policy(demonstrations(), recipe(), name, objective(name), run=folder / "seed-0", console=QUIET)
    few = PredictorTraining(updates=3, batch=8, most_steps=4)
    train_predictor(demonstrations(), few, run=folder / "seed-0" / PREDICTOR, width=8, console=QUIET)
    return folder


def cell(runs: Path, name: str = "naive", delay: int = 2, **settings: Any) -> Cell:
    chosen = method(name)
    predictor = runs / "seed-0" / PREDICTOR if chosen.predictor == "learned" else None
    made = Cell("point", chosen, runs / "seed-0" / chosen.policy, 0, Fixed(delay), 3, 3, predictor=predictor)
    return replace(made, **settings)


def without_time(row: CellResult) -> CellResult:
    columns = {name: column for name, column in row.episodes.items() if name != "inference_time"}
    return structs.replace(row, episodes=columns)


@pytest.mark.faults
def test_one_and_two_processes_give_the_same_numbers(tmp_path: Path) -> None:
    door = task("adroit-door")
    small = recipe(updates=4, horizon=16)
    train_policy(door.demonstrations(), small, "plain", objective("plain"), run=tmp_path, console=QUIET)
    cells = [
        Cell("adroit-door", method(name), tmp_path / "plain", 0, Fixed(4), 8, 2) for name in ("sync", "rtc-identity")
    ]
    one, two = (list(run_cells(cells, workers)) for workers in (1, 2))
    assert [without_time(row) for row in one] == [without_time(row) for row in two]
    for row in one:
        assert row.seeds == [FIRST_SEED, FIRST_SEED + 1]
        assert (row.delay, row.execution_horizon) == (4, 8)
        assert row.trace
        assert row.trace.worst_seam in row.trace.seams
        assert np.isfinite(row.trace.commands).all()
    assert one[0].episodes != one[1].episodes


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize(
    "name", [each.name for each in METHODS.values() if each.policy in ("plain", "legato") and not each.refines_actions]
)
def test_every_method_runs(runs: Path, name: str) -> None:
    [row] = run_cells([cell(runs, name)], workers=1)
    assert row.method == name
    assert all(len(column) == 3 for column in row.episodes.values())
    assert row.trace
    assert np.isfinite(row.trace.commands).all()


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize("family", ["diffusion", "regression"])
def test_policies_of_other_families_are_trained_and_run_beside_flow_policies(tmp_path: Path, family: str) -> None:
    if family == "diffusion":
        pytest.importorskip("diffusers")
    methods = (method("naive"), method(f"ensembling:policy={family}"))
    small = recipe(4, family_settings={"predicts": "velocity"})
    compared = compare.Comparison("point", methods, (Fixed(2),), small, 1, 2, 3)
    run = tmp_path / "seed-0"
    for name, trained in (("plain", "flow"), (family, family)):
        compare._train_quietly((compared, name, 0, run))
        info = checkpoint.load(run / name).info
        assert (info["family"], info["update"]) == (trained, 2 if trained == "flow" else 4)
    compare.train(compared, tmp_path, 1, QUIET)  # finds that all is there
    path = compare.evaluate(compared, [run], out=tmp_path, workers=1, command="segue eval", console=QUIET)
    assert [each.method for each in results.read(path).cells] == [each.name for each in methods]
    steering = cell(tmp_path, "legato", checkpoint=run / family)
    with pytest.raises(SpecError, match="--family flow"):
        list(run_cells([steering], workers=1))


@pytest.mark.usefixtures("point")
def test_a_longer_delay_raises_the_execution_horizon(runs: Path) -> None:
    rows = list(run_cells([cell(runs, delay=2), cell(runs, delay=4)], workers=1))
    assert [row.execution_horizon for row in rows] == [3, 4]


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"delay": 5}, TimingError, "horizon of at least 10"),
        ({"delay": 40}, TimingError, "horizon of at least 80"),
        ({"execution_horizon": 7}, TimingError, "at most 6 steps"),
        ({"execution_horizon": 0, "delay": 0}, TimingError, "whole control steps"),
        ({"task": "adroit-door"}, SpecError, "the task that it was trained for"),
        ({"checkpoint": Path("nowhere")}, CheckpointError, "no checkpoint in nowhere"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(
    runs: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    def never(_: Cell) -> None:
        raise AssertionError("a cell was run")

    monkeypatch.setattr(sweep, "run_cell", never)
    with pytest.raises(error, match=says):
        list(run_cells([cell(runs), cell(runs, **settings)], workers=1))


@pytest.mark.usefixtures("point")
def test_a_robot_that_waits_may_be_slow(runs: Path) -> None:
    """Waiting needs no overlap: d = 5 with s = 5 and H = 8."""
    assert len(list(run_cells([cell(runs, "sync", delay=5)], workers=1))) == 1


def test_policies_are_found_by_their_objective(runs: Path) -> None:
    found = parts_of(runs / "seed-0", [method("naive"), method("rtc"), method("legato")])
    plain, legato = (Parts(runs / "seed-0" / name) for name in ("plain", "legato"))
    assert found == {"naive": plain, "rtc": plain, "legato": legato}


def test_what_predicts_is_found_beside_its_predictor_and_apart_where_a_comparison_trained_it(
    runs: Path, tmp_path: Path
) -> None:
    learned, oracle = method("naive:predictor=learned"), method("naive:predictor=oracle")
    run = runs / "seed-0"
    assert parts_of(run, [learned, oracle]) == {
        learned.name: Parts(run / "plain", predictor=run / PREDICTOR), oracle.name: Parts(run / "plain"),
    }  # fmt: skip
    for name in ("plain", "legato", f"{PREDICTED}/plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(run / name.rpartition("/")[2])
    with pytest.raises(CheckpointError, match="predict with: naive:predictor=learned") as caught:
        parts_of(tmp_path, [oracle, learned])
    assert f"segue train-predictor TASK --out {tmp_path / PREDICTED / PREDICTOR}" in caught.value.change
    (tmp_path / PREDICTED / PREDICTOR).symlink_to(run / PREDICTOR)
    apart = tmp_path / PREDICTED
    assert parts_of(tmp_path, [learned, oracle]) == {
        learned.name: Parts(apart / "plain", predictor=apart / PREDICTOR), oracle.name: Parts(tmp_path / "plain"),
    }  # fmt: skip


def test_a_missing_policy_is_named_with_the_methods_that_need_it(runs: Path) -> None:
    with pytest.raises(CheckpointError, match="training-time-rtc") as caught:
        parts_of(runs / "seed-0", [method("naive"), method("training-time-rtc")])
    assert "--objective training-time-rtc" in caught.value.change


def comparison(updates: int = 8) -> compare.Comparison:
    methods = (method("naive"), method("legato"))
    return compare.Comparison("point", methods, (Fixed(0), Fixed(2)), recipe(updates), 1, 2, 3)


@pytest.mark.usefixtures("point")
def test_a_retrained_policy_is_what_is_evaluated(tmp_path: Path) -> None:
    """In one process, and in the same folder."""
    train_policy(demonstrations(), recipe(), "plain", objective("plain"), run=tmp_path, console=QUIET)
    [before] = run_cells([cell(tmp_path, checkpoint=tmp_path / "plain")], workers=1)
    other = demonstrations(seed=1)
    train_policy(other, recipe(), "plain", objective("plain"), run=tmp_path, seed=1, resume=False, console=QUIET)
    [after] = run_cells([cell(tmp_path, checkpoint=tmp_path / "plain")], workers=1)
    assert before.trace != after.trace


@pytest.mark.usefixtures("point")
def test_an_evaluation_states_the_budget_of_the_policies_that_it_ran(tmp_path: Path, runs: Path) -> None:
    """Not that of a recipe that is only configured."""
    path = compare.evaluate(
        comparison(updates=5000), [runs / "seed-0"], out=tmp_path, workers=1, command="segue eval", console=QUIET
    )
    content = results.read(path)
    assert content.budget["recipe"]["updates"] == 8
    assert content.budget["updates per policy"] == "8"
    assert [(each.delay, each.method) for each in content.cells] == [
        (0, "naive"), (0, "legato"), (2, "naive"), (2, "legato"),
    ]  # fmt: skip


@pytest.mark.usefixtures("point")
def test_policies_that_are_there_are_not_trained_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(compare, "train_policy", never)
    compare.train(comparison(), runs, 1, QUIET)
    with pytest.raises(AssertionError, match="trained again"):
        compare.train(comparison(updates=12), runs, 1, QUIET)


@pytest.mark.usefixtures("point")
def test_a_finished_policy_of_another_recipe_is_not_taken_for_this_one(runs: Path) -> None:
    small = comparison()
    other = replace(small, recipe=replace(small.recipe, relative=True))
    with pytest.raises(CheckpointError, match="relative"):
        compare.train(other, runs, 1, QUIET)


def test_the_point_mass_is_a_robot_that_keeps_to_the_rules() -> None:
    from segue.core.robot import check_robot

    check_robot(PointMass(SPEC))
