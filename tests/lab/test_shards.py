"""A bench that is interrupted, extended, run in parts, or again: every cell once, and the same results."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, structs
from rich.console import Console

from fakes.point_mass import PointMass, demonstrations, recipe
from segue.errors import DataError, SegueError, SpecError
from segue.lab import cells, compare, results, sweep
from segue.lab.delays import Fixed, Jitter
from segue.lab.forecast import forecast
from segue.lab.report import table
from segue.lab.report.page import write_report
from segue.lab.results import CellResult, Place, Results
from segue.lab.shards import Shard, merge
from segue.lab.sweep import Cell
from segue.lab.tasks.tasks import Task
from segue.methods.methods import method
from segue.training.predictor import PredictorTraining

QUIET = Console(quiet=True)
POINT = Task("point", "a point mass", 0.1, 25, 8, 3, PointMass, demonstrations)
METHODS = ("naive", "legato", "sync", "naive:predictor=learned")
FEW = PredictorTraining(updates=2, batch=8, most_steps=2, held_out_every=2)


@pytest.fixture(autouse=True)
def point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The point mass as a task, and a line in a file for every cell that is begun."""
    monkeypatch.setattr(PredictorTraining, "cost", 4)
    for module in (sweep, compare):
        monkeypatch.setattr(module, "task", lambda _: POINT)
    monkeypatch.setattr(compare, "write_report", lambda *_: None)  # pages have tests of their own
    original = sweep.run_cell

    def run_cell(cell: Cell) -> CellResult:
        with (tmp_path / "begun").open("a") as log:
            log.write(json.dumps(cell.key) + "\n")
        return original(cell)

    monkeypatch.setattr(cells, "run_cell", run_cell)


def begun(tmp_path: Path) -> list[str]:
    file = tmp_path / "begun"
    return file.read_text().splitlines() if file.exists() else []


def comparison(*names: str, delays: tuple[int, ...] = (0, 2), seeds: int = 2) -> compare.Comparison:
    methods = tuple(method(name) for name in names or METHODS)
    return compare.Comparison(
        "point", methods, tuple(map(Fixed, delays)), recipe(8), seeds, 2, 3, predictor=FEW
    )  # fmt: skip


def bench(tmp_path: Path, out: str, asked: compare.Comparison, shard: Shard = Shard(), runs: str = "runs") -> Results:  # noqa: B008
    command = "segue bench point" + (f" --shard {shard.number}/{shard.count}" if shard.count > 1 else "")
    return results.read(compare.run(
        asked, runs=tmp_path / runs, out=tmp_path / out, workers=1, command=command, console=QUIET, shard=shard
    ))  # fmt: skip


def without_times(content: Results) -> dict[str, Any]:
    rows = [
        structs.replace(
            cell, episodes={name: column for name, column in cell.episodes.items() if name != "inference_time"}
        )
        for cell in content.cells
    ]
    return structs.asdict(structs.replace(content, created="", cells=rows))


def test_a_bench_that_is_run_again_computes_nothing_and_one_that_is_asked_for_more_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench(tmp_path, "out", comparison("naive", "legato", seeds=1))
    assert len(begun(tmp_path)) == 4
    assert without_times(bench(tmp_path, "out", comparison("naive", "legato", seeds=1))) == without_times(first)
    assert len(begun(tmp_path)) == 4
    monkeypatch.setattr(compare, "train_policy", None)  # what a method of the same policies needs is there
    more = bench(tmp_path, "out", comparison("naive", "sync", "legato", seeds=1))
    assert [json.loads(line)["method"] for line in begun(tmp_path)[4:]] == ["sync", "sync"]
    monkeypatch.undo()
    assert [cell for cell in more.cells if cell.method != "sync"] == first.cells


@pytest.mark.faults
def test_parts_put_together_are_the_whole_and_no_cell_is_computed_twice(tmp_path: Path) -> None:
    """Three parts of 16 cells, on machines that share nothing, and beside them one that does all."""
    asked = comparison()
    alone = bench(tmp_path, "alone", asked)
    assert alone.missing is UNSET
    assert len(begun(tmp_path)) == 16
    parts = [bench(tmp_path, f"out-{k}", asked, Shard(k, 3), runs=f"runs-{k}") for k in (1, 2, 3)]
    assert len(begun(tmp_path)) == 32
    assert not (tmp_path / "runs-1" / "seed-1").exists(), "a part trains what it needs"
    assert [len(part.cells) for part in parts] == [5, 5, 6]
    assert without_times(merge(parts)) == without_times(alone)
    assert merge([merge(parts[:2]), parts[2]]).cells == merge(parts).cells


