"""The plan, from tables of events and by hand."""

from dataclasses import FrozenInstanceError, dataclass, field, replace

import numpy as np
import pytest

from segue.core.chunk import Array
from segue.errors import SpecError, TimingError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request, Tick

ACTION = 2


def made(request: Request, horizon: int) -> Array:
    """A chunk whose actions name the chunk and the position."""
    return np.stack([np.full(horizon, request.number), np.arange(horizon)], 1).astype(np.float32)


def plan_of(horizon: int, s: int, d: int, handover: Handover = Handover.CONTINUE) -> Plan:
    return Plan(horizon, ACTION, s, WindowQuantile(d), handover)


@dataclass
class Drive:
    """A control loop around a plan in which request number n takes ``delays[n - 1]`` steps; the last one repeats."""

    plan: Plan
    delays: list[int]
    requests: list[Request] = field(default_factory=list)
    deliveries: list[tuple[int, Delivery]] = field(default_factory=list)
    under_way: Request | None = None

    def _deliver_if_due(self) -> None:
        if self.under_way is None:
            return
        delay = self.delays[min(len(self.requests), len(self.delays)) - 1]
        if self.plan.step - self.under_way.step >= delay:
            request, self.under_way = self.under_way, None
            self.deliveries.append((self.plan.step, self.plan.deliver(request, made(request, self.plan.horizon))))

    def step(self) -> Tick:
        self._deliver_if_due()
        if (request := self.plan.request()) is not None:
            self.requests.append(request)
            self.under_way = request
        self._deliver_if_due()
        return self.plan.tick()

    def steps(self, count: int) -> list[Tick]:
        return [self.step() for _ in range(count)]


def table(ticks: list[Tick]) -> list[str]:
    """``1:0`` is position 0 of chunk 1, ``.`` a hold."""
    return ["." if tick.action is None else f"{tick.chunk}:{tick.index}" for tick in ticks]


@pytest.mark.parametrize(
    ("handover", "horizon", "s", "delays", "expected"),
    [
        # no delay: every chunk takes over in the step in which it was asked for
        (Handover.CONTINUE, 6, 3, [0], "1:0 1:1 1:2 2:0 2:1 2:2 3:0 3:1 3:2"),
        # d < s: the robot holds for the first chunk, which starts at index 0, then skips d actions of each
        (Handover.CONTINUE, 6, 3, [2], ". . 1:0 1:1 1:2 2:2 2:3 2:4 3:2 3:3 3:4"),
        # d = s = H / 2: the next chunk is asked for in the step in which one arrives, and nothing is missing
        (Handover.CONTINUE, 6, 3, [3], ". . . 1:0 1:1 1:2 2:3 2:4 2:5 3:3 3:4 3:5"),
        # a late chunk is trimmed to where the robot is; the next is due at once
        (Handover.CONTINUE, 8, 3, [0, 5, 5], "1:0 1:1 1:2 1:3 1:4 1:5 1:6 1:7 2:5 2:6 2:7 . . 3:3"),
        (Handover.CONTINUE, 8, 3, [0, 4, 4], "1:0 1:1 1:2 1:3 1:4 1:5 1:6 2:4 2:5 2:6 2:7 3:4"),
        # later than the executing chunk lasts: the robot holds, which does not make the new chunk older
        (Handover.CONTINUE, 5, 3, [0, 4, 4], "1:0 1:1 1:2 1:3 1:4 . . 2:2 2:3 2:4 . 3:3"),
        # restart: asked for d steps ahead, executed from the first action, s of each
        (Handover.RESTART, 6, 3, [0], "1:0 1:1 1:2 2:0 2:1 2:2 3:0"),
        (Handover.RESTART, 6, 3, [2], ". . 1:0 1:1 1:2 2:0 2:1 2:2 3:0 3:1 3:2"),
        (Handover.RESTART, 6, 3, [3], ". . . 1:0 1:1 1:2 2:0 2:1 2:2 3:0"),
        # synchronous: d steps of waiting before each chunk, none of which is skipped
        (Handover.WAIT, 6, 3, [0], "1:0 1:1 1:2 2:0 2:1 2:2 3:0"),
        (Handover.WAIT, 6, 3, [2], ". . 1:0 1:1 1:2 . . 2:0 2:1 2:2 . . 3:0"),
        (Handover.WAIT, 3, 3, [5], ". . . . . 1:0 1:1 1:2 . . . . . 2:0"),
    ],
)
def test_what_the_robot_executes(handover: Handover, horizon: int, s: int, delays: list[int], expected: str) -> None:
    typical = min(delays[-1], horizon - s, s)
    ticks = Drive(plan_of(horizon, s, typical, handover), delays).steps(len(expected.split()))
    assert table(ticks) == expected.split()


