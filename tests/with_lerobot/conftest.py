"""Tests that run under LeRobot itself: `make test-lerobot`. Where it is not installed, the folder holds no tests."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from documented import QUICKLY, ROOT, changed, documented
from reaching import Run, reaching

from segue.data.lerobot import writer

if find_spec("lerobot") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that Segue has written."""
    root = tmp_path_factory.mktemp("data") / "reach"
    return writer.save(reaching(), root, task="reach the goal", robot_type="reach")


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page's commands are run."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """No hub, and a robot that LeRobot finds as it finds any other: by the name of a distribution."""
    site = tmp_path_factory.mktemp("site")
    about = site / "lerobot_robot_reach-0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: lerobot_robot_reach\nVersion: 0\n")
    path = [ROOT / "src", ROOT / "plugins" / "lerobot_policy_segue", ROOT / "examples" / "lerobot_robot_reach", site]
    home = tmp_path_factory.mktemp("home")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "HF_HOME": str(home),
        "HF_LEROBOT_HOME": str(home / "lerobot"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
    }


@pytest.fixture(scope="session")
def run(environment: dict[str, str], workplace: Path) -> Run:
    """Run a program as people do: LeRobot's by their names, ours as `segue` and `python`."""
    programs = {"segue": [sys.executable, "-m", "segue"], "python": [sys.executable]}

    def command(program: str, *arguments: str) -> str:
        words = [*programs.get(program, [str(Path(sys.executable).parent / program)]), *arguments]
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, cwd=workplace, timeout=1800, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        assert "Could not import third-party plugin" not in said, said[-6000:]
        return said

    return command


@pytest.fixture(scope="session")
def trained(run: Run, workplace: Path) -> Path:
    """Checkpoint of our policy, trained by LeRobot: some updates of either stage."""
    [[script, folder]] = documented("python")
    run("python", str(ROOT / script), folder)
    said = run("lerobot-train", *changed(documented("lerobot-train")[0], **QUICKLY))
    assert "stage:1.000" in said
    assert "stage:2.000" in said
    return workplace / "outputs" / "reach" / "checkpoints" / "last" / "pretrained_model"