def test_parts_that_share_a_folder_are_found_by_a_bench_of_all(tmp_path: Path) -> None:
    for k in (1, 2):
        bench(tmp_path, "out", comparison(), Shard(k, 2))
    assert len(begun(tmp_path)) == 16
    bench(tmp_path, "out", comparison())
    assert len(begun(tmp_path)) == 16
    assert len(list((tmp_path / "out").glob("shard-*/results.json"))) == 2


def test_what_is_missing_is_seen_in_every_table(tmp_path: Path) -> None:
    part = bench(tmp_path, "out", comparison("naive", "legato"), Shard(1, 3))
    place = Place("legato", 2, 1)
    assert isinstance(part.missing, list)
    assert place in part.missing
    assert len(part.missing) + len(part.cells) == 8
    summary = table.summarise(part)
    assert summary.missing["legato", 2] == 2
    assert "6 of 8 cells missing" in table.facts(part, summary)
    rows = table.markdown(summary).splitlines()
    assert rows[-1].count("– (2 runs missing)") == 3
    assert rows[2].count("1 run missing") == 3
    page = tmp_path / "report.html"
    write_report(part, page)
    assert "2 runs missing" in page.read_text()
    shown = Console(record=True, width=300, quiet=True)
    shown.print(table.console(summary))


def test_what_differs_is_not_put_together(tmp_path: Path) -> None:
    whole = bench(tmp_path, "out", comparison("naive", seeds=1))
    wrong = [
        (structs.replace(whole, budget={**whole.budget, "episodes per cell": 9}), "episodes per cell 9"),
        (structs.replace(whole, budget={**whole.budget, "updates per policy": "6"}), "updates per policy 6"),
        (structs.replace(whole, budget={**whole.budget, "delays drawn": "Jitter(2, 1)"}), "Jitter"),
        (structs.replace(whole, task=structs.replace(whole.task, name="other")), "other"),
        (structs.replace(whole, methods=[structs.replace(whole.methods[0], settings={"scale": 0.5})]), "settings"),
        (structs.replace(whole, cells=[
            structs.replace(each, episodes={**each.episodes, "score": [0.125, 0.25]}) for each in whole.cells
        ]), "other episodes"),
    ]  # fmt: skip
    for other, says in wrong:
        with pytest.raises(DataError, match=says):
            merge([whole, other])


@pytest.mark.faults
def test_methods_of_another_commit_say_it(tmp_path: Path) -> None:
    """As with results that are kept with the source, whose policies are gone; a predictor costs updates."""
    old = results.slim(bench(tmp_path, "out", comparison("naive", seeds=1)))
    old = structs.replace(old, commit="before", created="2026-01-01")
    more = bench(tmp_path, "more", comparison("predictive", seeds=1))
    both = merge([old, more])
    assert [each.name for each in both.methods] == ["naive", "predictive"]
    assert both.budget["updates per policy"] == "8 and 4"
    assert {cell.method: cell.commit for cell in both.cells} == {"naive": "before", "predictive": UNSET}
    assert len(both.budget["recipe"]) == 2
    again = merge([both, bench(tmp_path, "third", comparison("rtc:predictor=learned", seeds=1))])
    assert again.budget["updates per policy"] == "8 and 4"
    assert [each.name for each in again.methods] == ["naive", "predictive", "rtc:predictor=learned"]


def test_delays_that_vary_are_said(tmp_path: Path) -> None:
    jittering = bench(tmp_path, "out", replace(comparison("naive", seeds=1), delays=(Jitter(2, 1),)))
    assert jittering.budget["delays drawn"] == "Jitter(steps=2, spread=1)"
    assert "Jitter(steps=2, spread=1)" in table.facts(jittering, table.summarise(jittering))


