"""Work that is divided among processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fakes.jobs import doubled, fails, fails_strangely, killed, killed_at_first, threads
from fakes.served_policies import WAIT
from segue import errors
from segue.errors import CheckpointError, MissingExtraError, SegueError, UnknownNameError, WireError, WorkerError
from segue.lab.processes import Done, Executor, Here, Processes, executor, in_turn

PARENT = """
import os, signal, sys, time
from segue.lab.processes import executor
from fakes.jobs import told

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
    with executor(2) as work:
        for key in range({jobs}):
            work.submit(key, told, {seconds})
        for each in work.done():
            print(each.result, flush=True)
        signal.pause()
"""


@pytest.fixture(scope="module", params=[Here, lambda: Processes(2)], ids=["here", "processes"])
def any_executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor = request.param()
    yield made
    made.submit(0, doubled, 0)
    made.cancel()
    assert not list(made.done())


def every(kind: type[SegueError] = SegueError) -> Iterator[type[SegueError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from every(each)


SPECIAL: dict[type[SegueError], Callable[[], SegueError]] = {
    WireError: lambda: WireError("shape", "chunk", "a", "b", "c"),
    UnknownNameError: lambda: UnknownNameError("task", "dor", ["door"]),
    MissingExtraError: lambda: MissingExtraError("torch", "learn", "training"),
}


def test_what_is_done_is_what_a_function_makes_of_each_item(any_executor: Executor) -> None:
    for key in range(5):
        any_executor.submit(key, doubled, 10 * key)
    assert sorted(any_executor.done()) == [Done(key, 20 * key) for key in range(5)]
    assert list(in_turn(any_executor, doubled, [3, 1, 2])) == [6, 2, 4]


def test_each_job_has_one_thread_for_torch(any_executor: Executor) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert list(in_turn(any_executor, threads, [None])) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_every_error_of_ours_arrives_as_it_was(any_executor: Executor) -> None:
    raised = [
        SPECIAL.get(kind, lambda kind=kind: kind("got", "expected", "change"))() for kind in dict.fromkeys(every())
    ]
    assert {type(each) for each in raised} >= {getattr(errors, name) for name in dir(errors) if name.endswith("Error")}
    for key, error in enumerate(raised):
        any_executor.submit(key, fails, error)
    for each in any_executor.done():
        error = raised[each.key]
        assert (type(each.error), str(each.error), vars(each.error)) == (type(error), str(error), vars(error))


def test_errors_of_others_arrive_by_their_name(any_executor: Executor) -> None:
    any_executor.submit(0, fails_strangely, None)
    [ended] = any_executor.done()
    assert "of another library" in str(ended.error)
    with pytest.raises(CheckpointError, match="here"):
        list(in_turn(any_executor, fails, [CheckpointError("here", "", "")]))


def test_work_whose_process_is_killed_is_begun_once_more(tmp_path: Path) -> None:
    with executor(2) as work:
        work.submit(0, killed_at_first, tmp_path / "a")
        work.submit(1, doubled, 4)
        assert sorted(work.done()) == [Done(0, 1), Done(1, 8)]
        work.submit(2, killed, tmp_path / "b")
        work.submit(3, doubled, 5)
        ended = {each.key: each for each in work.done()}
    assert ended[3].result == 10
    assert isinstance(ended[2].error, WorkerError)
    assert "-9" in str(ended[2].error)
    assert len(list(tmp_path.glob("b-*"))) == 2


def test_what_is_left_is_ended() -> None:
    before = set(multiprocessing.active_children())
    with executor(2) as work:
        for key in range(4):
            work.submit(key, time.sleep, 0 if key == 0 else 10 * WAIT)
        assert next(work.done()).key == 0
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize(("jobs", "seconds"), [(2, 0), (6, 1000)], ids=["idle", "busy"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(jobs: int, seconds: int, how: int) -> None:
    """Killed, or interrupted as a terminal does it, which tells every process. They hold this pipe too."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(jobs=jobs, seconds=seconds)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip().isdecimal()
        if how == signal.SIGKILL:
            parent.kill()
        else:
            os.killpg(parent.pid, how)
        _, complaints = parent.communicate(timeout=2 * WAIT)
        assert complaints.count("KeyboardInterrupt") <= 1
    finally:
        parent.kill()


def test_a_policy_process_whose_parent_is_gone_before_it_has_started_builds_nothing() -> None:
    """Its parent's end is not reported to one that asks for it too late."""
    code = "from segue.links.worker import work; work(lambda: print('built', flush=True), 0, 1)"
    read, write = os.pipe()
    os.close(write)
    try:
        run = subprocess.run([sys.executable, "-c", code], stdin=read, capture_output=True, text=True)
    finally:
        os.close(read)
    assert run.stdout == ""
    assert "gone before this one had started" in run.stderr
    assert run.returncode == 1
