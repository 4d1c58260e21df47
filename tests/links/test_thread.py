"""A policy in a worker thread: answers when the worker is done, errors in words, the newest request only."""

import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from fakes.clock_robot_link import DT, LIMITS, FakeClock, FakeRobot, S, wave
from fakes.lerobot_engine import ByHand
from segue.core.chunk import Array, nothing_to_continue
from segue.links.link import LinkState, PolicyLink
from segue.links.thread import ThreadLink
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan, Request
from segue.runtime.executor import Ending, Executor, Tolerance
from segue.safety.ladder import Ladder


def request(number: int) -> Request:
    return Request(3, number, 10 * number, nothing_to_continue(10 * number, 2, S))


def answer(request: Request, observation: str) -> Array:
    if observation == "raise":
        raise RuntimeError("no policy")
    return np.full((4, 2), request.number, np.float32)


def test_an_answer_is_there_when_the_worker_is_done_and_once() -> None:
    worker = ByHand()
    link = ThreadLink(answer, worker)
    assert link.poll() is None
    link.send(request(1), "")
    assert link.poll() is None
    worker.finish()
    made = link.poll()
    assert made is not None
    assert (made.epoch, made.number, made.error) == (3, 1, "")
    assert made.actions is not None
    assert (made.actions == 1).all()
    assert math.isfinite(made.seconds)
    assert link.poll() is None


def test_a_function_that_raises_is_an_answer_with_an_error_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    worker = ByHand()
    link = ThreadLink(answer, worker)
    link.send(request(1), "raise")
    worker.finish()
    made = link.poll()
    assert made is not None
    assert (made.actions, made.error) == (None, "RuntimeError: no policy")
    [record] = caplog.records
    assert record.exc_info is not None
    assert link.state is LinkState.READY


def test_only_the_newest_request_is_answered() -> None:
    worker = ByHand()
    link = ThreadLink(answer, worker)
    link.send(request(1), "")
    link.send(request(2), "")
    worker.finish()
    made = link.poll()
    assert made is not None
    assert made.number == 2
    assert link.poll() is None


def test_nothing_comes_from_a_link_that_is_closed() -> None:
    link = ThreadLink(answer)
    link.send(request(1), "")
    link.close()
    link.close()
    assert link.poll() is None


def test_a_robot_is_driven_by_a_policy_in_a_thread() -> None:
    """With a worker that is done at once, in virtual time: one command per slot, none of them without a chunk."""

    class Inline(ByHand):
        def submit(self, fn: Callable, /, *args: Any, **named: Any) -> Future:
            future = super().submit(fn, *args, **named)
            self.finish()
            return future

    clock = FakeClock()
    robot = FakeRobot(clock)
    link: PolicyLink = ThreadLink(wave, Inline())
    executor = Executor(
        robot, Plan(16, 2, S, WindowQuantile(0)), Ladder(LIMITS, DT, [0.0, 0.0]), link, clock=clock,
        position=robot.position, tolerance=Tolerance(stall=None),
    )  # fmt: skip
    assert executor.run(seconds=1.0) is Ending.TIME
    assert (executor.counts.starved, executor.counts.skipped) == (0, 0)
    assert executor.conversation.said.errors == 0
    assert len(robot.sent) >= 100