def test_ticks_tell_the_truth() -> None:
    drive = Drive(plan_of(6, 3, 2), [2])
    ticks = drive.steps(7)
    assert [tick.step for tick in ticks] == list(range(7))
    assert [tick.event for tick in ticks] == [Event.HELD] * 2 + [
        Event.SWITCHED, Event.CONTINUED, Event.CONTINUED, Event.SWITCHED, Event.CONTINUED,
    ]  # fmt: skip
    assert [tick.delay for tick in ticks] == [None, None, 0, 0, 0, 2, 2]
    for tick in ticks[2:]:
        assert tick.action is not None
        assert tick.action.tolist() == [tick.chunk, tick.index]


def test_the_first_chunk_starts_at_its_first_action_however_late() -> None:
    ticks = Drive(plan_of(4, 2, 1), [17]).steps(19)
    assert table(ticks) == ["."] * 17 + ["1:0", "1:1"]


def test_the_warm_up_inference_is_not_observed() -> None:
    plan = plan_of(8, 2, 1)
    Drive(plan, [2]).steps(3)
    assert plan.delay.estimate() == 1


def test_delay_is_counted_in_executed_steps() -> None:
    """Chunk 1 has two actions left when chunk 2 is asked for; the other three of five steps are holds."""
    plan = plan_of(4, 2, 1)
    drive = Drive(plan, [0, 5, 1])
    ticks = drive.steps(8)
    assert table(ticks) == ["1:0", "1:1", "1:2", "1:3", ".", ".", ".", "2:2"]
    assert ticks[-1].delay == 2
    assert plan.delay.estimate() == 2


def test_what_a_policy_is_told() -> None:
    drive = Drive(plan_of(8, 3, 2), [0, 2])
    drive.steps(7)
    first, second, third = drive.requests
    assert (first.continuation.start, first.continuation.known, first.continuation.delay) == (0, 0, 0)
    assert (second.step, second.continuation.start, second.continuation.delay) == (3, 3, 2)
    assert second.continuation.execution_horizon == 3
    assert second.continuation.prefix.tolist() == [[1, j] for j in range(3, 8)]
    assert third.continuation.prefix.tolist() == [[2, j] for j in range(3, 8)]


@pytest.mark.parametrize("handover", [Handover.RESTART, Handover.WAIT])
def test_only_a_chunk_that_is_joined_continues_something(handover: Handover) -> None:
    drive = Drive(plan_of(8, 3, 2, handover), [2])
    drive.steps(20)
    assert len(drive.requests) > 2
    assert all(request.continuation.known == request.continuation.delay == 0 for request in drive.requests)


def test_votes_count_the_chunks_that_spoke_about_a_step() -> None:
    """H = 8, s = 2, d = 0: chunks start at 0, 2, 4; the request at 6 asks about the steps 6 to 11."""
    drive = Drive(plan_of(8, 2, 0), [0])
    drive.steps(7)
    assert [request.continuation.votes.tolist() for request in drive.requests] == [
        [], [1] * 6, [2, 2, 2, 2, 1, 1], [3, 3, 2, 2, 1, 1],
    ]  # fmt: skip


def test_a_planned_delay_is_never_longer_than_what_is_known() -> None:
    """The estimate of 3 meets a prefix of 2 and s = 3 after a late chunk."""
    plan = plan_of(6, 3, 3)
    drive = Drive(plan, [0, 3, 3])
    drive.steps(30)
    for request in drive.requests:
        assert request.continuation.delay <= min(request.continuation.known, plan.execution_horizon)


def test_at_most_one_inference_is_under_way() -> None:
    plan = plan_of(4, 1, 1)
    assert plan.request() is not None
    for _ in range(10):
        assert plan.request() is None
        plan.tick()


def test_a_chunk_from_before_a_reset_is_stale() -> None:
    plan = plan_of(4, 2, 1)
    before = plan.request()
    assert before is not None
    plan.tick()
    plan.reset()
    now = plan.request()
    assert now is not None
    assert plan.deliver(before, made(before, 4)) is Delivery.STALE
    assert plan.tick().event is Event.HELD
    assert plan.deliver(now, made(now, 4)) is Delivery.TAKEN
    tick = plan.tick()
    assert (tick.chunk, tick.step, tick.index) == (now.number, 1, 0)


def test_a_reset_forgets_the_episode() -> None:
    plan = plan_of(6, 3, 1)
    Drive(plan, [1]).steps(5)
    plan.reset()
    assert (plan.step, plan.chunk) == (0, None)
    request = plan.request()
    assert request is not None
    assert request.continuation.known == 0
    assert plan.tick().event is Event.HELD


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("handover", list(Handover))
def test_a_chunk_that_is_not_finite_is_refused_and_another_asked_for(bad: float, handover: Handover) -> None:
    plan = plan_of(6, 2, 0, handover)
    Drive(plan, [0]).steps(2)
    request = plan.request()
    assert request is not None
    chunk = made(request, 6).astype(np.float64)
    chunk[3, 1] = bad
    with np.errstate(over="ignore"):
        assert plan.deliver(request, chunk) is Delivery.REFUSED  # type: ignore[arg-type]
    again = plan.request()
    assert again is not None
    assert again.number == request.number + 1
    tick = plan.tick()
    if handover is Handover.WAIT:
        assert tick.event is Event.HELD
    else:
        assert (tick.chunk, tick.index, tick.event) == (1, 2, Event.CONTINUED)
    assert plan.deliver(again, made(again, 6)) is Delivery.TAKEN


