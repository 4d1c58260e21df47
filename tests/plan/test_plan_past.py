"""What a plan says of the past with each request: the state of the last one, and what was executed since."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.chunk import Array, Past
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Handover, Plan, Request, Tick


def state(step: int) -> Array:
    """What is seen at a step: the step itself."""
    return np.array([step, -step], np.float32)


@dataclass
class Robot:
    """A plan whose chunk number n takes ``delays[n - 1]`` steps, the last one repeating; its ticks and requests."""

    plan: Plan
    delays: tuple[int, ...]
    ticks: list[Tick] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    under_way: Request | None = None
    waits: int = 0

    def step(self, *, seen: bool = True) -> None:
        self._deliver()
        if (request := self.plan.request(state(self.plan.step) if seen else None)) is not None:
            self.waits = self.delays[min(len(self.requests), len(self.delays) - 1)]
            self.requests.append(request)
            self.under_way = request
        self._deliver()
        self.waits -= 1
        self.ticks.append(self.plan.tick())

    def _deliver(self) -> None:
        if self.under_way is not None and self.waits <= 0:
            request, self.under_way = self.under_way, None
            actions = np.full((self.plan.horizon, 2), request.number) + np.arange(self.plan.horizon)[:, None] / 100
            self.plan.deliver(request, actions.astype(np.float32))

    def steps(self, count: int) -> "Robot":
        for _ in range(count):
            self.step()
        return self

    def between(self, one: Request, other: Request) -> list[Tick]:
        """Ticks from the step of one request up to that of another."""
        return [tick for tick in self.ticks if one.step <= tick.step < other.step]


def robot(*delays: int, horizon: int = 8, s: int = 3, handover: Handover = Handover.CONTINUE) -> Robot:
    typical = min(delays[-1], horizon - s, s)
    return Robot(Plan(horizon, 2, s, WindowQuantile(typical), handover), delays)


def past(request: Request) -> Past:
    assert request.continuation.past is not None
    return request.continuation.past


def pairs(of: Robot) -> list[tuple[Request, Request]]:
    return list(zip(of.requests, of.requests[1:], strict=False))


@given(s=st.integers(1, 6), d=st.integers(0, 6), handover=st.sampled_from([Handover.CONTINUE, Handover.RESTART]))
def test_a_request_knows_the_state_of_the_last_one_and_what_was_executed_since(
    s: int, d: int, handover: Handover
) -> None:
    d = min(d, s)
    driven = robot(0, d, horizon=s + d + 1, s=s, handover=handover).steps(50)
    assert driven.requests[0].continuation.past is None
    assert all(tick.action is not None for tick in driven.ticks)
    for last, this in pairs(driven):
        assert past(this).state.tolist() == state(last.step).tolist()
        executed = [tick.action for tick in driven.between(last, this)]
        np.testing.assert_array_equal(past(this).executed, executed)


@pytest.mark.parametrize("handover", [Handover.CONTINUE, Handover.WAIT])
def test_a_pause_ends_the_past(handover: Handover) -> None:
    """A robot that holds does something that the plan knows nothing about; after the pause, there is a past again."""
    driven = robot(0, 7, 1, 1, horizon=5, s=2, handover=handover).steps(40)
    held = [any(tick.action is None for tick in driven.between(*pair)) for pair in pairs(driven)]
    assert True in held
    assert [this.continuation.past is None for _, this in pairs(driven)] == held
    if handover is Handover.CONTINUE:
        assert False in held


def test_a_pause_before_the_takeover_of_the_first_chunk_counts() -> None:
    """The first chunk was asked for with what was seen before the pause."""
    driven = robot(2, 0).steps(9)
    assert [request.continuation.past is None for request in driven.requests[:3]] == [True, True, False]


def test_a_reset_ends_the_past() -> None:
    driven = robot(0).steps(10)
    driven.plan.reset()
    driven.requests.clear()
    driven.steps(4)
    first, second = driven.requests[:2]
    assert (first.continuation.past, first.continuation.episode) == (None, 1)
    assert (past(second).state.tolist(), second.continuation.episode) == (state(0).tolist(), 1)


def test_without_a_state_there_is_no_past() -> None:
    driven = robot(0)
    seen = [True] * 4 + [False] * 3 + [True] * 5  # requests at steps 0, 3, 6, 9
    for each in seen:
        driven.step(seen=each)
    assert [request.step for request in driven.requests] == [0, 3, 6, 9]
    assert [request.continuation.past is None for request in driven.requests] == [True, False, False, True]


def test_the_state_is_kept_as_it_was_seen() -> None:
    """A robot may measure into the same memory again."""
    plan, memory = Plan(4, 2, 2, WindowQuantile(0)), state(5)
    for _ in range(3):
        if (request := plan.request(memory)) is not None:
            plan.deliver(request, np.zeros((4, 2), np.float32))
            if request.step == 2:
                assert past(request).state.tolist() == state(5).tolist()
        memory[:] = 99
        plan.tick()
    assert plan.step == 3


def test_what_was_executed_includes_the_time_of_a_lost_chunk() -> None:
    """A request that is given up is the last request all the same: its state was seen."""
    driven = robot(0).steps(3)
    lost = driven.plan.request(state(3))
    assert lost is not None
    driven.ticks.append(driven.plan.tick())
    driven.plan.abandon(lost)
    again = driven.plan.request(state(4))
    assert again is not None
    assert past(again).state.tolist() == state(3).tolist()
    np.testing.assert_array_equal(past(again).executed, [driven.ticks[3].action])


def test_a_request_is_due_exactly_when_it_is_answered() -> None:
    rng, plan = np.random.default_rng(0), Plan(8, 2, 3, WindowQuantile(2))
    asked = 0
    under_way: Request | None = None
    for _ in range(300):
        due, again = plan.due, plan.due
        request = plan.request()
        assert due == again == (request is not None)
        assert not plan.due, "one is under way, or none is wanted"
        asked += due
        under_way = request or under_way
        if under_way is not None and rng.random() < 0.4:
            taken = plan.deliver(under_way, np.full((8, 2), rng.choice([0.0, np.nan], p=[0.8, 0.2]), np.float32))
            assert taken is not Delivery.REFUSED or plan.due
            under_way = None
        plan.tick()
    assert 50 < asked < 150
