"""Chunks made for the step at which they take over, on a linear system whose future is known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from segue.core.chunk import Array, Continuation, Past, Predicting, hold_last
from segue.core.observation import Observation, state_of
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan, Request
from segue.policies.predictors.predictor import CommandedState, Measured, PredictivePolicy
from segue.strategies.hooks import Hooks, Prefix, no_weights

H, A, O = 12, 2, 3  # noqa: E741  # horizon, action, observation
RNG = np.random.default_rng(0)
FROM_STATE, FROM_ACTION = (RNG.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in ((O, O), (A, O)))
GAIN, PULL = (RNG.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in ((O, A), (A, A)))
PREFIX = RNG.uniform(-1, 1, (H, A)).astype(np.float32)
STATES = RNG.uniform(-1, 1, (4, O)).astype(np.float32)


def moved(state: Array, action: Array) -> Array:
    """The system, ``o' = o A + a B``, one robot at a time, so that a batch is rounded as a robot alone is."""
    return np.asarray(state @ FROM_STATE + action @ FROM_ACTION, np.float32)


class Linear:
    """The exact predictor; writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Array, list[int]]] = []

    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Any:
        self.asked.append((observed, actions, steps.tolist()))
        states = list(state_of(observed))
        for i, count in enumerate(steps):
            for j in range(count):
                states[i] = moved(states[i], actions[i, j])
        return np.stack(states)


class Doubting(Linear):
    """The same; an error of 0.1 is the bound of what is usual."""

    def surprise(self, before: Array, executed: Array, steps: NDArray[np.int64], now: Array) -> NDArray[np.float64]:
        return np.abs(self.ahead(before, executed, steps) - now).mean(1).astype(np.float64) / 0.1


@dataclass
class Reacting:
    """A policy that looks at what it is told: state, step, the prefix's first two actions, how many are committed."""

    told: list[tuple[Any, Continuation]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    spec = PolicySpec(H, 0.1, ("a", "b", "c"), ("x", "y"))

    def next_chunk(self, observation: Any, continuation: Continuation) -> Array:
        self.told.append((observation, continuation))
        reference = hold_last(continuation.prefix[:2], H)
        steps = np.arange(continuation.start, continuation.start + H, dtype=np.float32)[:, None]
        return state_of(observation) @ GAIN + reference @ PULL + 0.01 * steps + 0.05 * continuation.delay

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")


class ReactingToMany(Reacting):
    """The same for many robots in one call; each draws a number of its own."""

    def next_chunks(
        self, observations: Any, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        self.batch = observations
        states = state_of(observations)
        each = zip(states, continuations, generators, strict=True)
        return np.stack([self.next_chunk(o, c) + torch.rand((), generator=g).item() for o, c, g in each])


def continuation(delay: int, known: int = 6, start: int = 11, **settings: Any) -> Continuation:
    votes = np.arange(known, 0, -1)
    return Continuation(start, PREFIX[:known], delay, 4, votes, previous=PREFIX[-1], episode=3, **settings)


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


@pytest.mark.parametrize("asked", [continuation(0), continuation(0, known=0), continuation(3, known=0)])
def test_without_delay_nothing_is_predicted(asked: Continuation) -> None:
    """The policy is given the very objects, and its chunk is passed on as it is."""
    below, predictor, seen = ReactingToMany(), Linear(), STATES[0]
    chunk = PredictivePolicy(below, predictor).next_chunk(seen, asked)
    assert below.told[0][0] is seen
    assert below.told[0][1] is asked
    assert np.array_equal(chunk, Reacting().next_chunk(seen, asked))
    chunks = PredictivePolicy(below, predictor).next_chunks(STATES, [asked] * 4, generators(4))
    assert below.batch is STATES
    assert all(told is asked for _, told in below.told)
    assert np.array_equal(chunks, ReactingToMany().next_chunks(STATES, [asked] * 4, generators(4)))
    assert not predictor.asked


@given(delay=st.integers(0, 10), known=st.integers(0, H))
def test_a_chunk_begins_with_what_is_committed_and_goes_on_for_the_horizon(delay: int, known: int) -> None:
    asked = continuation(delay, known)
    below = Reacting()
    chunk = PredictivePolicy(below, Linear()).next_chunk(STATES[0], asked)
    committed = min(delay, known)
    assert chunk.shape == (H, A)
    assert np.array_equal(chunk[:committed], PREFIX[:committed])
    [(state, later)] = below.told
    assert np.array_equal(chunk[committed:], Reacting().next_chunk(state, later)[: H - committed])


@given(delay=st.integers(1, 6))
def test_the_policy_is_told_the_continuation_of_the_takeover(delay: int) -> None:
    below, asked = Reacting(), continuation(delay, past=Past(STATES[1], PREFIX[:2]))
    PredictivePolicy(below, Linear()).next_chunk(STATES[0], asked)
    told = below.told[0][1]
    assert (told.start, told.delay, told.execution_horizon, told.episode) == (11 + delay, 0, 4, 3)
    assert np.array_equal(told.prefix, PREFIX[delay:6])
    assert told.votes.tolist() == list(range(6 - delay, 0, -1))
    assert told.previous is not None
    assert np.array_equal(told.previous, PREFIX[delay - 1])
    assert told.past is None


@given(delay=st.integers(1, 6))
def test_the_policy_sees_the_state_of_the_takeover(delay: int) -> None:
    """``o_d = o_0 A^d + sum_j a_j B A^(d-1-j)``."""
    below = Reacting()
    PredictivePolicy(below, Linear()).next_chunk(STATES[0], continuation(delay))
    powers = [np.linalg.matrix_power(FROM_STATE.astype(np.float64), k) for k in range(delay + 1)]
    expected = STATES[0] @ powers[delay]
    expected = expected + sum(PREFIX[j] @ FROM_ACTION @ powers[delay - 1 - j] for j in range(delay))
    np.testing.assert_allclose(below.told[0][0], expected, atol=1e-6)


def test_robots_of_other_delays_are_answered_in_one_batch_as_each_alone() -> None:
    asked = [continuation(2), continuation(0), continuation(9, known=4, start=30), continuation(5, known=0)]
    predictor = Linear()
    together = PredictivePolicy(ReactingToMany(), predictor).next_chunks(STATES, asked, generators(4))
    assert [steps for *_, steps in predictor.asked] == [[2, 0, 4, 0]]
    for i, each in enumerate(asked):
        alone = PredictivePolicy(ReactingToMany(), Linear())
        own = alone.next_chunks(STATES[i : i + 1], [each], [generators(4)[i]])
        assert np.array_equal(own[0], together[i])


def test_a_policy_of_one_robot_says_that_it_is_one() -> None:
    with pytest.raises(SpecError, match="Reacting for 4 robots"):
        PredictivePolicy(Reacting(), Linear()).next_chunks(STATES, [continuation(2)] * 4, generators(4))


def executed(policy: Any, ask_ahead: int, steps: int) -> tuple[list[Array], list[Array]]:
    """A robot whose chunks take over every four steps, asked for so many steps ahead. Commands and states.

    Robots that ask at other steps change chunks at the same ones.
    """
    state, chunk, start = STATES[0], policy.next_chunk(STATES[0], Continuation(0, PREFIX[:0], 0, 4)), 0
    commands, states, waiting = [], [], dict[int, Array]()
    for step in range(steps):
        if step in waiting:  # asked for before this step
            chunk, start = waiting.pop(step), step - ask_ahead
        takeover = step + ask_ahead
        if takeover >= 4 and takeover % 4 == 0:
            asked = Continuation(step, chunk[step - start :], ask_ahead, 4, episode=1)
            waiting[takeover] = policy.next_chunk(state, asked)
        if step in waiting:
            chunk, start = waiting.pop(step), step
        commands.append(chunk[step - start])
        states.append(state)
        state = moved(state, commands[-1])
    return commands, states


@pytest.mark.parametrize("delay", [1, 2, 3, 4])
def test_with_the_exact_predictor_a_delayed_robot_moves_as_one_without_delay(delay: int) -> None:
    """The oracle, to the bit: it is the rollout without delay whose requests come so many steps later."""
    late = executed(PredictivePolicy(Reacting(), Linear()), delay, 40)
    prompt = executed(Reacting(), 0, 40)
    stale = executed(Reacting(), delay, 40)
    assert np.array_equal(late[0], prompt[0])
    assert np.array_equal(late[1], prompt[1])
    assert not np.allclose(stale[0], prompt[0], atol=0.01)


def evidence(state: Array, off: float, steps: int = 4) -> tuple[Past, Array]:
    """A past, and the state that has come of it, so far from what was to be expected."""
    now = state
    for action in PREFIX[:steps]:
        now = moved(now, action)
    return Past(state, PREFIX[:steps]), now + np.float32(off)


@pytest.mark.parametrize(("off", "doubted"), [(0.0, False), (0.09, False), (0.11, True), (-0.5, True)])
def test_after_a_surprise_the_observation_is_used_as_it_is(off: float, doubted: bool) -> None:
    past, now = evidence(STATES[0], off)
    asked, below = continuation(3, past=past), Reacting()
    policy = PredictivePolicy(below, Doubting())
    chunk = policy.next_chunk(now, asked)
    np.testing.assert_allclose(policy.surprises, [abs(off) / 0.1], atol=1e-5)
    if doubted:
        assert below.told[0] == (now, asked)
        assert np.array_equal(chunk, Reacting().next_chunk(now, asked))
    else:
        assert np.array_equal(chunk, PredictivePolicy(Reacting(), Linear()).next_chunk(now, asked))
        assert np.array_equal(chunk[:3], PREFIX[:3])


def test_only_the_robot_that_surprises_is_doubted() -> None:
    pasts = [evidence(STATES[0], 0.0), evidence(STATES[1], 0.3, steps=2), None, evidence(STATES[3], 0.05, steps=7)]
    now = np.stack([STATES[i] if each is None else each[1] for i, each in enumerate(pasts)])
    asked = [continuation(2, past=None if each is None else each[0]) for each in pasts]
    below, predictor = ReactingToMany(), Doubting()
    policy = PredictivePolicy(below, predictor)
    policy.next_chunks(now, asked, generators(4))
    np.testing.assert_allclose(policy.surprises, [0, 3, np.nan, 0.5], atol=1e-5)
    assert predictor.asked[-1][-1] == [2, 0, 2, 2]
    assert [told.start for _, told in below.told] == [13, 11, 13, 13]
    assert np.array_equal(below.told[1][0], now[1])


def test_nothing_to_compare_is_no_surprise() -> None:
    policy = PredictivePolicy(Reacting(), Doubting())
    assert isinstance(policy, Predicting)
    policy.next_chunk(STATES[0], continuation(3))
    assert np.isnan(policy.surprises).tolist() == [True]
    unguarded = PredictivePolicy(Reacting(), Doubting(), guard=False)
    past, now = evidence(STATES[0], 5.0)
    chunk = unguarded.next_chunk(now, continuation(3, past=past))
    assert np.isnan(unguarded.surprises).tolist() == [True]
    assert np.array_equal(chunk[:3], PREFIX[:3])
    assert not isinstance(Linear(), Measured)


def test_a_plan_supplies_the_evidence() -> None:
    """An undisturbed robot never surprises; one that is pushed does in the next request, and not in the one after."""
    policy, plan, state = PredictivePolicy(Reacting(), Doubting()), Plan(H, A, 4, WindowQuantile(2)), STATES[0]
    surprises, under_way = [], None
    for step in range(40):
        request: Request | None = plan.request(state)
        if request is not None:
            under_way = request, policy.next_chunk(state, request.continuation)
            surprises.append(policy.surprises[0])
        if under_way is not None and plan.step - under_way[0].step >= (2 if plan.chunk is not None else 0):
            plan.deliver(*under_way)
            under_way = None
        action = plan.tick().action
        assert action is not None
        state = moved(state, action) + np.float32(step == 21)
    pushed = -(-22 // 4)  # request number 6, at step 24
    assert np.isnan(surprises[0])
    assert surprises[pushed] > 1
    assert all(each < 1e-4 for i, each in enumerate(surprises[1:], 1) if i != pushed)


class Written:
    """A strategy that writes down what it is to finish, and doubles it."""

    def __init__(self) -> None:
        self.given: list[tuple[Prefix, Tensor]] = []

    def hooks(self, prefix: Prefix) -> Hooks:
        def finish(actions: Tensor) -> Tensor:
            self.given.append((prefix, actions.clone()))
            return 2 * actions

        return Hooks(no_weights(prefix), finish=finish)


def test_whole_chunks_are_finished_committed_actions_first() -> None:
    finishing, asked = Written(), [continuation(3), continuation(0)]
    plain = PredictivePolicy(ReactingToMany(), Linear()).next_chunks(STATES[:2], asked, generators(2))
    policy = PredictivePolicy(ReactingToMany(), Linear(), finishing=finishing)
    finished = policy.next_chunks(STATES[:2], asked, generators(2))
    [(prefix, given)] = finishing.given
    assert np.array_equal(given.numpy(), plain)
    assert np.array_equal(given[0, :3].numpy(), PREFIX[:3])
    assert prefix.delay.tolist() == [3, 0]
    assert prefix.known.tolist() == [6, 6]
    assert np.array_equal(prefix.reference[0].numpy(), hold_last(PREFIX[:6], H))
    assert np.array_equal(finished, 2 * plain)


def test_it_is_the_policy_below_in_all_else() -> None:
    below = Reacting()
    policy = PredictivePolicy(below, Linear())
    assert policy.spec is below.spec
    policy.reset()
    policy.close()
    assert below.calls == ["reset", "close"]


COMMANDED = CommandedState(replaced={0: 2}, advanced={1: 0})


def test_own_dimensions_are_as_they_are_commanded() -> None:
    steps = np.array([2, 0, 5, 1])
    actions = RNG.uniform(-1, 1, (4, 6, A)).astype(np.float32)
    given = STATES.copy()
    found = COMMANDED.ahead(given, actions, steps)
    assert np.array_equal(given, STATES), "what is observed is not written to"
    assert np.array_equal(found[1], STATES[1])
    assert np.array_equal(found[:, 1], STATES[:, 1])
    for i in (0, 2, 3):
        assert found[i, 2] == actions[i, steps[i] - 1, 0]
        assert found[i, 0] == pytest.approx(STATES[i, 0] + actions[i, : steps[i], 1].sum(), abs=1e-6)


def test_pictures_stay_what_they_are() -> None:
    pictures = {"front": np.zeros((4, 2, 2, 3), np.uint8)}
    found = COMMANDED.ahead(Observation(STATES, pictures), np.ones((4, 3, A), np.float32), np.array([1, 1, 1, 0]))
    assert found.pictures is pictures
    assert found.state[:, 2].tolist() == [1, 1, 1, STATES[3, 2]]


@dataclass(frozen=True)
class Anchored:
    """The part of a policy that says what its actions are relative to."""

    relative_to: tuple[int | None, ...] = ()
    spec = PolicySpec(H, 0.1, ("a", "b", "c"), ("x", "y"))

    @property
    def units(self) -> "Anchored":
        return self


def test_which_dimensions_a_policy_commands_is_what_its_actions_are_relative_to() -> None:
    assert CommandedState.of(Anchored((2, None, 0))) == CommandedState({0: 2, 2: 0})  # type: ignore[arg-type]
    for policy in (Anchored((None, None)), Anchored(), SimpleNamespace(units=object())):
        with pytest.raises(SpecError, match="relative"):
            CommandedState.of(policy)  # type: ignore[arg-type]


@given(known=st.integers(0, 8), first=st.integers(0, 8), second=st.integers(0, 8), delay=st.integers(0, 12))
def test_going_ahead_twice_is_going_ahead_once(known: int, first: int, second: int, delay: int) -> None:
    first, second = min(first, known), min(second, max(known - first, 0))
    asked = continuation(delay, known)
    twice, once = asked.ahead(first).ahead(second), asked.ahead(first + second)
    assert (twice.start, twice.delay, twice.known) == (once.start, once.delay, once.known)
    assert (once.start, once.known) == (11 + first + second, known - first - second)
    assert once.delay == max(delay - first - second, 0)
    assert np.array_equal(twice.prefix, once.prefix)
    assert np.array_equal(twice.votes, once.votes)
    assert twice.previous is not None
    assert once.previous is not None
    assert np.array_equal(twice.previous, once.previous)


def test_no_step_ahead_is_the_same_continuation() -> None:
    asked = continuation(2, past=Past(STATES[0], PREFIX[:1]))
    assert asked.ahead(0) is asked
    assert replace(asked, delay=9).committed == asked.known
    assert replace(asked, delay=4).committed == 4


def test_it_says_which_states_its_chunks_are_made_of() -> None:
    policy = PredictivePolicy(ReactingToMany(), Linear())
    policy.next_chunks(STATES, [continuation(2), continuation(0), continuation(1), continuation(3)], generators(4))
    expected = Linear().ahead(STATES, np.broadcast_to(PREFIX, (4, H, A)), np.array([2, 0, 1, 3]))
    expected[1] = np.nan
    np.testing.assert_array_equal(policy.predictions, expected)
    policy.next_chunk(STATES[0], continuation(0))
    assert policy.predictions.shape == (1, 0)
