"""segue try: what comes with the package is whole and small, and what is said is what came out."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from segue.cli.app import app
from segue.cli.trial import METHODS, RUN, TASK, sentence
from segue.data.bundled import adroit_door
from segue.lab import results
from segue.lab.report.table import summarise
from segue.methods.methods import methods
from segue.methods.parts import parts_of
from segue.training import checkpoint
from segue.training.predictor import load_predictor


def test_policy_and_predictor_come_along_under_five_megabytes() -> None:
    files = [file for file in RUN.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5_000_000
    assert not [path for path in RUN.rglob("*") if path.is_symlink()]
    assert (RUN / "COMMAND").read_text().startswith("python benchmarks/bundled_run.py")
    parts = parts_of(RUN, methods(METHODS))
    names = [checkpoint.load(each.policy).policy().spec.action_names for each in parts.values()]
    assert names == [adroit_door().action_names] * len(names)
    predictor = parts["predictive"].predictor
    assert predictor is not None
    load_predictor(predictor)


def test_what_is_said_is_what_the_episodes_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["try", "--episodes", "2", "--no-film", "--delay", "4"])
    assert shown.exit_code == 0, shown.output
    content = results.read(tmp_path / "runs" / "try" / "results.json")
    assert content.task.name == TASK
    solved = [sum(cell.values("success")) for cell in content.cells]
    [said] = re.findall(r"With 40 ms .*? default\.", " ".join(shown.output.split()))
    assert [int(number) for number in re.findall(r"(\d) of 2", said)] == solved
    assert said == sentence(summarise(content), 4, content.task.dt, 2)
    assert "…" not in shown.output
    assert (tmp_path / "runs" / "try" / "report.html").is_file()
    again = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["report", "runs/try"])  # the folder is enough
    assert again.exit_code == 0, again.output
