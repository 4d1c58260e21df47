"""Training on two processes, as on two GPUs or on two machines, through accelerate."""

import csv
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
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


NODE = """
from pathlib import Path
import os, signal, sys, torch
from fakes.point_mass import demonstrations
from segue.strategies.naive import FlowMatching
from segue.training import loop
from segue.training.config import Conduct, TrainingConfig
from segue.training.recipe import Recipe, train_policy

drawn = loop.generator_of

def lost(seed, update, process, purpose):
    if (process, update) == (int(os.environ.get("LOST", -1)), 7):
        os.kill(os.getppid(), signal.SIGKILL)  # all of the machine, the launcher too
        os.kill(os.getpid(), signal.SIGKILL)
    return drawn(seed, update, process, purpose)

loop.generator_of = lost
training = TrainingConfig(batch=int(os.environ.get("BATCH", 8)), checkpoint_every=2, own_refresh=2)
recipe = Recipe(horizon=8, updates=20, network_settings={"width": 16, "depth": 1}, training=training)
train_policy(demonstrations(), recipe, "plain", FlowMatching(), run=Path(sys.argv[1]),
             conduct=Conduct(accumulate=int(os.environ.get("PARTS", 1))))
"""
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node"]


def started(words: Sequence[str], place: Path, **environment: str) -> "subprocess.Popen[str]":
    """A program in a folder, with the tests' own modules."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    given = {**os.environ, "PYTHONPATH": path, "ACCELERATE_USE_CPU": "1", **environment}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given, cwd=place, start_new_session=True
    )


def of_nodes(tmp_path: Path, *environments: dict[str, str]) -> list[tuple[int, str]]:
    """Exit status and complaints of two machines that train together, each in a folder of its own."""
    (tmp_path / "node.py").write_text(NODE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--nnodes", "2", "--master_addr", "127.0.0.1", "--master_port", str(port)]
    running = [
        started([*LAUNCH, "1", *where, "--node_rank", str(node), "node.py", f"node-{node}"], tmp_path, **environment)
        for node, environment in enumerate(environments)
    ]
    said = [each.communicate()[1] for each in running]
    return [(each.returncode, words) for each, words in zip(running, said, strict=True)]


def trained(tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What two processes say that train at once."""
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    launch = [*LAUNCH, "2", "--standalone", str(program), str(tmp_path / "run")]
    running = started(launch, tmp_path, **environment)
    said, complaints = running.communicate()
    return subprocess.CompletedProcess(launch, running.returncode, said, complaints)


@pytest.mark.faults
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


@pytest.mark.faults
def test_processes_that_do_not_see_each_other_do_not_train_each_alone(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("processes on GPUs see each other")
    done = trained(tmp_path, ACCELERATE_USE_CPU="0")
    assert done.returncode != 0
    assert "would train alone" in done.stderr
    assert "ACCELERATE_USE_CPU=1" in done.stderr
    assert not checkpoint.started(tmp_path / "run" / "plain")


@pytest.mark.faults
def test_a_node_that_is_lost_ends_all_which_go_on_to_what_one_process_comes_to(tmp_path: Path) -> None:
    """The folders are each machine's own, and only the first one's is written to."""
    ended = of_nodes(tmp_path, {}, {"LOST": "1"})
    assert [status for status, _ in ended] == [1, -9]
    assert "TrainingError: the connection to a process that trains along" in ended[0][1]
    assert "go on from the checkpoints in node-0/first-stage" in ended[0][1]
    assert checkpoint.load(tmp_path / "node-0" / "first-stage").info["update"] == 6

    ended = of_nodes(tmp_path, {}, {})
    assert [status for status, _ in ended] == [0, 0], ended
    assert not (tmp_path / "node-1").exists()

    alone = started([sys.executable, "node.py", "alone"], tmp_path, PARTS="2")
    alone.communicate()
    assert alone.returncode == 0
    for stage in ("first-stage", "plain"):
        together, one = (checkpoint.load(tmp_path / run / stage) for run in ("node-0", "alone"))
        for name, weight in one.weights.items():
            torch.testing.assert_close(together.weights[name], weight, rtol=1e-4, atol=1e-6)
    rows = [list(csv.DictReader((tmp_path / run / "plain" / "curve.csv").open())) for run in ("node-0", "alone")]
    assert [float(row["loss"]) for row in rows[0]] == pytest.approx([float(row["loss"]) for row in rows[1]], rel=1e-4)


@pytest.mark.faults
def test_nodes_with_other_settings_do_not_train_together(tmp_path: Path) -> None:
    ended = of_nodes(tmp_path, {}, {"BATCH": "4"})
    assert [status for status, _ in ended] == [1, 1]
    assert "started together with other settings" in ended[0][1]
    assert not (tmp_path / "node-0").exists()


def launched(tmp_path: Path, *options: str) -> tuple[int, str, str]:
    """What `accelerate launch` makes of `segue train`."""
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2"]
    train = ["-m", "segue", "train", "adroit-door", "--updates", "4", "--batch", "8", "--out", "run"]
    running = started([*launch, "--num_machines", "1", *options, *train], tmp_path)
    said, complaints = running.communicate()
    return running.returncode, said, complaints


@pytest.mark.faults
def test_accelerate_launches_all_of_a_training_and_one_process_speaks(tmp_path: Path) -> None:
    status, said, complaints = launched(tmp_path, "--mixed_precision", "no", "--dynamo_backend", "no")
    assert status == 0, complaints
    assert said.count("policy: run/plain/last") == said.count("next: ") == 1
    assert checkpoint.load(tmp_path / "run" / "plain").info["update"] == 2
    assert checkpoint.started(tmp_path / "run" / "predictor")


@pytest.mark.faults
def test_what_accelerate_would_change_in_a_training_is_refused(tmp_path: Path) -> None:
    status, _, complaints = launched(tmp_path, "--mixed_precision", "bf16", "--dynamo_backend", "no")
    assert status != 0
    assert "settings of accelerate's own: mixed precision bf16" in complaints
    assert not checkpoint.started(tmp_path / "run" / "first-stage")
