"""The plan under random schedules: delays of any length, lost and broken chunks, resets."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from segue.core.chunk import Array
from segue.errors import SpecError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request, Tick


@dataclass
class Schedule:
    """A control loop with everything random that a network and a policy can do to it, checked in every step."""

    rng: np.random.Generator
    plan: Plan
    longest: int
    late: list[tuple[int, Request, Array]] = field(default_factory=list)
    under_way: Request | None = None
    arrives: int = 0
    chunk: Array | None = None
    prefix: list[list[float]] = field(default_factory=list)
    since_request: list[list[float]] = field(default_factory=list)
    taken_index: int | None = None
    last_step: int = -1

    def run(self, steps: int) -> None:
        for _ in range(steps):
            chance = self.rng.random()
            if chance < 0.01:
                self.reset()
            elif chance < 0.02 and self.under_way is not None:
                self.arrives = 10**9  # lost; only a reset helps
            elif chance < 0.05 and self.arrives == 10**9:
                self.reset()
            self.deliver()
            self.request()
            self.deliver()
            self.tick()

    def reset(self) -> None:
        if self.under_way is not None:
            self.late.append((int(self.rng.integers(20)), self.under_way, self.actions()))
        self.plan.reset()
        self.under_way, self.chunk, self.last_step, self.taken_index = None, None, -1, None

    def actions(self) -> Array:
        return self.rng.standard_normal((self.plan.horizon, self.plan.action)).astype(np.float32)

    def request(self) -> None:
        request = self.plan.request()
        if request is None:
            return
        assert self.under_way is None, "two inferences under way"
        assert request.epoch == self.plan.epoch
        self.under_way = request
        self.arrives = self.plan.step + int(self.rng.integers(self.longest + 1))
        self.prefix, self.since_request = request.continuation.prefix.tolist(), []
        told = request.continuation
        joined = self.plan.handover is Handover.CONTINUE
        assert told.delay == (min(self.plan.delay.estimate(), len(self.prefix)) if joined else 0)
        assert told.execution_horizon >= max(self.plan.execution_horizon, told.delay)
        assert len(request.continuation.votes) == len(self.prefix)
        assert (request.continuation.votes >= 1).all()

    def deliver(self) -> None:
        for wait, request, actions in self.late:
            if wait == 0:
                assert self.plan.deliver(request, actions) is Delivery.STALE
        self.late = [(wait - 1, *rest) for wait, *rest in self.late if wait > 0]  # type: ignore[misc]
        if self.under_way is None or self.arrives > self.plan.step:
            return
        request, self.under_way = self.under_way, None
        actions = self.actions()
        if self.rng.random() < 0.05:
            actions[self.rng.integers(len(actions))] = np.nan
            before = self.plan.chunk
            assert self.plan.deliver(request, actions) is Delivery.REFUSED
            assert self.plan.chunk is before
            return
        executed = len(self.since_request)
        index = executed if self.plan.handover is Handover.CONTINUE else 0
        if self.plan.handover is Handover.CONTINUE:
            assert self.since_request == self.prefix[:executed], "the prefix is what is executed meanwhile"
        took = self.plan.deliver(request, actions)
        assert took is (Delivery.TAKEN if index < self.plan.horizon else Delivery.EXPIRED)
        if took is Delivery.TAKEN:
            self.chunk, self.taken_index = actions, index

    def tick(self) -> Tick:
        chunk = self.plan.chunk
        tick = self.plan.tick()
        assert tick.step == self.last_step + 1, "steps go up by one"
        self.last_step = tick.step
        if tick.action is None:
            assert self.plan.handover is Handover.WAIT or chunk is None or not chunk.covers(tick.step)
            assert (tick.event, tick.chunk, tick.index) == (Event.HELD, None, None)
            return tick
        assert chunk is not None
        assert self.chunk is not None
        assert tick.index == tick.step - chunk.start
        assert np.array_equal(tick.action, self.chunk[tick.step - chunk.start])
        assert (tick.event is Event.SWITCHED) == (self.taken_index is not None)
        if self.taken_index is not None:
            assert tick.index == self.taken_index, "a chunk is joined where the robot is"
            self.taken_index = None
        if self.under_way is not None:
            self.since_request.append(tick.action.tolist())
        return tick


def possible(rng: np.random.Generator) -> tuple[int, int, int]:
    """H, s, d with d <= s <= H - d."""
    d = int(rng.integers(0, 6))
    s = int(rng.integers(max(d, 1), d + 8))
    return int(rng.integers(s + d, s + d + 8)), s, d


@pytest.mark.parametrize("handover", list(Handover))
@pytest.mark.parametrize("seed", range(4))
def test_invariants_hold_under_random_schedules(handover: Handover, seed: int) -> None:
    rng = np.random.default_rng([seed, len(handover.value)])
    for _ in range(150):
        h, s, d = possible(rng)
        plan = Plan(h, 2, s, WindowQuantile(d, window=int(rng.integers(1, 12))), handover)
        Schedule(rng, plan, longest=int(rng.integers(0, 2 * h + 2))).run(100)


@pytest.mark.parametrize("handover", [Handover.CONTINUE, Handover.RESTART])
def test_possible_timing_never_leaves_the_robot_without_an_action(handover: Handover) -> None:
    """With a constant delay d <= s <= H - d, every chunk after the first is executed for exactly s steps."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        h, s, d = possible(rng)
        plan = Plan(h, 2, s, WindowQuantile(d), handover)
        under_way: Request | None = None
        takeovers: list[int] = []
        for _ in range(d + 12 * s):
            for asking in (False, True):
                if under_way is not None and plan.step - under_way.step >= d:
                    assert plan.deliver(under_way, np.zeros((h, 2), np.float32)) is Delivery.TAKEN
                    under_way = None
                if asking:
                    continue
                under_way = plan.request() or under_way
            tick = plan.tick()
            assert (tick.action is None) == (tick.step < d)
            if tick.event is Event.SWITCHED:
                takeovers.append(tick.step)
                late = d if handover is Handover.CONTINUE and len(takeovers) > 1 else 0
                assert tick.index == late
        assert set(np.diff(takeovers)) == {s}


def test_a_lost_chunk_is_helped_by_giving_it_up_and_by_a_reset() -> None:
    """What was planned is executed to its last action; then the robot holds."""
    plan = Plan(6, 2, 3, WindowQuantile(1), Handover.CONTINUE)
    first = plan.request()
    assert first is not None
    plan.deliver(first, np.zeros((6, 2), np.float32))
    for _ in range(3):
        plan.tick()
    lost = plan.request()
    assert lost is not None
    ticks = [plan.tick() for _ in range(20)]
    assert [tick.action is not None for tick in ticks] == [True] * 3 + [False] * 17
    assert plan.request() is None
    plan.abandon(first)  # answered long ago: nothing to give up
    assert plan.request() is None
    plan.abandon(lost)
    again = plan.request()
    assert again is not None
    with pytest.raises(SpecError, match="answer to the request that is under way"):
        plan.deliver(lost, np.zeros((6, 2), np.float32))
    plan.reset()
    plan.abandon(again)
    assert plan.request() is not None
    assert plan.deliver(lost, np.zeros((6, 2), np.float32)) is Delivery.STALE
