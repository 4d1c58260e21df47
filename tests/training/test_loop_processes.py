"""Training on two processes, as on two GPUs, through accelerate."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import segue
from segue.training import checkpoint

PROGRAM = """
from pathlib import Path
import sys, torch
from fakes.point_mass import demonstrations
from segue.strategies.naive import FlowMatching
from segue.training.config import TrainingConfig
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import Recipe, train_policy
recipe = Recipe(horizon=8, updates=4, network_settings={"width": 16, "depth": 1}, training=TrainingConfig(batch=8))
policy = train_policy(demonstrations(), recipe, "plain", FlowMatching(), run=Path(sys.argv[1]))
total = sum(p.abs().sum() for p in policy.parameters())
few = PredictorTraining(updates=3, batch=8, most_steps=4)
predictor = train_predictor(demonstrations(), few, run=Path(sys.argv[1]) / "predictor", width=8)
learned = sum(p.abs().sum() for p in predictor.parameters()) + predictor.bounds.sum()
import os
sys.stdout.write(f"sum of weights {float(total):.6f} and {float(learned):.6f} of {os.environ['WORLD_SIZE']}\\n")
"""


def trained(tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What two processes say that train at once."""
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    launch = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        str(program), str(tmp_path / "run"),
    ]  # fmt: skip
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        launch,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def test_two_processes_end_with_the_same_weights_and_one_checkpoint(tmp_path: Path) -> None:
    done = trained(tmp_path, ACCELERATE_USE_CPU="1")
    assert done.returncode == 0, done.stderr
    sums = [line for line in done.stdout.splitlines() if line.startswith("sum of weights")]
    assert len(sums) == 2
    assert sums[0] == sums[1]
    saved = segue.load(tmp_path / "run" / "plain").policy()
    total = sum(parameter.abs().sum() for parameter in saved.parameters())
    predictor = segue.load_predictor(tmp_path / "run" / "predictor")[0]
    learned = sum(parameter.abs().sum() for parameter in predictor.parameters()) + predictor.bounds.sum()
    sizes = [f"{float(torch.as_tensor(each)):.6f}" for each in (total, learned)]
    assert sums[0] == f"sum of weights {sizes[0]} and {sizes[1]} of 2"
    assert checkpoint.load(tmp_path / "run" / "plain").info["update"] == 2


def test_processes_that_do_not_see_each_other_do_not_train_each_alone(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("processes on GPUs see each other")
    done = trained(tmp_path, ACCELERATE_USE_CPU="0")
    assert done.returncode != 0
    assert "would train alone" in done.stderr
    assert "ACCELERATE_USE_CPU=1" in done.stderr
    assert not checkpoint.started(tmp_path / "run" / "plain")
