"""Cells on a cluster of two nodes: the same rows, whatever is lost on the way."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import to_builtins
from rich.console import Console

from fakes.cluster_jobs import Named, begun, place_of, variable
from fakes.jobs import doubled, fails, fails_strangely, killed, killed_at_first, threads
from fakes.point_mass import demonstrations, recipe
from fakes.point_task import NAME
from fakes.ray_cluster import ROOT, Cluster, family
from fakes.served_policies import WAIT
from segue.errors import CheckpointError, SpecError, WorkerError
from segue.lab import cells
from segue.lab.cluster import on_ray
from segue.lab.cluster.on_ray import AGAIN, OnRay
from segue.lab.cluster.places import executor_on
from segue.lab.delays import Fixed
from segue.lab.processes import Done, Here, in_turn
from segue.lab.sweep import Cell
from segue.methods.methods import method, objective
from segue.training.recipe import train_policy

QUIET = Console(quiet=True)
PARENT = """
from segue.lab.cluster.places import executor_on
from fakes.cluster_jobs import begun
from pathlib import Path
import signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
with executor_on("ray", 1) as work:
    for key in range(6):
        work.submit(key, begun, Path(sys.argv[1]))
    for each in work.done():
        raise AssertionError(each)
"""


@pytest.fixture(scope="module")
def work(cluster: Cluster) -> Iterator[OnRay]:
    os.environ["MUJOCO_GL"] = "of-the-driver"
    with executor_on("ray", 1) as work:
        assert isinstance(work, OnRay)
        yield work


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    run = tmp_path_factory.mktemp("runs")
    train_policy(demonstrations(), recipe(), "plain", objective("plain"), run=run, console=QUIET)
    return [Cell(NAME, method("naive"), run / "plain", 0, Fixed(delay), 3, 2) for delay in (0, 1, 2)]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 6 * WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def rows(wanted: list[Cell], work: OnRay | Here, folder: Path) -> list[object]:
    """All of the results but what was measured with a clock."""
    found = {number: to_builtins(row) for number, row in cells.run(wanted, work, folder, QUIET)}
    for row in found.values():
        del row["episodes"]["inference_time"]
    return [found[number] for number in range(len(wanted))]


def test_rows_are_to_the_bit_those_of_this_process(work: OnRay, wanted: list[Cell], tmp_path: Path) -> None:
    assert rows(wanted, work, tmp_path / "there") == rows(wanted, Here(), tmp_path / "here")


def test_a_policy_comes_to_nodes_that_do_not_see_its_folder(work: OnRay, cluster: Cluster, wanted: list[Cell]) -> None:
    run = wanted[0].checkpoint
    [there] = in_turn(work, place_of, [Named(run)])
    assert Path(there).parent == cluster.cache / "policies"
    assert sorted(each.name for each in Path(there).iterdir()) == ["config.json", "policy.safetensors"]
    assert cells.of_weights(Path(there)) == cells.of_weights(run)


def test_processes_have_their_variables_and_one_thread(work: OnRay) -> None:
    assert list(in_turn(work, variable, ["MUJOCO_GL", "OMP_NUM_THREADS"])) == ["of-the-driver", "1"]
    assert list(in_turn(work, threads, [None])) == [1]


def test_errors_arrive_as_they_were(work: OnRay) -> None:
    work.submit(0, fails, CheckpointError("a", "b", "c"))
    work.submit(1, fails_strangely, None)
    work.submit(2, doubled, 4)
    ended = {each.key: each for each in work.done()}
    assert str(ended[0].error) == str(CheckpointError("a", "b", "c"))
    assert isinstance(ended[0].error, CheckpointError)
    assert "of another library" in str(ended[1].error)
    assert ended[2] == Done(2, 8)


def test_work_whose_process_is_killed_is_begun_again(work: OnRay, tmp_path: Path) -> None:
    work.submit(0, killed_at_first, tmp_path / "a")
    work.submit(1, killed, tmp_path / "b")
    ended = {each.key: each for each in work.done()}
    assert ended[0] == Done(0, 1)
    assert isinstance(ended[1].error, WorkerError)
    assert f"lost {AGAIN + 1} times" in str(ended[1].error)
    assert len(list(tmp_path.glob("b-*"))) == AGAIN + 1


def test_nodes_that_would_compute_otherwise_are_refused(work: OnRay, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = on_ray._facts()
    monkeypatch.setattr(on_ray, "_facts", lambda: {**ours, "torch": "0.1"})
    with pytest.raises(SpecError, match=rf"node \S+ with torch {re.escape(ours['torch'][:12])}"):
        on_ray._check_nodes("ray")


@pytest.mark.parametrize(("address", "refused"), [("127.0.0.1", False), ("203.0.113.7", True)])
def test_a_cluster_without_a_token_is_only_used_on_this_machine(
    address: str, refused: bool, work: OnRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"NodeID": each["NodeID"], "NodeManagerAddress": address, "Alive": True} for each in on_ray.ray.nodes()]
    monkeypatch.setattr(on_ray.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(on_ray.ray, "get", lambda asked, timeout: [(False, on_ray._facts()) for _ in asked])
    if refused:
        with pytest.raises(SpecError, match=r"203\.0\.113\.7 runs without a token"):
            on_ray._check_nodes("ray")
    else:
        on_ray._check_nodes("ray")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_after_the_end_of_whoever_asked(how: int, cluster: Cluster, tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: len(list(tmp_path.iterdir())) >= 2 or parent.poll() is not None)
    os.kill(parent.pid, how)
    complaints = parent.communicate(timeout=6 * WAIT)[1]
    assert complaints.count("KeyboardInterrupt") == (how == signal.SIGINT), complaints
    until(lambda: not any(Path(f"/proc/{each.name.split('-')[0]}").exists() for each in tmp_path.iterdir()))
    assert len(list(tmp_path.iterdir())) < 6


def test_through_a_client_too(cluster: Cluster, wanted: list[Cell], tmp_path: Path) -> None:
    """In a process of its own: Ray keeps one connection."""
    program = (
        "import sys; from segue.lab.cluster.places import executor_on; from segue.lab.processes import in_turn\n"
        "from fakes.cluster_jobs import *; from fakes.jobs import doubled\n"
        "with executor_on(sys.argv[1], 1) as work:\n"
        "    print(*in_turn(work, place_of, [Named(Path(sys.argv[2]))]), *in_turn(work, doubled, [1, 2]))\n"
    )
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", program, cluster.client, str(wanted[0].checkpoint)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there, *doubles = done.stdout.split()
    assert Path(there).parent == cluster.cache / "policies"
    assert doubles == ["2", "4"]


def test_without_its_token_a_cluster_is_not_to_be_had(cluster: Cluster, tmp_path: Path) -> None:
    """Which is known before anything is trained."""
    run = [sys.executable, "-m", "segue", "bench", "push-t", "--on", "ray"]
    given = os.environ | {"PYTHONPATH": str(ROOT / "src"), "RAY_AUTH_TOKEN": "f" * 32}
    done = subprocess.run(run, capture_output=True, text=True, env=given, cwd=tmp_path)
    assert done.returncode == 1
    assert "error: --on ray: Failed to connect" in done.stderr
    assert "RAY_AUTH_MODE=token" in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["ray", "ray://127.0.0.1:1"])
def test_where_nobody_listens_is_said(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SpecError, match=f"--on {place}: .*refused"), executor_on(place, 1):
        pass


def test_work_of_a_node_that_is_lost_is_done_by_another(work: OnRay, cluster: Cluster, tmp_path: Path) -> None:
    """The last test: the cluster has one node afterwards."""
    for key in range(4):
        work.submit(key, begun, tmp_path)
    until(lambda: len(list(tmp_path.iterdir())) == 4)
    of_node = {str(pid) for pid in family(cluster.node.pid)}
    lost = [each.name for each in tmp_path.iterdir() if each.name.split("-")[1] in of_node]
    assert len(lost) == 2
    cluster.lose_node()
    (tmp_path / "end").touch()
    ended = list(work.done())
    assert sorted(each.key for each in ended) == [0, 1, 2, 3]
    assert not {each.result[0] for each in ended} & {*lost}
