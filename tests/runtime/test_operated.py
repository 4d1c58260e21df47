"""What somebody beside a robot wants: which calls follow, and a terminal that is what it was, whatever the ending."""

import os
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.runtime.operated import Keys, Wish, heed, operated

SRC = Path(__file__).parents[2] / "src"


class Run:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.kept_paused = ""
        self.stopped = threading.Event()

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def stop(self) -> None:
        self.told.append("stop")
        self.stopped.set()


def test_a_wish_to_hold_is_a_pause_and_the_next_one_ends_it() -> None:
    run, said = Run(), []
    heed([Wish.HOLD, Wish.HOLD, Wish.HOLD, Wish.STOP, Wish.HOLD], run, said.append)
    assert run.told == ["pause", "resume", "pause", "stop"]
    assert said == ["holding; again to go on", "going on", "holding; again to go on", "stopping"]


def test_a_run_that_could_not_go_on_is_asked_again() -> None:
    run = Run()

    def wishes() -> Iterator[Wish]:
        yield Wish.HOLD
        yield Wish.HOLD
        run.kept_paused = "outside of its limits"
        yield Wish.HOLD
        run.kept_paused = ""
        yield Wish.HOLD

    heed(wishes(), run, lambda _: None)
    assert run.told == ["pause", "resume", "resume", "pause"]


def test_a_source_is_heard_while_the_block_runs_and_its_failure_stops_nothing() -> None:
    run, said, spoken = Run(), [], threading.Event()

    def say(text: str) -> None:
        said.append(text)
        spoken.set()

    def broken() -> Iterator[Wish]:
        raise OSError("unplugged")
        yield

    with operated(broken(), run, say):
        assert spoken.wait(60)
    assert run.told == []
    assert said == ["nobody is listened to any more: OSError: unplugged"]
    with operated([Wish.STOP], run, say):
        assert run.stopped.wait(60)


def test_a_wish_of_after_the_end_is_not_passed_on() -> None:
    run, over = Run(), threading.Event()
    gone = threading.Event()

    def late() -> Iterator[Wish]:
        over.wait(60)
        yield Wish.STOP

    def source() -> Iterator[Wish]:
        try:
            yield from late()
        finally:
            gone.set()

    with operated(source(), run, lambda _: None):
        pass
    over.set()
    assert gone.wait(60)
    assert run.told == []


def test_what_is_no_terminal_has_no_keys() -> None:
    reading, writing = os.pipe()
    try:
        assert not Keys(reading).there
    finally:
        os.close(reading)
        os.close(writing)
    assert not Keys(reading).there


SCRIPT = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal is this process's own
from segue.runtime.operated import Keys
from segue.runtime.signals import on_signals
keys = Keys()
assert keys.there
over = []
with on_signals(lambda: over.append(1)), keys:
    print("ready", flush=True)
    for wish in keys:
        print(wish.name, flush=True)
        if wish.name == "STOP":
            {ending}
"""


@pytest.mark.parametrize("ending", ["break", "raise RuntimeError", "sys.exit(3)", "signal.raise_signal(15); break"])
def test_keys_are_read_one_by_one_and_the_terminal_is_put_back(ending: str) -> None:
    ours, theirs = os.openpty()
    try:
        before = termios.tcgetattr(theirs)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(ending=ending)], stdin=theirs, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": str(SRC)},
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            during = termios.tcgetattr(theirs)
            assert not during[3] & (termios.ICANON | termios.ECHO)
            assert during[3] & termios.ISIG  # Ctrl-C is what it was
            os.write(ours, b"x  \x1b")
            assert process.stdout.read().split() == ["HOLD", "HOLD", "STOP"]
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_of_somebody_else_is_left_alone() -> None:
    """As it is for a process in the background."""
    ours, theirs = os.openpty()
    try:
        assert not Keys(theirs).there
    finally:
        os.close(ours)
        os.close(theirs)
