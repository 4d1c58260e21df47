"""What works where only NumPy and the packages of the command line are installed, and what the rest asks for."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import robot_pc
from fakes.point_mass import demonstrations
from fakes.recorded_runs import Run
from fakes.served_policies import Affine
from fakes.servers import served
from segue.data.episodes import save
from segue.errors import MissingExtraError, said_what_to_install
from segue.trace.file import read

TESTS = Path(__file__).parents[1]
Segue = Callable[..., tuple[int, str, str]]


@pytest.fixture
def segue(tmp_path: Path) -> Segue:
    """A command in a process of its own, on the computer of a robot: exit status, what was said, complaints."""
    hiding = robot_pc.without(tmp_path)
    path = os.pathsep.join([str(hiding), str(TESTS), os.environ.get("PYTHONPATH", "")])

    def run(*arguments: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "fakes.robot_pc", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_simulator_is_driven_with_the_policy_of_a_server(segue: Segue, tmp_path: Path) -> None:
    with served(Affine()) as server:
        arguments = ("run", "still", "--server", server.url, "--seconds", 0.5, "--trace", tmp_path / "trace")
        status, said, complaint = segue(*arguments)
    assert (status, complaint) == (0, "")
    assert "time is up" in said
    assert "latencies.txt" in said
    assert len(read(tmp_path / "trace").ticks) > 0


def test_a_policy_of_this_machine_is_refused_with_what_to_install(segue: Segue, tmp_path: Path) -> None:
    status, _, complaint = segue("run", "still", tmp_path / "run", "--trace", tmp_path / "trace")
    assert status == 1
    assert "a trained policy needs the package 'torch'" in complaint
    assert ".[learn]" in complaint
    assert not (tmp_path / "trace").exists()


def test_the_doctor_measures_a_robots_computer(segue: Segue) -> None:
    status, said, complaint = segue("doctor", "--seconds", 0.1)
    assert (status, complaint) == (0, "")
    assert "torch: not installed" in said
    assert ".[learn]" in said
    assert "Advice" in said


def test_a_recorded_run_is_said_in_words_before_the_page_asks_for_more(segue: Segue, tmp_path: Path) -> None:
    run = Run(tmp_path / "trace")
    for _ in range(40):
        run.step(2)
    run.writer.close()
    status, said, complaint = segue("report", tmp_path / "trace")
    assert status == 1
    assert "Commanded jerk" in said
    assert "writing the report needs the package 'jinja2'" in complaint
    status, said, _ = segue("replay", tmp_path / "trace")
    assert status == 0
    assert "decides the same" in said


def test_recorded_episodes_are_measured(segue: Segue, tmp_path: Path) -> None:
    save(demonstrations(), tmp_path / "mine.npz")
    status, said, complaint = segue("metrics", tmp_path / "mine.npz")
    assert (status, complaint) == (0, "")
    assert "commanded jerk" in said


@pytest.mark.parametrize(
    "arguments",
    [["serve", "run"], ["list"], ["train", "still"], *(pytest.param(words, marks=pytest.mark.faults) for words in (
        ["doctor", "--seconds", "0.1", "--run", "run"], ["eval", "still"], ["bench", "still"], ["rates", "still"],
        ["record", "still", "run", "--out", "new"],
    ))],
    ids=lambda words: words[0],
)  # fmt: skip
def test_what_needs_more_says_what_to_install(segue: Segue, arguments: list[str]) -> None:
    status, _, complaint = segue(*arguments)
    assert status == 1
    assert "Traceback" not in complaint
    assert complaint.startswith("error: this command needs the package ")
    assert ".[learn]'" in complaint


def test_pictures_of_results_need_what_draws_them(segue: Segue) -> None:
    status, _, complaint = segue("report", "results.json")
    assert status == 1
    assert "Traceback" not in complaint
    assert ".[report]'" in complaint


@pytest.mark.parametrize(("package", "extra"), [("safetensors.torch", "learn"), ("mujoco", "lab")])
def test_a_package_inside_of_another_is_of_its_extra(package: str, extra: str) -> None:
    with pytest.raises(MissingExtraError, match=package.partition(".")[0]) as caught, said_what_to_install("this"):
        raise ModuleNotFoundError(name=package)
    assert f".[{extra}]" in caught.value.change


def test_what_is_of_no_extra_keeps_its_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="nobody's"), said_what_to_install("this"):
        raise ModuleNotFoundError("nobody's", name="no_such_package")


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_a_policy_is_made_without_the_laboratory() -> None:
    """By the policy process, serve and doctor, as far as the checkpoint that is not there."""
    code = """
from pathlib import Path
from segue.cli.doctor import doctor
from segue.cli.serve import serve
from segue.methods import policy_process as p
nowhere = Path("nowhere")
for make in (
    lambda: p.build(p.local(nowhere, "naive")),
    lambda: serve(nowhere, method="naive", port=0),
    lambda: doctor(seconds=0.1, run=nowhere, method="naive"),
):
    try: make()
    except Exception as error: assert "nowhere" in str(error), error
    else: raise AssertionError("a policy was made of nothing")"""
    loaded = loaded_by(code)
    assert "segue.methods.parts" in loaded
    assert not [name for name in loaded if name.startswith("segue.lab")]
