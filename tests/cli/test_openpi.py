"""segue run | doctor --openpi, against a server that speaks as openpi's does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from fakes.openpi_server import Openpi, towards
from fakes.point_mass import SPEC, PointMass
from fakes.robot_pc import without
from segue.cli import app, doctor
from segue.cli.run import run_
from segue.core.chunk import nothing_to_continue
from segue.errors import SegueError, SpecError
from segue.methods import policy_process
from segue.methods.methods import METHODS
from segue.methods.policy_process import sees_and_takes, source_for
from segue.plan.plan import Handover
from segue.policies.chunk_policy import FinishedPolicy
from segue.trace.file import read

LAYOUT = 'nested = true\n[state]\n"observation/state" = 4\n'


@pytest.fixture
def arranged(tmp_path: Path) -> str:
    file = tmp_path / "point.toml"
    file.write_text(LAYOUT)
    return str(file)


@pytest.fixture
def url() -> Iterator[str]:
    with Openpi(lambda seen: towards(seen["observation"]["state"])).listening() as address:
        yield address


def test_methods_that_need_no_torch_are_those_that_change_nothing() -> None:
    kinds = {name: METHODS[name].handover for name in ("naive", "naive-restart", "sync")}
    assert kinds == policy_process.WITHOUT_TORCH


@pytest.mark.parametrize(
    ("method", "kind", "handover"),
    [
        ("cross-fade", FinishedPolicy, Handover.CONTINUE),
        ("ensembling:decay=0.1", FinishedPolicy, Handover.CONTINUE),
        ("sync:predictor=none", object, Handover.WAIT),
    ],
)
def test_the_policy_process_builds_what_it_is_told(
    method: str, kind: type, handover: Handover, url: str, arranged: str
) -> None:
    policy, how = policy_process.build(source_for(SPEC, SPEC.dt, url, arranged, method, "go"))
    assert isinstance(policy, kind)
    assert how is handover
    assert policy.spec.chunk_shape == (50, 2)
    assert np.isfinite(policy.next_chunk(np.zeros(4, np.float32), nothing_to_continue(0, 2, 4))).all()
    policy.close()


def test_a_robot_is_told_to_the_policy_process_as_it_is() -> None:
    sees = sees_and_takes(SPEC, 0.5)
    sees.check_dimensions(SPEC, "")
    assert sees.dt == 0.5


def test_a_layout_that_is_not_the_robot_s_is_refused_before_anything_is_started() -> None:
    with pytest.raises(SpecError, match="a layout for 14 numbers"):
        source_for(SPEC, SPEC.dt, "ws://127.0.0.1:9", "aloha", "naive", "")


def test_without_torch_chunks_are_taken_as_they_are(url: str, arranged: str, tmp_path: Path) -> None:
    def built(method: str) -> subprocess.CompletedProcess[str]:
        source = source_for(SPEC, SPEC.dt, url, arranged, method, "")
        code = f"from segue.methods.policy_process import build; print(build({source!r})[0].spec.horizon)"
        path = os.pathsep.join([str(without(tmp_path)), *sys.path])
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            check=False,
        )

    assert built("naive").stdout.strip() == "50"
    assert ".[learn]" in built("cross-fade").stderr


@pytest.mark.faults
def test_a_robot_is_driven_by_a_server_of_openpi(
    url: str, arranged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr("segue.cli.driven.robot_from", lambda name, options: PointMass())
    settings: dict[str, Any] = {"layout": arranged, "prompt": "go", "seconds": 1.0, "trace": tmp_path / "trace"}
    with pytest.raises(typer.Exit) as ended:
        run_(robot="any:Arm", openpi=url, predictor="none", execution_horizon=20, **settings)
    assert ended.value.exit_code == 0
    trace = read(tmp_path / "trace")
    assert trace.header["method"] == "cross-fade:predictor=none"
    assert len(trace.ticks) > 0
    assert np.isfinite(trace.ticks["action"]).any()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"server": "ws://127.0.0.1:9"}, "--server and --openpi"),
        ({"task": "runs/one"}, "a run folder and a server"),
    ],
)
def test_one_policy_is_named(words: dict[str, str], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        run_(**{"task": None, **words}, robot="any:Arm", openpi="ws://127.0.0.1:9", seconds=1.0)  # type: ignore[arg-type]


def test_the_doctor_says_how_long_chunks_are_and_what_their_delay_means(
    url: str, arranged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "console", Console(width=200))
    done = CliRunner().invoke(
        app.app, ["doctor", "--rate", "50", "--seconds", "0.1", "--openpi", url, "--layout", arranged]
    )
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert f"{url}: 50 steps of 2 actions, 1 s at 50 Hz" in said
    assert "steps at 50 Hz" in said.partition("Advice")[2]


def test_the_doctor_waits_at_the_rate_of_the_policy(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "slow.toml").write_text(f"rate = 20.0\n{LAYOUT}")
    monkeypatch.setattr(doctor, "console", Console(width=200))
    done = CliRunner().invoke(app.app, ["doctor", "--seconds", "0.1", "--openpi", url, "--layout", str(file)])
    assert done.exit_code == 0, done.output
    assert "At 20 Hz " in done.output.partition("Advice")[2]


def test_the_doctor_repeats_what_a_server_misses(url: str) -> None:
    done = CliRunner().invoke(app.app, ["doctor", "--seconds", "0.1", "--openpi", url, "--layout", "droid"])
    assert isinstance(done.exception, SegueError)
    assert "KeyError: 'observation'" in str(done.exception)
