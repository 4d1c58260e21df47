"""The script that writes the tables: nothing but what the results say, and nothing outside of the markers."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.summaries import cell, comparison, decoded
from segue.lab.report import table

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "tables.py"
MARKED = "<!-- results:some/task -->\nold\n<!-- /results:some/task -->\n"
UNMEASURED = "<!-- results:b -->\n<!-- /results:b -->\n"


def results(success: list[float]) -> dict[str, Any]:
    columns = {"success": success, **dict.fromkeys(("completion_time", "jerk_measured"), [2.0] * len(success))}
    cells = [cell("naive", 4, columns)]
    return comparison({"naive": "Naive async"}, cells, command="segue bench some/task", commit="abc")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{MARKED}between\n{UNMEASURED}")
    (tmp_path / "results" / "some" / "task").mkdir(parents=True)
    (tmp_path / "results" / "some" / "task" / "results.json").write_text(json.dumps(results([0.0, 1.0])))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["tables.py", "--pages", "README.md", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.mark.parametrize(
    "page",
    [
        f"docs/{name}.md"
        for name in ("results/adroit-door", "results/equal-hardware", "results/rates", "latent", "choose")
    ],
)
def test_a_page_is_what_the_results_say(page: str) -> None:
    script = runpy.run_path(str(SCRIPT))
    assert page in script["PAGES"]
    text = (ROOT / page).read_text()
    assert "<!-- results:" in text
    assert script["filled"](text, ROOT / "results") == text


def test_writes_the_table_and_its_command_between_the_markers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    written = (place / "README.md").read_text()
    assert table.markdown(table.summarise(decoded(results([0.0, 1.0])))) in written
    assert "`segue bench some/task` at commit abc" in written
    assert "Not measured yet: `segue bench b`." in written
    assert written.startswith("before\n<!-- results:some/task -->\n")
    assert "<!-- /results:some/task -->\nbetween\n<!-- results:b -->\n" in written
    assert "old" not in written


def test_what_an_inference_costs_stands_beside_the_measures_of_tasks(place: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    folder = place / "results"
    assert script["inference_costs"](folder) == {}
    (folder / "costs.json").write_text(json.dumps({"ratios": {"naive": [1, 1, 1], "rtc": [2.1, 2.24, 2.5]}}))
    assert script["inference_costs"](folder) == {"Inference [x naive]": {"naive": "1.0", "rtc": "2.2"}}
    measured = {"metaworld/pick-place": True, "adroit-pen": True, "equal-hardware/push-t": True, "some/task": False}
    for name, shown in measured.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "results.json").write_text(json.dumps(results([0.0, 1.0])))
        written = script["block"](folder / name / "results.json", name)
        assert ("| Inference [x naive] |" in written) == shown
        assert ("| 1.0 |" in written) == shown


def test_what_happens_at_seams_has_columns_of_its_own(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = results([0.0, 1.0])
    content["cells"][0]["episodes"] |= {"stall_time": [0.5, 1.5], "overlap_rmse": [0.1, 0.3], "mode_switches": [1, 2]}
    (place / "README.md").write_text(
        "".join(f"<!-- results:seams/{name} -->\n<!-- /results:seams/{name} -->\n" for name in ("task", "b"))
    )
    (place / "results" / "seams" / "task").mkdir(parents=True)
    (place / "results" / "seams" / "task" / "results.json").write_text(json.dumps(content))
    run(monkeypatch)
    written = (place / "README.md").read_text()
    columns = ["success", "completion_time", "overlap_rmse", "jerk_measured", "stall_time"]
    assert table.markdown(table.summarise(decoded(content)), columns) in written
    assert "Not measured yet: `make seams`." in written


def test_a_second_time_changes_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    once = (place / "README.md").read_text()
    run(monkeypatch)
    run(monkeypatch, "--check")
    assert (place / "README.md").read_text() == once


def test_check_fails_on_other_results_and_leaves_the_readme_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    once = (place / "README.md").read_text()
    (place / "results" / "some" / "task" / "results.json").write_text(json.dumps(results([1.0, 1.0])))
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--check")
    assert caught.value.code == 1
    assert (place / "README.md").read_text() == once


def test_says_which_results_have_no_marker(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "README.md").write_text("no markers\n")
    run(monkeypatch)
    assert "no marker results:some/task" in " ".join(capsys.readouterr().out.split())
