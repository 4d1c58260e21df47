"""Whatever ends a process in an ordinary way lets the robot come to rest first."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fakes.linked_policies import PATIENCE, until
from segue.runtime import signals
from segue.runtime.signals import ends, has_come, on_signals

MOVING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fakes.clock_robot_link import cell, states
from segue.runtime.signals import on_signals
made = cell()
made.clock.oversleep = lambda: time.sleep(0.002) or 0.0
with on_signals(made.executor.stop) as received:
    print("moving", flush=True)
    made.executor.run(seconds=1e6)
    with open(sys.argv[2], "w") as said:
        print(states(made)[-1], made.robot.stops, file=said)
sys.exit(received.exit_status)
"""
HERE = str(Path(__file__).parents[1])


def moving(said: Path) -> list[str]:
    """A robot of air that moves for ever, in a process of its own; what became of it is written down."""
    return [sys.executable, "-c", MOVING, HERE, str(said)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_fault_21_each_signal_lets_the_robot_come_to_rest(number: signal.Signals, tmp_path: Path) -> None:
    run = subprocess.Popen(moving(tmp_path / "said"), stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "moving\n"
        run.send_signal(number)
        assert run.wait(PATIENCE) == 128 + number
        assert (tmp_path / "said").read_text() == "HOLD 1\n"
    finally:
        run.kill()
        run.communicate()


@contextmanager
def orphan(said: Path, *before: str) -> Iterator[int]:
    """The process id of such a robot whose parent has just ended."""
    code = "import subprocess, sys; run = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True); "
    code += "run.stdout.readline(); print(run.pid, flush=True); sys.stdin.readline()"
    argv = [sys.executable, "-c", code, *before, *moving(said)]
    parent = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.communicate("\n", PATIENCE)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_fault_21_a_lost_connection_without_a_terminal_counts_as_a_signal(tmp_path: Path) -> None:
    with orphan(tmp_path / "said"):
        until(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text() == "HOLD 1\n")


def test_under_nohup_a_run_outlives_its_terminal_and_its_parent(tmp_path: Path) -> None:
    with orphan(tmp_path / "said", "nohup") as pid:
        os.kill(pid, signal.SIGHUP)
        time.sleep(4 * signals._LOOK)  # nothing is to happen, which cannot be waited for
        os.kill(pid, 0)
        assert not (tmp_path / "said").exists()
        os.kill(pid, signal.SIGTERM)
        until(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text() == "HOLD 1\n")


def test_what_was_ignored_stays_ignored_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert ends() == (signal.SIGINT, signal.SIGTERM)
        with on_signals(lambda: None) as received:
            signal.raise_signal(signal.SIGHUP)
            assert (received.number, has_come()) == (0, False)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with on_signals(lambda: None) as received:
            signal.raise_signal(signal.SIGHUP)
            assert (received.number, received.exit_status, has_come()) == (signal.SIGHUP, 129, True)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert not has_come()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.faults
@pytest.mark.parametrize("trial", range(10))
def test_sighup_at_a_random_moment(trial: int, tmp_path: Path) -> None:
    run = subprocess.Popen(moving(tmp_path / "said"), stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(0.037 * trial)
        run.send_signal(signal.SIGHUP)
        assert run.wait(PATIENCE) == 129
        assert (tmp_path / "said").read_text() == "HOLD 1\n"
    finally:
        run.kill()
        run.communicate()
