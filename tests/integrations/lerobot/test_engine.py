"""Our plan as an engine of LeRobot: with a worker that finishes when the test says so, every schedule can be had."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fakes.clock_robot_link import Log
from fakes.lerobot_engine import HORIZON, NAMES, ByHand, Counting, engine_of, run
from segue.core.chunk import Array, Continuation
from segue.errors import TimingError
from segue.integrations.lerobot.ahead import AheadInference, state_in
from segue.integrations.lerobot.commanded import commanded_state
from segue.integrations.lerobot.engine import MAX_FAILURES, EngineSettings, Inferred, PlanEngine
from segue.plan.plan import Delivery


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
            assert continuation.delay <= continuation.known
            assert continuation.execution_horizon == max(4, continuation.delay)


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
    assert max(delays) == 7  # what is left of a chunk of 12 after s = 5 of it: the longest delay that can be had
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
    run(engine, worker, 4 + 2 * MAX_FAILURES, finished=lambda _: True)
    assert engine.failed
    assert policy.ended == 1
    assert engine.get_action(None) is None


@pytest.mark.parametrize("dt", [0.125, 0.5])
def test_a_policy_that_fails_is_asked_less_and_less_often(dt: float) -> None:
    """The wait doubles from a control period up to a second, and begins anew in the next episode."""
    policy = Counting()
    engine, worker = engine_of(policy, dt=dt)
    policy.broken, before, failed = True, 0, []
    for step in range(100):
        worker.finish()
        engine.notify_observation({"step": step})
        engine.get_action(None)
        if engine._conversation.failures > before:
            before += 1
            failed.append(dt * step)
    waits = [min(dt * 2**n, 1.0) + dt for n in range(MAX_FAILURES - 1)]  # and a step for the inference
    assert np.diff(failed).tolist() == waits
    policy.broken = False
    engine.reset()
    assert run(engine, worker, 2, finished=lambda _: True)[-1] is not None


def test_steps_and_chunks_are_traced() -> None:
    policy, log = Counting(), Log()
    engine, worker = engine_of(policy, sink=log, execution_horizon=4)
    taken = run(engine, worker, 30, finished=lambda step: step % 3 == 0)
    traced = [None if tick.action is None else tick.action.item() for _, tick, _ in log.ticks]
    assert traced == taken[3:]  # those before the first chunk are no steps of the plan
    answered = [request for request, outcome, _ in log.chunks if outcome is Delivery.TAKEN]
    assert [request.number for request in answered] == [1 + n for n in range(len(answered))]
    assert len(answered) == engine._conversation.said.outcomes[Delivery.TAKEN] > 5
    asked = [values["request"] for _, _, values in log.ticks if values["request"] is not None]
    assert asked == list(range(2, 1 + len(policy.asked) + bool(worker.waiting)))


UNUSABLE = {
    "not finite": np.full((HORIZON, 1), np.nan, np.float32),
    "shorter": np.zeros((HORIZON - 2, 1), np.float32),
    "longer": np.zeros((HORIZON + 1, 1), np.float32),
    "of more joints": np.zeros((HORIZON, 2), np.float32),
    "of no step": np.zeros((0, 1), np.float32),
    "flat": np.zeros(HORIZON, np.float32),
}


class Spoiled(Counting):
    """Answers with something else from a call on, for a number of calls."""

    def __init__(self, chunk: Array, first: int, calls: int = 1000) -> None:
        super().__init__()
        self.chunk, self.spoiled = chunk, range(first, first + calls)

    def infer(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        made = super().infer(observation, leftover, continuation)
        bad = len(self.asked) in self.spoiled
        return Inferred(torch.from_numpy(self.chunk), self.chunk) if bad else made


@pytest.mark.parametrize("what", UNUSABLE)
@pytest.mark.parametrize("first", [1, 3])
def test_chunks_that_cannot_be_executed_end_the_rollout(
    what: str, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As an inference that raises does, and each is logged; a first chunk says how long chunks are."""
    if first == 1 and what in ("shorter", "longer", "of more joints"):
        pytest.skip("it is what chunks are like")
    policy = Spoiled(UNUSABLE[what], first)
    engine, worker = engine_of(policy, execution_horizon=4)
    taken = run(engine, worker, 300, finished=lambda _: True)
    assert engine.failed
    assert policy.ended == 1
    assert len(policy.asked) in (first - 1 + MAX_FAILURES, first + MAX_FAILURES)  # the first one may be a warm-up
    assert sum(action is not None for action in taken) < 2 * HORIZON
    assert len(caplog.records) == MAX_FAILURES


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_chunk_now_and_then_that_cannot_be_executed_is_asked_for_again(what: str) -> None:
    policy = Spoiled(UNUSABLE[what], 3, MAX_FAILURES - 1)
    engine, worker = engine_of(policy, execution_horizon=4)
    assert run(engine, worker, 60, finished=lambda _: True)[-1] is not None
    assert not engine.failed
    for _, leftover, continuation in policy.asked[1:]:  # of the last good chunk, in both spaces
        assert (leftover is None) == (continuation.known == 0)
        assert leftover is None or torch.equal(leftover, 10 * torch.from_numpy(continuation.prefix))


def test_a_delay_beyond_s_is_told_as_it_is() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=2)
    run(engine, worker, 120, finished=lambda step: step % 5 == 0)
    told = policy.asked[-1][2]
    assert (told.delay, told.execution_horizon) == (5, 5)


def test_failures_of_the_last_episode_do_not_count_in_the_next() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    run(engine, worker, 3, finished=lambda _: True)
    policy.broken = True
    run(engine, worker, 4 + 2 * MAX_FAILURES, finished=lambda _: True)
    assert engine.failed
    policy.broken = False
    engine.reset()
    assert run(engine, worker, 6, finished=lambda _: True)[-1] is not None


