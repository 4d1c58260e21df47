"""Our plan as an engine of LeRobot: with a worker that finishes when the test says so, every schedule can be had."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from segue.core.chunk import Continuation
from segue.errors import TimingError
from segue.integrations.lerobot.engine import MAX_FAILURES, EngineSettings, Inferred, PlanEngine

HORIZON = 12


class ByHand(Executor):
    """Runs what was submitted when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future, Callable, tuple]] = []

    def submit(self, fn: Callable, /, *args: Any, **_: Any) -> Future:
        future: Future = Future()
        self.waiting.append((future, fn, args))
        return future

    def finish(self) -> None:
        for future, fn, args in self.waiting:
            try:
                future.set_result(fn(*args))
            except RuntimeError as error:
                future.set_exception(error)
        self.waiting = []


class Counting:
    """Action i of the chunk for the observation of step k is k + i; what is raw is that, times ten."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Tensor | None, Continuation]] = []
        self.resets, self.ended, self.broken = 0, 0, False

    def infer(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        if self.broken:
            raise RuntimeError("no policy")
        self.asked.append((observation["step"], leftover, continuation))
        actions = (observation["step"] + np.arange(HORIZON, dtype=np.float32))[:, None]
        return Inferred(10 * torch.from_numpy(actions), actions)

    def reset(self) -> None:
        self.resets += 1

    def end(self) -> None:
        self.ended += 1


def engine_of(policy: Counting, **settings: Any) -> tuple[PlanEngine, ByHand]:
    worker = ByHand()
    engine = PlanEngine(
        policy.infer, EngineSettings(**settings), reset_policy=policy.reset, end=policy.end, worker=worker
    )
    engine.start()
    engine.reset()
    worker.finish()
    engine.resume()
    return engine, worker


def run(engine: PlanEngine, worker: ByHand, steps: int, finished: Callable[[int], bool]) -> list[float | None]:
    """Actions of each step; what was submitted is finished before the steps that ``finished`` names."""
    taken = []
    for step in range(steps):
        if finished(step):
            worker.finish()
        engine.notify_observation({"step": step})
        action = engine.get_action(None)
        taken.append(None if action is None else action.item())
    return taken


def test_a_chunk_is_joined_at_the_action_that_the_robot_has_reached() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    taken = run(engine, worker, 40, finished=lambda step: step % 3 == 0)
    first = 3  # made for the observation of step 0, in which the robot stood still
    assert taken[:first] == [None] * first
    # Every chunk counts on from its observation, and the robot never stands still again: no action comes twice and none
    # is left out, after the jump from the first chunk's time to the robot's.
    jumps = [b - a for a, b in zip(taken[first:-1], taken[first + 1 :], strict=True) if a is not None and b is not None]
    assert len(jumps) == len(taken) - first - 1
    assert set(jumps) == {1, 1 + first}
    assert jumps.count(1 + first) == 1


@given(st.lists(st.booleans(), min_size=30, max_size=80))
def test_the_leftover_is_what_the_robot_has_not_taken_yet(finished: list[bool]) -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    run(engine, worker, len(finished), finished=lambda step: finished[step])
    for _, leftover, continuation in policy.asked[1:]:
        if leftover is None:
            assert continuation.known == 0
        else:
            assert torch.equal(leftover, 10 * torch.from_numpy(continuation.prefix))
            assert continuation.delay <= 4


def test_a_late_chunk_is_trimmed_and_without_one_nothing_is_sent() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=6)
    taken = run(engine, worker, 30, finished=lambda step: step in (1, 20))
    assert taken[0] is None
    assert taken[1:13] == [float(i) for i in range(12)]
    assert taken[13:20] == [None] * 7
    # asked for in step 7, where 6 actions of the first chunk were left, which were taken meanwhile
    assert taken[20:26] == [7 + 6.0 + i for i in range(6)]


def test_the_delay_is_a_quantile_of_a_window_and_forgets() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=5, delay_window=2)
    run(engine, worker, 120, finished=lambda step: step > 40 or step in (1, 11, 21, 31))
    delays = [continuation.delay for _, _, continuation in policy.asked[1:]]
    assert max(delays) == 5
    assert delays[-1] == 1


def test_an_episode_begins_anew() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    run(engine, worker, 7, finished=lambda step: step == 2)
    engine.reset()
    engine.notify_observation({"step": 100})
    assert engine.get_action(None) is None
    worker.finish()
    assert policy.resets == 2
    engine.notify_observation({"step": 101})
    action = engine.get_action(None)
    assert action is not None
    assert action.item() == 100
    assert policy.asked[-1][1] is None, "nothing of the last episode is continued"


def test_a_pause_takes_no_action_and_no_time() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    before = run(engine, worker, 6, finished=lambda step: step == 1)
    engine.pause()
    assert run(engine, worker, 50, finished=lambda _: True) == [None] * 50
    engine.resume()
    assert before[-1] is not None
    assert engine.get_action(None) is not None


def test_a_policy_that_fails_is_asked_again_and_one_that_goes_on_failing_ends_the_rollout() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    run(engine, worker, 3, finished=lambda _: True)
    policy.broken = True
    run(engine, worker, 6, finished=lambda _: True)
    policy.broken = False
    assert run(engine, worker, 6, finished=lambda _: True)[-1] is not None
    assert not engine.failed
    policy.broken = True
    run(engine, worker, 4 + MAX_FAILURES, finished=lambda _: True)
    assert engine.failed
    assert policy.ended == 1
    assert engine.get_action(None) is None


@pytest.mark.parametrize("execution_horizon", [0, HORIZON])
def test_settings_that_do_not_fit_the_chunks_are_refused(execution_horizon: int) -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=execution_horizon)
    with pytest.raises(TimingError):
        run(engine, worker, 3, finished=lambda _: True)


def test_with_a_thread_of_its_own_the_policy_is_asked_and_stopped() -> None:
    policy = Counting()
    engine = PlanEngine(policy.infer, EngineSettings(), reset_policy=policy.reset, end=policy.end)
    engine.reset()
    engine.resume()
    engine.notify_observation({"step": 0})
    assert engine.get_action(None) is None
    assert engine._first is not None
    engine._first.result(timeout=30)
    action = engine.get_action(None)
    assert action is not None
    assert action.item() == 0
    engine.stop()
    assert engine.get_action(None) is None
