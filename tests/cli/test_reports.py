"""segue report | replay on folders: what a folder holds is found, and what lies below it is named."""

from pathlib import Path

import pytest

from fakes.recorded_runs import Run
from fakes.shell import Segue, segue_in
from segue.cli.reports import _held
from segue.errors import DataError


@pytest.fixture
def segue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Segue:
    return segue_in(monkeypatch, capsys)


def recorded(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    run = Run(path)
    for _ in range(40):
        run.step(2)
    run.writer.close()
    return path


def test_a_run_is_named_by_its_trace_or_by_the_folder_that_it_is_in(segue: Segue, tmp_path: Path) -> None:
    trace = recorded(tmp_path / "first" / "trace")
    for path in (trace, trace.parent):
        status, said, _ = segue("replay", path)
        assert status == 0
        assert "decides the same" in said
        assert _held(path, "results.json", "trace") == trace


def test_of_a_folder_of_runs_the_latest_is_named(segue: Segue, tmp_path: Path) -> None:
    for name in ("a", "b"):
        recorded(tmp_path / "arm" / name / "trace")
    for command, names in (("replay", "no trace"), ("report", "no results.json and no trace")):
        status, _, error = segue(command, tmp_path)
        assert status == 1
        assert names in error
        assert f"the latest below it is {tmp_path / 'arm' / 'b' / 'trace'}" in error.replace("\n", "")


def test_results_go_before_a_trace_and_anything_else_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no results\.json and no trace") as caught:
        _held(tmp_path, "results.json", "trace")
    assert "check the path" in str(caught.value)
    (tmp_path / "trace").mkdir()
    (tmp_path / "results.json").write_text("{}")
    assert _held(tmp_path, "results.json", "trace") == tmp_path / "results.json"
    for path in (tmp_path / "results.json", tmp_path / "absent"):
        assert _held(path, "results.json", "trace") == path