def test_an_inference_of_the_last_episode_neither_counts_nor_is_executed() -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=4)
    run(engine, worker, 7, finished=lambda step: step == 1)
    assert engine._link._flight is not None
    policy.broken = True
    worker.waiting, old = [], worker.waiting
    engine.reset()
    policy.broken = False
    worker.waiting += old
    for step in (100, 101, 102):
        engine.notify_observation({"step": step})
        action = engine.get_action(None)
        worker.finish()
    assert action is not None
    assert action.item() >= 100


@pytest.mark.parametrize("execution_horizon", [0, HORIZON])
def test_settings_that_do_not_fit_the_chunks_are_refused(execution_horizon: int) -> None:
    policy = Counting()
    engine, worker = engine_of(policy, execution_horizon=execution_horizon)
    with pytest.raises(TimingError):
        run(engine, worker, 3, finished=lambda _: True)


def test_with_a_thread_of_its_own_the_policy_is_asked_and_stopped() -> None:
    policy = Counting()
    engine = PlanEngine(policy.infer, EngineSettings(), dt=0.02, reset_policy=policy.reset, end=policy.end)
    engine.reset()
    engine.resume()
    engine.notify_observation({"step": 0})
    assert engine.get_action(None) is None
    assert engine._link._flight is not None
    engine._link._flight.result(timeout=30)
    action = engine.get_action(None)
    assert action is not None
    assert action.item() == 0
    engine.stop()
    assert engine.get_action(None) is None


class Following:
    """A robot that is where it was sent, and a policy that goes on from the state that it is shown, one per step."""

    def __init__(self) -> None:
        self.x, self.pasts = 0.0, list[tuple[float, Continuation]]()
        self.ahead, self.worker = AheadInference(self.chunk, commanded_state(NAMES, NAMES), NAMES), ByHand()
        self.engine = PlanEngine(
            self.infer, EngineSettings(execution_horizon=4), dt=1.0, reset_policy=lambda: None, end=lambda: None,
            worker=self.worker, state=lambda observation: state_in(observation, NAMES),
        )  # fmt: skip
        self.engine.resume()

    def chunk(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        if leftover is None:
            assert continuation.known == 0
        else:
            assert torch.equal(leftover, 10 * torch.from_numpy(continuation.prefix))
        actions = (observation["x.pos"] + 1 + np.arange(HORIZON, dtype=np.float32))[:, None]
        return Inferred(10 * torch.from_numpy(actions), actions)

    def infer(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        self.pasts.append((observation["x.pos"], continuation))
        made = self.ahead(observation, leftover, continuation)
        assert made.actions.shape == made.raw.shape == (HORIZON, 1)
        return made

    def run(self, finished: list[bool]) -> list[float]:
        """Where it was sent, until the last step."""
        sent = []
        for done in finished:
            if done:
                self.worker.finish()
            self.engine.notify_observation({"x.pos": self.x, "front": "a picture"})
            if (action := self.engine.get_action(None)) is not None:
                self.x = action.item()
                sent.append(self.x)
        return sent


@given(st.lists(st.booleans(), min_size=30, max_size=80))
def test_a_policy_that_is_shown_the_state_of_the_takeover_goes_on_without_a_seam(finished: list[bool]) -> None:
    """However late its chunks come, and whatever delay was expected."""
    sent = Following().run(finished)
    assert sent == [1.0 + i for i in range(len(sent))]


def test_committed_actions_and_their_raw_form_are_those_of_the_chunk_before() -> None:
    """A policy that jumps: its chunk begins where it takes over, and the one before is kept until then."""
    shown: list[tuple[dict[str, Any], Tensor | None, Continuation]] = []

    def jumping(observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        shown.append((dict(observation), leftover, continuation))
        actions = 500 + np.arange(HORIZON, dtype=np.float32)[:, None]
        return Inferred(10 * torch.from_numpy(actions), actions)

    ahead = AheadInference(jumping, commanded_state(NAMES, NAMES), NAMES)
    prefix = np.arange(7, dtype=np.float32)[:, None]
    left = 3 * torch.from_numpy(prefix)
    made = ahead({"x.pos": -1.0, "front": "a picture"}, left, Continuation(20, prefix, 3, 5))
    assert made.actions[:, 0].tolist() == [0, 1, 2, *range(500, 509)]
    assert made.raw[:, 0].tolist() == [0, 3, 6, *range(5000, 5090, 10)]
    [(observation, leftover, continuation)] = shown
    assert observation == {"x.pos": 2.0, "front": "a picture"}
    assert leftover is not None
    assert leftover[:, 0].tolist() == [9, 12, 15, 18]
    assert (continuation.start, continuation.delay, continuation.known) == (23, 0, 4)
    ahead({"x.pos": -1.0}, left, Continuation(20, prefix, 7, 7))  # nothing is left at the takeover
    assert shown[1][1] is None
    ahead({"x.pos": -1.0}, left, Continuation(20, prefix, 0, 5))
    assert shown[2][0] == {"x.pos": -1.0}


def test_each_request_says_what_came_of_the_last_one() -> None:
    robot = Following()
    robot.run([step % 3 == 0 for step in range(40)])
    told = [(seen, continuation.past) for seen, continuation in robot.pasts if continuation.past is not None]
    assert len(told) > 5
    for seen, past in told:
        executed: Array = past.executed[:, 0]
        np.testing.assert_array_equal(executed, past.state[0] + 1 + np.arange(len(executed)))
        assert executed[-1] == seen