def test_a_refused_first_chunk_leaves_the_robot_holding() -> None:
    plan = plan_of(6, 2, 1)
    request = plan.request()
    assert request is not None
    assert plan.deliver(request, np.full((6, ACTION), np.nan, np.float32)) is Delivery.REFUSED
    assert plan.tick().event is Event.HELD
    assert plan.request() is not None


def test_a_chunk_that_the_robot_has_passed_is_expired() -> None:
    """Asked for in the step in which the first chunk came (d = s), and all of whose H actions are executed since."""
    plan = plan_of(4, 2, 2)
    drive = Drive(plan, [2, 6, 0])
    ticks = drive.steps(10)
    assert table(ticks) == [".", ".", "1:0", "1:1", "1:2", "1:3", ".", ".", "3:0", "3:1"]
    assert drive.deliveries == [(2, Delivery.TAKEN), (8, Delivery.EXPIRED), (8, Delivery.TAKEN)]


def test_a_robot_without_an_action_asks_at_once() -> None:
    """Refused in the chunk's last step: s steps since the request have not passed, and yet there is nothing to do."""
    plan = plan_of(4, 3, 1)
    Drive(plan, [0]).steps(3)
    request = plan.request()
    assert request is not None
    plan.tick()
    assert plan.deliver(request, np.full((4, ACTION), np.nan, np.float32)) is Delivery.REFUSED
    assert plan.request() is not None


@pytest.mark.parametrize("shape", [(3, 2), (4, 3), (4,), (1, 4, 2), (0, 2)])
def test_a_wrong_shape_changes_nothing(shape: tuple[int, ...]) -> None:
    plan = plan_of(4, 2, 1)
    request = plan.request()
    assert request is not None
    with pytest.raises(SpecError, match=r"\(4, 2\)"):
        plan.deliver(request, np.zeros(shape, np.float32))
    assert plan.request() is None
    assert plan.deliver(request, made(request, 4)) is Delivery.TAKEN
    assert table([plan.tick()]) == ["1:0"]


def test_a_chunk_is_delivered_once() -> None:
    plan = plan_of(4, 2, 1)
    request = plan.request()
    assert request is not None
    plan.deliver(request, made(request, 4))
    with pytest.raises(SpecError, match="once"):
        plan.deliver(request, made(request, 4))
    assert table([plan.tick(), plan.tick()]) == ["1:0", "1:1"]


def test_the_callers_memory_may_be_used_again() -> None:
    plan = plan_of(4, 2, 1)
    request = plan.request()
    assert request is not None
    shared = made(request, 4)
    plan.deliver(request, shared)
    shared[:] = np.nan
    tick = plan.tick()
    assert tick.action is not None
    assert tick.action.tolist() == [1, 0]


@pytest.mark.parametrize("handover", [Handover.CONTINUE, Handover.RESTART])
@pytest.mark.parametrize(("horizon", "s", "d"), [(8, 0, 0), (8, 4, -1), (8, 2, 3), (8, 6, 3), (8, 9, 0)])
def test_impossible_timing_is_refused(handover: Handover, horizon: int, s: int, d: int) -> None:
    with pytest.raises(TimingError):
        plan_of(horizon, s, d, handover)


def test_a_robot_that_waits_needs_no_overlap_but_actions_to_execute() -> None:
    plan_of(8, 8, 5, Handover.WAIT)
    with pytest.raises(TimingError):
        plan_of(8, 9, 0, Handover.WAIT)


@pytest.mark.parametrize("handover", Handover)
def test_a_request_says_what_was_executed_last(handover: Handover) -> None:
    drive = Drive(plan_of(horizon=8, s=3, d=2, handover=handover), delays=[2])
    executed: list[Array] = []
    for _ in range(20):
        asked, last = len(drive.requests), executed[-1:]
        tick = drive.step()
        if len(drive.requests) > asked:
            previous = drive.requests[-1].continuation.previous
            np.testing.assert_array_equal([] if previous is None else [previous], last)
        executed += [] if tick.action is None else [tick.action]
    assert len(drive.requests) > 3
    drive.plan.reset()
    request = drive.plan.request()
    assert request is not None
    assert request.continuation.previous is None


def test_a_request_is_itself_alone() -> None:
    """Two of equal content are two: what answers one of them says nothing of the other, and neither changes."""
    request = plan_of(8, 4, 0).request()
    assert request is not None
    assert len({request, replace(request)}) == 2
    with pytest.raises(FrozenInstanceError):
        request.number = 7  # type: ignore[misc]