def test_a_dry_run_says_what_is_missing_and_computes_nothing(tmp_path: Path) -> None:
    asked = comparison("naive", "legato", "sync", seeds=1)

    def said(shard: Shard = Shard()) -> list[str]:  # noqa: B008
        found = forecast(asked, runs=tmp_path / "runs", out=tmp_path / "out", workers=2, shard=shard)
        return [line.replace(str(tmp_path), "") for line in found]

    policies, rows = said()
    assert policies.startswith("2 policies to train (how long is not known")
    assert policies.endswith(", seed-0/plain, seed-0/legato")
    assert rows.startswith("0 of 6 cells are there, 6 to roll out (how long is not known")
    assert not (tmp_path / "runs").exists()
    bench(tmp_path, "out", replace(asked, methods=asked.methods[:1]))
    policies, rows = said()
    assert policies.startswith("1 policies to train (about 0.")
    assert policies.endswith(" on 2 workers), seed-0/legato")
    assert rows.startswith("2 of 6 cells are there, 4 to roll out (about 0.")
    assert said(Shard(1, 3)) == ["0 policies to train", "2 of 2 cells are there, 0 to roll out"]


def test_rows_without_cells_are_not_written_over_unsaid_and_cells_of_other_sources_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = comparison("naive", seeds=1)

    def said() -> list[str]:
        return list(forecast(asked, runs=tmp_path / "runs", out=tmp_path / "out", workers=2, shard=Shard()))[1:]

    bench(tmp_path, "out", asked)
    assert len(said()) == 1
    monkeypatch.setattr(cells, "numerics", lambda: {"segue": "another"})
    rows, other = said()
    assert rows.startswith("0 of 2 cells are there")
    assert other.startswith("2 of those have a cell of other settings")
    shutil.rmtree(tmp_path / "out" / "cells")
    _, alone = said()
    assert alone.startswith("2 of 2 rows of")
    assert "segue merge" in alone
    (tmp_path / "out" / "results.json").write_text("damaged")
    assert len(said()) == 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "/", "a/b", "-1/2", "1/0"])
def test_a_part_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="such as 2/8"):
        Shard.parse(text)


def test_the_blocks_of_all_parts_are_the_whole() -> None:
    for count in range(1, 9):
        for size in range(count, 30):
            blocks = [Shard.parse(f"{k}/{count}").of(range(size)) for k in range(1, count + 1)]
            assert [each for block in blocks for each in block] == list(range(size))
            assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
    with pytest.raises(SpecError, match="part 1 of 9, of 8 cells"):
        compare.part_of(comparison("naive", "legato"), Shard(1, 9))


def killed_after(seconds: float, work: Callable[[], object]) -> bool:
    """Whether work in a process of its own was killed before it was done."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kills", [pytest.param(20, marks=pytest.mark.faults), 1])
def test_a_bench_that_is_killed_again_and_again_ends_as_one_that_is_left_alone(tmp_path: Path, kills: int) -> None:
    asked, chance = comparison("naive", "legato", delays=(0, 1, 2, 3), seeds=1), random.Random(kills)
    started = time.monotonic()
    alone = bench(tmp_path, "alone", asked)
    usual = time.monotonic() - started
    (tmp_path / "begun").unlink()
    for _ in range(kills):
        killed_after(chance.uniform(0, 2 * usual / kills), lambda: bench(tmp_path, "out", asked, runs="others"))
    assert without_times(bench(tmp_path, "out", asked, runs="others")) == without_times(alone)
    assert len(set(begun(tmp_path))) == 8
    assert len(begun(tmp_path)) <= 8 + kills, "one is under way at a time"
    assert all(file.suffix == ".json" for file in (tmp_path / "out" / "cells").glob("[!.]*"))


def test_a_budget_that_a_predictor_uses_up_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    asked = comparison("naive", "naive:predictor=learned", seeds=1)
    with pytest.raises(SpecError, match="5 updates for predicted/plain, of which its predictor takes 4"):
        bench(tmp_path, "out", replace(asked, recipe=replace(asked.recipe, updates=5)))
    assert not (tmp_path / "runs").exists()


def test_an_objective_that_no_policy_here_can_learn_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'vlash' for a policy of absolute actions"):
        bench(tmp_path, "out", comparison("naive", "vlash", seeds=1))
    assert not (tmp_path / "runs").exists()


def test_who_wants_a_policy_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    asked, runs = comparison("naive", "sync", seeds=1), [tmp_path / "seed-0"]
    with pytest.raises(SegueError, match=r"which these methods run: naive, sync\n"):
        compare.evaluate(asked, runs, out=tmp_path, workers=1, command="segue eval point", console=QUIET)
