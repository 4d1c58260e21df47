"""Results files: what is written is read, and what is not one is refused."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from fakes.point_mass import PointMass, demonstrations
from segue.errors import DataError
from segue.lab import results
from segue.lab.report import table
from segue.lab.results import CellResult, MethodFacts, Motion, Results
from segue.lab.shards import merge
from segue.lab.tasks.tasks import Task
from segue.methods.methods import METHODS

ROOT = Path(__file__).parents[2] / "results"
KEPT = sorted(ROOT.glob("**/results.json"))
TASK = Task("point", "a point mass", 0.1, 20, 8, 3, PointMass, demonstrations)


def cell(run: int, delay: int = 0, **columns: Any) -> CellResult:
    key: Any = {"method": "naive", "delay": delay, "training_seed": run}
    trace = Motion(**key, seed=1, commands=[[0.0, 0.1]], measured=[[0.0, 0.0]], seams=[])
    episodes = {"seed": [1, 2], "success": [1.0, None], **columns}
    return CellResult(**key, horizon=8, execution_horizon=3, episodes=episodes, trace=trace)


def content(*cells: CellResult) -> Results:
    methods = [MethodFacts(**METHODS[name].description()) for name in ("naive", "rtc")]
    return results.build(TASK, methods, cells, title="t", command="segue eval", budget={"updates": 3})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    built = content(cell(0), cell(1))
    path = results.write(built, tmp_path / "deep" / "results.json")
    assert results.read(path) == built
    assert {file.name for file in path.parent.iterdir()} == {"results.json", results.TRACES}
    assert "traces" not in json.loads(path.read_text())


def test_a_cell_is_a_line(tmp_path: Path) -> None:
    """So that two versions of a file can be compared line by line."""
    one = results.write(content(cell(0), cell(0, 4)), tmp_path / "a.json").read_text().splitlines()
    assert sum('"episodes"' in line for line in one) == 2


def test_only_the_first_training_seeds_traces_are_kept() -> None:
    built = content(cell(3), cell(1), cell(2))
    assert [trace.training_seed for trace in built.traces or () if trace.method == "naive"] == [1]
    assert [each.training_seed for each in built.cells] == [3, 1, 2]
    assert not any(each.trace for each in built.cells)


def test_results_say_what_they_were_made_from() -> None:
    built = content(cell(0))
    assert built.schema == results.SCHEMA
    assert {"python", "segue", "torch", "numpy"} <= built.versions.keys()
    assert built.task.action_names == ["target x", "target y"]
    assert built.budget == {"updates": 3}
    assert [method.name for method in built.methods] == ["naive", "rtc"]
    assert built.methods[1].settings["jacobian"] == "vjp"
    assert built.methods[1].settings["handover"] == "continue"
    assert not any(value is None or math.isnan(value) for value in built.demonstrations.values())


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_method_can_be_written_down(method: Any) -> None:
    json.dumps(method.description(), allow_nan=False)


def test_numbers_that_json_does_not_know_are_never_written(tmp_path: Path) -> None:
    good = content(cell(0))
    results.write(good, tmp_path / "results.json")
    with pytest.raises(ValueError, match="JSON"):
        results.write(content(cell(0, success=[math.nan, 1.0])), tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == good


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 99}', "null", "\x00"])
def test_what_is_no_results_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError) as caught:
        results.read(tmp_path / "results.json")
    assert "results.json" in caught.value.got


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(DataError, match="check the path"):
            results.read(path)


def test_outside_of_a_repository_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert results.commit() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert results.commit() == ""


def test_slim_results_have_the_columns_of_the_pages_and_no_traces() -> None:
    made = cell(0, seed=[10_000, 2], nsparc=[1.0, 2.0], seam_jump=[0.123456, 2.0])
    slim = results.slim(content(made))
    assert slim.cells[0].episodes == {"seed": [10_000, 2], "success": [1, None], "seam_jump": [0.123, 2]}
    assert slim.traces is UNSET


def test_seeds_that_count_on_are_kept_as_the_first_of_them() -> None:
    made = cell(0, seed=[10_000, 10_001], success=[1.0, 0.0])
    slim = results.slim(content(made)).cells[0]
    assert (slim.first_seed, slim.episodes) == (10_000, {"success": [1, 0]})
    assert slim.seeds == made.seeds == [10_000, 10_001]
    whole, short = (content(each) for each in (made, slim))
    assert list(table.episode_rows(short)) == list(table.episode_rows(whole))
    assert merge([whole, short]).cells == whole.cells, "the same cell, in both forms"


def test_slimmer_than_slim_there_is_none() -> None:
    slim = results.slim(content(cell(0, seam_jump=[24_661.7, 0.123456])))
    assert slim.cells[0].episodes["seam_jump"] == [24_700, 0.123]
    assert type(slim.cells[0].episodes["seam_jump"][0]) is int
    assert results.slim(slim) == slim


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_every_file_that_is_kept_is_read_and_written_as_it_was(path: Path, tmp_path: Path) -> None:
    found = results.read(path)
    again = results.write(found, tmp_path / "results.json").read_text()
    assert json.loads(again) == json.loads(path.read_text())
    assert len(again.splitlines()) == len(path.read_text().splitlines())
    assert set(table.summarise(found).labels) == {each.method for each in found.cells}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("cells", 0, "delay"), "4"),
        (("cells", 0, "episodes", "success"), [1.0]),
        (("cells", 0, "episodes", "success"), [1.0, "yes"]),
        (("cells", 0, "episodes"), {"success": [1.0, 0.0]}),
        (("cells", 0, "episodes", "seed"), [1, None]),
        (("task", "dt"), 0),
        (("methods", 0), "naive"),
        (("rates",), {"factor": 0}),
    ],
)
def test_content_of_another_form_is_refused(place: tuple[str | int, ...], value: Any, tmp_path: Path) -> None:
    path = results.write(content(cell(0)), tmp_path / "results.json")
    whole = json.loads(path.read_text())
    *inner, last = place
    functools.reduce(lambda part, key: part[key], inner, whole)[last] = value
    path.write_text(json.dumps(whole))
    with pytest.raises(DataError, match="content of another form"):
        results.read(path)
