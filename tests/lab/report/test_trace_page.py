"""The page and the tables of a recorded run."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fakes.recorded_runs import Run
from fakes.shell import Segue, segue_in
from segue.cli.app import app
from segue.core.metrics import METRICS
from segue.lab.report.trace_page import measures_of, write_trace_report
from segue.plan.plan import Handover
from segue.trace.file import TICKS, Trace, read
from segue.trace.measures import OF_THE_TASK, episode_records
from segue.trace.summary import summarise_run


def recorded(path: Path) -> Trace:
    """Two episodes; in the first the policy goes silent after its third chunk."""
    run = Run(path, scale=np.array([0.3, 0.5]), cruise_speed=0.4)
    for place in range(60):
        run.step(40 if place == 8 else 2, damage=place == 52)
    run.reset(1)
    run.under_way = None
    run.slot += 3  # slots that the schedule skipped
    for _ in range(30):
        run.step(2)
    run.writer.close()
    return read(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "arm.trace"
    recorded(path)
    return path


def test_what_a_run_comes_to(path: Path) -> None:
    found = summarise_run(read(path))
    assert (found.ticks, found.episodes, found.missed, found.dropped) == (90, 2, 3, (0, 0))
    assert found.seconds == pytest.approx(9.3)
    assert found.rate == pytest.approx(10)  # the gap is between episodes
    assert found.waiting == 2 + 2  # each first chunk takes two steps
    assert found.starvations == (32,)  # steps 16 to 47: the third chunk comes at 48, and the second ended at 16
    assert found.lateness.max() == pytest.approx(6e-4)
    assert found.outcomes["taken"] > 8
    assert found.outcomes["refused"] == 1
    assert [(rung.before, rung.after, rung.cause) for rung in found.rungs][:3] == [
        ("hold", "run", ""), ("run", "hold", ""), ("hold", "run", ""),
    ]  # fmt: skip
    assert found.rungs[1].time == pytest.approx(1.6)
    assert found.delays.max() == 8
    assert [(gap.time, gap.why) for gap in found.gaps] == [
        (pytest.approx(1.6), "the answer took longer than the actions lasted")
    ]
    slower, starved = found.findings()
    assert slower.startswith(
        "Inference was now and then slower than planned: 2 steps of delay (200 ms) planned at first"
    )
    assert slower.endswith(f"8 at most; 1 of {len(found.delays)} chunks came later than planned for.")
    assert starved == (
        "The robot ran out of actions once, for 32 ticks (3.20 s) in all; the longest gap began at 1.60 s and took "
        "32 ticks. Why: once the answer took longer than the actions lasted."
    )
    assert len(found.rows()) == len(dict(found.rows()))


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"damage": True}, "what was asked for came to nothing (refused)"),
        ({"lost": True}, "what was asked for came to nothing (given up)"),
        ({}, "no answer came any more"),
    ],
)
def test_why_the_robot_ran_out_of_actions(tmp_path: Path, faults: dict[str, bool], why: str) -> None:
    run = Run(tmp_path / "t")
    for place in range(50):
        silent = place >= 8
        run.step(60 if silent and not faults else 2, **(faults if silent else {}))
    run.writer.close()
    found = summarise_run(read(tmp_path / "t"))
    assert {gap.why for gap in found.gaps} == {why}
    assert found.findings()[1].endswith(f"Why: once {why}.")


def test_who_waits_for_every_chunk_asks_when_nothing_is_left(tmp_path: Path) -> None:
    run = Run(tmp_path / "t", Handover.WAIT)
    for _ in range(40):
        run.step(2)
    run.writer.close()
    found = summarise_run(read(tmp_path / "t"))
    assert {gap.why for gap in found.gaps} == {"nothing was asked for before the actions were used up"}
    assert set(found.starvations) == {2}


def test_a_run_that_never_starves_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path / "t")
    for _ in range(30):
        run.step(2)
    run.writer.close()
    found = summarise_run(read(tmp_path / "t")).findings()
    assert found[0].startswith(
        "Inference was as fast as planned: 2 steps of delay (200 ms) planned at first, 2 in the "
    )
    assert found[1] == "The robot never ran out of actions."


def test_how_often_the_robot_did_what_was_predicted_of_it_is_said(tmp_path: Path) -> None:
    nothing = summarise_run(recorded(tmp_path / "nothing"))
    assert (nothing.compared, dict(nothing.rows())["prediction"]) == (0, "–")
    run = Run(tmp_path / "some")
    run.surprises = [np.nan, 0.5, 1.5, 1.0, 3.0]
    for _ in range(40):
        run.step(2)
    run.writer.close()
    assert not run.surprises
    found = summarise_run(read(tmp_path / "some"))
    assert (found.compared, found.doubted) == (4, 2)
    said = "2 of 4 requests found the robot farther from its prediction than usual; their chunks were made of the "
    assert dict(found.rows())["prediction"].startswith(said)
    page = write_trace_report(read(tmp_path / "some"), tmp_path / "some.html", "Some")
    assert said in page.read_text()


def test_an_empty_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "t")
    run.writer.close()
    found = summarise_run(read(tmp_path / "t"))
    assert (found.ticks, found.missed, found.seconds, found.rungs) == (0, 0, 0.0, ())
    assert dict(found.rows())["lateness"] == "–"
    assert found.findings() == ["No action was executed."]
    page = write_trace_report(read(tmp_path / "t"), tmp_path / "t.html", "Empty")
    assert "Smoothness" not in page.read_text()


def test_measures_are_over_the_episodes_in_which_they_are_defined(path: Path) -> None:
    records = episode_records(read(path))
    found = measures_of(records)
    assert not found.keys() & set(OF_THE_TASK)
    for low, high in [(low, high) for _, low, high in found.values()]:
        assert low <= high
    assert found["inference_calls"][0] == np.mean([record.inference_calls for record in records])


def test_the_page_is_whole_and_stands_alone(path: Path, tmp_path: Path) -> None:
    page = write_trace_report(read(path), tmp_path / "new" / "page.html", "Run <one> & only").read_text()
    assert "Run &lt;one&gt; &amp; only" in page
    for name in ("Lateness", "Inference", "Delay", "Safety ladder"):
        assert f'aria-label="{"Histogram: " if name != "Safety ladder" else ""}{name}' in page
    assert "Executed actions: " in page
    assert METRICS["jerk_command"].label in page
    assert METRICS["jerk_command"].meaning in page
    assert page.index("The robot ran out of actions once") < page.index("<h2>")
    assert METRICS["success"].label not in page
    assert "point-mass" in page
    assert not re.search(r'(?:src|href)="https?://', page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.fixture
def segue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Segue:
    return segue_in(monkeypatch, capsys)


def test_report_of_a_trace(segue: Segue, path: Path, tmp_path: Path) -> None:
    status, said, _ = segue("report", path, "--out", tmp_path / "run.html")
    assert status == 0
    for text in ("lateness", "starved", "32 ticks in 1 gap,", "missed slots", "Commanded jerk", "run.html"):
        assert text in said
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")


def test_replay_of_a_trace(segue: Segue, path: Path) -> None:
    status, said, _ = segue("replay", path)
    assert status == 0
    assert "90 ticks" in said
    assert "decides the same" in said


def test_replay_says_what_differs(segue: Segue, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.plan.plan import Plan

    monkeypatch.setattr(Plan, "_wanted", lambda _: True)
    status, _, error = segue("replay", path)
    assert status == 1
    assert "epoch 0, step 2" in error
    assert "the plan says request 2" in error
    assert "request None" in error


@pytest.mark.parametrize("command", ["report", "replay"])
def test_a_damaged_trace_is_refused(segue: Segue, command: str, path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "t")
    content = bytearray((path / TICKS).read_bytes())
    content[-20] ^= 1
    (tmp_path / "t" / TICKS).write_bytes(content)
    status, _, error = segue(command, tmp_path / "t")
    assert status == 1
    assert "wrong checksum" in error


def test_help() -> None:
    shown = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, ["replay", "--help"])
    assert "trace" in shown.output
