"""What a plan remembers of its last request: what was seen then, and what was executed since."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.chunk import Array, Past
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Handover, Plan, Request

HORIZON, ACTION, S = 6, 2, 3


def plan_of(handover: Handover = Handover.CONTINUE) -> Plan:
    return Plan(HORIZON, ACTION, S, WindowQuantile(1), handover)


def chunk(number: int) -> Array:
    """Every action of every chunk is another."""
    return 100 * number + np.arange(HORIZON * ACTION, dtype=np.float32).reshape(HORIZON, ACTION)


def past_of(request: Request | None) -> Past | None:
    assert request is not None
    return request.continuation.past


@given(
    handover=st.sampled_from(Handover),
    events=st.lists(st.sampled_from(["tick", "tick", "arrive", "arrive", "lose", "unasked", "reset"]), max_size=80),
)
def test_the_past_is_what_was_seen_and_executed_since_the_last_request(handover: Handover, events: list[str]) -> None:
    """Compared with a list of everything that happened, which the plan does not have."""
    plan, under_way = plan_of(handover), None
    seen: Array | None = None
    since: list[Array] = []
    whole = True
    for place, event in enumerate(events):
        if under_way is not None and event == "arrive":
            plan.deliver(under_way, chunk(under_way.number))
        elif under_way is not None and event == "lose":
            plan.abandon(under_way)
        under_way = None if event in ("arrive", "lose") else under_way
        if event == "reset":
            plan.reset()
            seen, since, whole, under_way = None, [], True, None
        state = np.array([place, -place], np.float32)
        request = None if event == "unasked" else plan.request(state)
        if request is not None:
            past = request.continuation.past
            if seen is None or not whole or not 0 < len(since) <= HORIZON:
                assert past is None
            else:
                assert past is not None
                assert np.array_equal(past.state, seen)
                assert np.array_equal(past.executed, since)
            assert request.continuation.episode == plan.epoch
            seen, since, whole, under_way = state, [], True, request
        tick = plan.tick()
        if tick.action is None:
            whole = False
        else:
            since.append(tick.action)


def test_a_robot_may_measure_into_the_same_memory_again() -> None:
    plan, memory = plan_of(), np.array([1.0, 2.0])
    first = plan.request(memory)
    assert first is not None
    plan.deliver(first, chunk(1))
    for _ in range(S):
        memory[:] += 1
        plan.tick()
    past = past_of(plan.request(memory))
    assert past is not None
    assert past.state.tolist() == [1, 2]
    assert past.state.dtype == past.executed.dtype == np.float32
    assert np.array_equal(past.executed, chunk(1)[:S])


def test_who_does_not_say_what_is_seen_is_told_nothing() -> None:
    plan = plan_of()
    for number in (1, 2, 3):
        request = plan.request()
        assert past_of(request) is None
        assert request is not None
        plan.deliver(request, chunk(number))
        for _ in range(S):
            plan.tick()


@pytest.mark.parametrize("extra", [0, 1])
def test_a_past_is_at_most_as_long_as_a_chunk(extra: int) -> None:
    """A chunk that comes two steps late is executed whole all the same; so long nobody was there to be asked."""
    plan, state = plan_of(Handover.RESTART), np.zeros(2, np.float32)
    first = plan.request(state)
    assert first is not None
    plan.deliver(first, chunk(1))
    plan.tick()
    plan.tick()
    second = plan.request(state)
    assert second is not None
    executed = [plan.tick().action for _ in range(2)]
    plan.deliver(second, chunk(2))
    executed += [plan.tick().action for _ in range(HORIZON - 2 + extra)]
    past = past_of(plan.request(state))
    assert (past is None) == bool(extra)
    if past is not None:
        assert np.array_equal(past.executed, np.stack([each for each in executed if each is not None]))


def test_a_hold_in_between_is_no_past() -> None:
    plan, state = plan_of(), np.zeros(2, np.float32)
    first = plan.request(state)
    assert first is not None
    assert plan.tick().action is None
    plan.deliver(first, chunk(1))
    for _ in range(S):
        plan.tick()
    assert past_of(plan.request(state)) is None
