"""Tests that run under LeRobot itself: `make test-lerobot`. Where it is not installed, the folder holds no tests."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from reaching import Run, reaching

from segue.data.lerobot import writer

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"

if find_spec("lerobot") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that Segue has written."""
    root = tmp_path_factory.mktemp("data") / "reach"
    return writer.save(reaching(), root, task="reach the goal", robot_type="reach")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """No hub, and a robot that LeRobot finds as it finds any other: by the name of a distribution."""
    site = tmp_path_factory.mktemp("site")
    about = site / "lerobot_robot_reach-0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: lerobot_robot_reach\nVersion: 0\n")
    path = [SRC, HERE / "plugins", site, *filter(None, [os.environ.get("PYTHONPATH")])]
    home = tmp_path_factory.mktemp("home")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "HF_HOME": str(home),
        "HF_LEROBOT_HOME": str(home / "lerobot"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def lerobot(environment: dict[str, str]) -> Run:
    """Run a program of LeRobot as its users do."""

    def run(program: str, *arguments: Any) -> str:
        command = [str(Path(sys.executable).parent / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        assert "Could not import third-party plugin" not in said, said[-6000:]
        return said

    return run


@pytest.fixture(scope="session")
def trained(lerobot: Run, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of our policy, trained by LeRobot: a few updates of either stage."""
    out = tmp_path_factory.mktemp("train") / "out"
    said = lerobot(
        "lerobot-train",
        "--policy.type=segue",
        "--policy.horizon=16",
        '--policy.network_settings={"width": 32, "depth": 1}',
        "--policy.plain_updates=150",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--dataset.repo_id=segue/reach",
        f"--dataset.root={data}",
        "--steps=300",
        "--batch_size=32",
        "--num_workers=0",
        "--log_freq=50",
        "--save_freq=300",
        "--wandb.enable=false",
        f"--output_dir={out}",
    )
    assert "stage:1.000" in said
    assert "stage:2.000" in said
    return out / "checkpoints" / "000300" / "pretrained_model"
