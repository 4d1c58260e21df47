"""What watches over a policy process: when it gives one up, and what becomes of mistakes in itself."""

import errno
import fcntl
import os
import resource
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fakes.linked_policies import PATIENCE, ask, request, running, until
from segue.errors import PolicyError
from segue.links import process
from segue.links.link import LinkState
from segue.links.process import ProcessLink


def test_an_answer_that_comes_as_the_policy_is_given_up_is_not_a_second_one() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        child = left_unread(link)
        link._detach(child, "given up")
        answer = link.poll()
        assert answer is not None
        assert (answer.number, answer.error) == (1, "given up")
        assert link.poll() is None


def left_unread(link: ProcessLink) -> Any:
    """Ask, and wait for the answer without taking it, as between two runs; the process that has answered."""
    link.send(request(1), np.zeros(3, np.float32))
    child = link._child
    assert child is not None
    assert child.channel is not None
    answers = child.channel.answers
    until(lambda: answers.unread)
    return child


def test_a_policy_whose_answer_nobody_has_taken_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pause, or while a scene is reset by hand: the supervisor looks a hundred times, long after the request."""
    looks = threading.Semaphore(0)
    wait = process._readable

    def look(descriptors: list[int], seconds: float) -> list[int]:
        looks.release()
        return wait(descriptors, 0.001 if seconds == PATIENCE / 4 else seconds)

    monkeypatch.setattr(process, "_readable", look)
    with running("echo") as link:
        monkeypatch.setattr(process, "_GRACE", PATIENCE)
        link.hello(PATIENCE)
        child = left_unread(link)
        child.waiting_since = -1e9
        for _ in range(100):
            assert looks.acquire(timeout=PATIENCE)
        assert (link.state, link.restarts) == (LinkState.READY, 0)
        answer = link.poll()
        assert answer is not None
        assert answer.actions is not None
        assert child.owes_since() is None
        child.waiting_since = -1e9  # and one that owes an answer is
        until(lambda: link.restarts == 1)


@pytest.mark.parametrize("call", ["anonymous_file", "_readable"])
def test_what_goes_wrong_in_the_supervisor_is_said(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that have run out, and what nobody has thought of; `hello` does not wait for ever."""
    error = (
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)) if call == "anonymous_file" else ValueError("no such thing")
    )
    monkeypatch.setattr(process, call, raiser(error))
    link = ProcessLink([sys.executable, "-c", ""])
    try:
        with pytest.raises(PolicyError, match=r"Too many open files|ValueError: no such thing"):
            link.hello(PATIENCE)
    finally:
        monkeypatch.undo()
        link.close()
    assert link.state is LinkState.LOST


def raiser(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


def test_a_restart_that_goes_wrong_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        fails = iter([OSError(errno.EMFILE, "Too many open files"), RuntimeError("no such thing")])

        def start() -> Any:
            for error in fails:
                raise error
            return ProcessLink._start(link)

        monkeypatch.setattr(link, "_start", start)
        assert ask(link, 1, behaviour=1).error == "ended by signal 9"
        until(lambda: link.restarts == 3 and link.state is LinkState.READY)
        assert ask(link, 2).actions is not None


def test_descriptors_above_1023_are_waited_for() -> None:
    """As in a process with many cameras, log files and sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("no such descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 1500)
    try:
        assert process._readable([high], 0.0) == []
        os.write(writing, b"x")
        assert process._readable([high], PATIENCE) == [high]
        os.read(high, 1)
        os.close(writing)
        assert process._readable([high], PATIENCE) == [high]
    finally:
        for descriptor in (reading, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
