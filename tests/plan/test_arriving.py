"""Chunks that come in parts: what is there is executed, what is not is waited for, and the delay is theirs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from segue.core.chunk import Array
from segue.plan.arriving import Parts, finite
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request, Tick

H, S = 16, 6
Schedule = Callable[[int], list[tuple[int, int]]]
"""Given the committed steps d: steps after the request, and leading actions that are finished by then."""


def made(request: Request, finished: int = H) -> Array:
    """Actions that name the chunk and the position."""
    return np.stack([np.full(finished, request.number), np.arange(finished)], 1).astype(np.float32)


@dataclass
class Drive:
    """A control loop around a plan whose chunks come by a schedule."""

    schedule: Schedule
    plan: Plan = field(default_factory=lambda: Plan(H, 2, S, WindowQuantile(5)))
    requests: list[Request] = field(default_factory=list)
    due: list[tuple[int, int]] = field(default_factory=list)
    there: int = 0
    told: list[int] = field(default_factory=list)

    def _deliver(self) -> None:
        while self.due and self.plan.step - self.requests[-1].step >= self.due[0][0]:
            _, finished = self.due.pop(0)
            if finished < H:
                self.plan.deliver_part(self.requests[-1], made(self.requests[-1], finished))
            else:
                assert self.plan.deliver(self.requests[-1], made(self.requests[-1])) is Delivery.TAKEN
            self.there = finished

    def step(self) -> Tick:
        self._deliver()
        if (request := self.plan.request()) is not None:
            self.requests.append(request)
            self.told.append(request.continuation.delay)
            self.due = self.schedule(request.continuation.delay)
        self._deliver()
        tick = self.plan.tick()
        if tick.action is not None:
            assert tick.action.tolist() == [tick.chunk, tick.index]
            assert tick.index is not None
            assert tick.chunk != self.requests[-1].number or tick.index < self.there
        return tick

    def steps(self, count: int) -> list[Tick]:
        return [self.step() for _ in range(count)]


def takeovers(ticks: list[Tick]) -> list[int | None]:
    """Index at which each chunk took over."""
    return [tick.index for tick in ticks if tick.event is Event.SWITCHED]


def held(ticks: list[Tick]) -> int:
    return sum(tick.action is None for tick in ticks)


def even(d: int) -> list[tuple[int, int]]:
    """Five solver steps of one control step each; the first free position is finished first, then a fifth more."""
    return [(1, d + 1), *((k, d + (H - d) * k // 5) for k in range(2, 6))]


def test_the_robot_reacts_when_the_first_action_is_there_and_not_when_the_last_is() -> None:
    ticks = Drive(lambda d: [(5, H)]).steps(60)
    assert takeovers(ticks)[1:] == [5] * 9
    drive = Drive(even)
    ticks = drive.steps(60)
    assert takeovers(ticks)[1:] == [1] * 9
    assert held(ticks) == 5  # the first chunk, which is waited for as a whole
    assert drive.told[0] == 0
    assert drive.told[1:3] == [5, 1]
    assert set(drive.told[2:]) == {1}


def test_the_delay_is_that_with_which_no_part_comes_too_late() -> None:
    """One free action after a step, all others after four: with d = 3 the robot is at position 4 by then."""
    drive = Drive(lambda d: [(1, d + 1), (4, H)], Plan(H, 2, S, WindowQuantile(1)))
    ticks = drive.steps(60)
    gap = held(ticks) - 4  # of the first chunk
    assert gap == 4 - (1 + 1)
    assert drive.told[1] == 1
    assert set(drive.told[2:]) == {3}
    assert all(tick.index == 1 for tick in ticks if tick.event is Event.SWITCHED and (tick.chunk or 0) > 1)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_when_no_action_is_skipped_and_none_executed_that_is_not_there(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def schedule(d: int) -> list[tuple[int, int]]:
        after = np.sort(rng.integers(0, 9, 4))
        counts = [*np.sort(rng.integers(1, H, 3)).tolist(), H]
        return list(zip(after.tolist(), counts, strict=True))

    drive = Drive(schedule)
    ticks = drive.steps(200)
    for before, after in pairwise(ticks):
        if after.event is Event.CONTINUED and before.index is not None:
            assert (after.chunk, after.index) == (before.chunk, before.index + 1)
    last: dict[int, int] = {}
    for tick in ticks:
        if tick.chunk is not None and tick.index is not None:
            assert tick.index == last.get(tick.chunk, tick.index - 1) + 1  # also over a hold for its tail
            last[tick.chunk] = tick.index
    assert len(last) > 20


def asked(first: int = 3) -> tuple[Plan, Request]:
    """A plan that executes a chunk and has just asked for the next, with d = 3."""
    plan = Plan(H, 2, S, WindowQuantile(first))
    request = plan.request()
    assert request is not None
    plan.deliver(request, made(request))
    for _ in range(S):
        plan.tick()
    request = plan.request()
    assert request is not None
    return plan, request


def test_a_lost_tail_is_held_for_and_then_asked_for_anew() -> None:
    plan, request = asked()
    plan.tick()
    assert plan.deliver_part(request, made(request, 4))
    assert [plan.tick().index for _ in range(3)] == [1, 2, 3]
    assert [plan.tick().event for _ in range(5)] == [Event.HELD] * 5
    assert not plan.due
    plan.abandon(request)
    assert plan.tick().event is Event.HELD
    again = plan.request()
    assert again is not None
    assert again.continuation.known == 0
    assert plan.deliver(again, made(again)) is Delivery.TAKEN
    assert plan.tick().index == 0


def test_a_tail_that_comes_late_is_gone_on_with_where_the_robot_stopped() -> None:
    plan, request = asked()
    assert plan.deliver_part(request, made(request, 2))
    ticks = [plan.tick() for _ in range(4)]
    assert plan.stand().event is Event.HELD  # as the ladder has it while the robot comes to rest
    assert plan.deliver_part(request, made(request, 3))
    ticks.append(plan.tick())
    assert plan.deliver(request, made(request)) is Delivery.TAKEN
    ticks += [plan.tick() for _ in range(2)]
    assert [tick.index for tick in ticks] == [0, 1, None, None, 2, 3, 4]
    assert plan.chunk is not None
    assert plan.chunk.covers(plan.step)
    assert plan.delay.estimate() == max(0, 3 + 4 - 2, 3 + 5 - 3)


def test_a_reset_between_two_parts_makes_what_follows_stale() -> None:
    plan, request = asked()
    assert plan.deliver_part(request, made(request, 8))
    plan.reset()
    assert not plan.deliver_part(request, made(request, 12))
    assert plan.deliver(request, made(request)) is Delivery.STALE
    assert plan.tick().event is Event.HELD
    fresh = plan.request()
    assert fresh is not None
    assert not plan.deliver_part(fresh, made(fresh, 8))  # a first chunk is waited for as a whole
    assert plan.deliver(fresh, made(fresh)) is Delivery.TAKEN


@pytest.mark.parametrize(
    "part",
    [
        np.full((4, 2), np.nan), np.full((4, 2), 1e300), np.zeros((4, 3)), np.zeros(4), np.zeros((0, 2)),
        np.zeros((H, 2)), np.zeros((H + 1, 2)), np.full((4, 2), "1"), None,
    ],
)  # fmt: skip
def test_what_is_no_part_changes_nothing(part: Array) -> None:
    plan, request = asked()
    assert not plan.deliver_part(request, part)
    assert [plan.tick().chunk for _ in range(3)] == [1, 1, 1]
    assert plan.deliver(request, made(request)) is Delivery.TAKEN
    tick = plan.tick()
    assert (tick.chunk, tick.index, plan.delay.estimate()) == (2, 3, 3)


def test_parts_that_say_no_more_and_those_without_the_action_of_now_are_left() -> None:
    plan, request = asked()
    plan.tick()
    plan.tick()
    assert not plan.deliver_part(request, made(request, 2))  # the robot is beyond it
    assert plan.deliver_part(request, made(request, 5))
    assert not plan.deliver_part(request, made(request, 5))
    assert not plan.deliver_part(request, made(request, 4))
    assert plan.tick().index == 2


def test_a_whole_that_is_not_finite_leaves_what_was_there_of_it() -> None:
    plan, request = asked()
    assert plan.deliver_part(request, made(request, 3))
    assert plan.deliver(request, np.full((H, 2), np.nan, np.float32)) is Delivery.REFUSED
    assert [plan.tick().index for _ in range(4)] == [0, 1, 2, None]
    assert plan.due


@pytest.mark.parametrize("handover", [Handover.RESTART, Handover.WAIT])
def test_only_a_chunk_that_is_joined_is_begun_before_it_is_whole(handover: Handover) -> None:
    plan = Plan(H, 2, S, WindowQuantile(2), handover)
    request = plan.request()
    assert request is not None
    plan.deliver(request, made(request))
    while (request := plan.request()) is None:
        plan.tick()
    assert not plan.deliver_part(request, made(request, 8))


def test_the_delay_of_parts_is_its_formula() -> None:
    """``max(e_1, d + e_2 - n_1, d + e_3 - n_2)`` with e = 2, 4, 9 and n = 5, 7, H."""
    parts = Parts(delay=3).after(2, 5)
    assert parts.needed == 2
    assert parts.after(4, 7).needed == max(2, 3 + 4 - 5)
    assert parts.after(4, 7).after(9, H).needed == 3 + 9 - 7


def test_what_is_finite_is_a_copy_in_single_precision() -> None:
    given = np.ones((2, 2))
    numbers = finite(given)
    assert numbers is not None
    given[:] = 2
    assert numbers.dtype == np.float32
    assert numbers.tolist() == [[1, 1], [1, 1]]
    assert finite([[np.inf]]) is None
    assert finite("no") is None
