"""Results files: what is written is read, and what is not one is refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fakes.point_mass import PointMass, demonstrations
from segue.errors import DataError
from segue.lab import results
from segue.lab.tasks.tasks import Task
from segue.methods.methods import METHODS

TASK = Task("point", "a point mass", 0.1, 20, 8, 3, PointMass, demonstrations)


def row(seed: int, delay: int = 0) -> dict[str, Any]:
    key = {"method": "naive", "delay": delay, "training_seed": seed}
    trace = {**key, "seed": 1, "commands": [[0.0, 0.1]], "measured": [[0.0, 0.0]], "seams": [], "worst_seam": 0}
    return {
        **key,
        "horizon": 8,
        "execution_horizon": 3,
        "episodes": {"seed": [1, 2], "success": [1.0, None]},
        "trace": trace,
    }


def content(*rows: dict[str, Any]) -> dict[str, Any]:
    methods = [METHODS["naive"], METHODS["rtc"]]
    return results.build(TASK, methods, rows, title="t", command="segue eval", budget={"updates": 3})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    built = content(row(0), row(1))
    path = results.write(built, tmp_path / "deep" / "results.json")
    assert results.read(path) == json.loads(json.dumps(built))
    assert {file.name for file in path.parent.iterdir()} == {"results.json", results.TRACES}
    assert "traces" not in json.loads(path.read_text())


def test_a_cell_is_a_line(tmp_path: Path) -> None:
    """So that two versions of a file can be compared line by line."""
    one = results.write(content(row(0), row(0, 4)), tmp_path / "a.json").read_text().splitlines()
    assert sum('"episodes"' in line for line in one) == 2


def test_only_the_first_training_seeds_traces_are_kept() -> None:
    built = content(row(3), row(1), row(2))
    assert [trace["training_seed"] for trace in built["traces"] if trace["method"] == "naive"] == [1]
    assert [cell["training_seed"] for cell in built["cells"]] == [3, 1, 2]
    assert all("trace" not in cell for cell in built["cells"])


def test_results_say_what_they_were_made_from() -> None:
    built = content(row(0))
    assert built["schema"] == results.SCHEMA
    assert {"python", "segue", "torch", "numpy"} <= built["versions"].keys()
    assert built["task"]["action_names"] == ["target x", "target y"]
    assert built["budget"] == {"updates": 3}
    assert [method["name"] for method in built["methods"]] == ["naive", "rtc"]
    assert built["methods"][1]["settings"]["jacobian"] == "vjp"
    assert built["methods"][1]["settings"]["handover"] == "continue"
    assert not any(math.isnan(value) for value in built["demonstrations"].values())


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_method_can_be_written_down(method: Any) -> None:
    json.dumps(method.description(), allow_nan=False)


def test_numbers_that_json_does_not_know_are_never_written(tmp_path: Path) -> None:
    bad = content(row(0))
    bad["cells"][0]["episodes"]["success"] = [math.nan]
    results.write(content(row(0)), tmp_path / "results.json")
    with pytest.raises(ValueError, match="JSON"):
        results.write(bad, tmp_path / "results.json")
    assert results.read(tmp_path / "results.json")["schema"] == results.SCHEMA


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


def earlier(path: Path, *, updates: str = "40", **settings: Any) -> Path:
    """A results file of naive execution and RTC, two training runs each."""
    rows = [{**row(seed, delay), "method": name} for seed in (0, 1) for delay in (0, 4) for name in ("naive", "rtc")]
    budget = {"episodes per cell": 2, "updates per policy": updates}
    built = results.build(
        TASK, [METHODS["naive"], METHODS["rtc"]], rows, title="t", command="segue bench", budget=budget
    )
    for method in built["methods"]:
        for name in {"noise", "scale", "share", "predictor", "ramp_seconds"} & method["settings"].keys():  # said later
            del method["settings"][name]
        method["settings"] |= settings
    return results.write(json.loads(json.dumps(built)), path / "results.json")


ASKED = {"task": "point", "delays": [0, 4], "training_seeds": [0, 1], "episodes": 2, "updates": 40, "drawn": ""}


def test_rows_of_earlier_results_stand_beside_new_ones_and_say_their_commit(tmp_path: Path) -> None:
    path = earlier(tmp_path)
    found = results.rows_of(path, [METHODS["naive"], METHODS["rtc"], METHODS["predictive"]], ASKED)
    assert {name: len(rows) for name, rows in found.items()} == {"naive": 4, "rtc": 4}
    assert {each["commit"] for each in found["naive"]} == {json.loads(path.read_text())["commit"]}


@pytest.mark.parametrize(
    "changed",
    [
        {"task": "other"},
        {"delays": [0, 8]},
        {"training_seeds": [0, 1, 2]},
        {"episodes": 3},
        {"updates": 41},
        {"drawn": "Jitter(4)"},
    ],
)
def test_rows_at_another_budget_or_not_in_full_do_not(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert results.rows_of(earlier(tmp_path), [METHODS["naive"]], {**ASKED, **changed}) == {}


def test_rows_of_other_settings_do_not(tmp_path: Path) -> None:
    assert results.rows_of(earlier(tmp_path, clip=3.0), [METHODS["rtc"]], ASKED) == {}
    assert results.rows_of(earlier(tmp_path, ramp_seconds=0.4), [METHODS["rtc"]], ASKED) == {}
    assert results.rows_of(tmp_path / "nowhere.json", [METHODS["rtc"]], ASKED) == {}


def test_slim_results_have_the_columns_of_the_pages_and_no_traces() -> None:
    made = {**row(0), "episodes": {"seed": [10_000, 2], "success": [1.0, None], "nsparc": [1.0, 2.0]}}
    made["episodes"]["seam_jump"] = [0.123456, 2.0]
    slim = results.slim(content(made))
    assert slim["cells"][0]["episodes"] == {"seed": [10_000, 2], "success": [1, None], "seam_jump": [0.1235, 2]}
    assert "traces" not in slim
