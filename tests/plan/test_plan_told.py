"""What a policy is told is what really comes, and what can be set later is checked like what was given at first."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.clock_robot_link import HORIZON, NAMES, Cell, cell
from segue.core.chunk import Array
from segue.core.dimensions import Dimensions
from segue.errors import SpecError, TimingError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request
from segue.plan.trigger import FIXED_HORIZON, Continuously, QueueThreshold, Trigger
from segue.safety.limits import JointLimits


def driven(plan: Plan, delay: int, steps: int) -> tuple[list[Request], Counter[Delivery], int]:
    """Every inference takes so many steps; requests, outcomes, and steps without an action after the first one."""
    requests, outcomes, held = list[Request](), Counter[Delivery](), 0
    under_way: Request | None = None
    for _ in range(steps):
        for asking in (True, False):
            if under_way is not None and plan.step - under_way.step >= delay:
                outcomes[plan.deliver(under_way, np.zeros((plan.horizon, plan.action), np.float32))] += 1
                under_way = None
            if asking and (request := plan.request()) is not None:
                requests.append(request)
                under_way = request
        held += plan.tick().event is Event.HELD and plan.chunk is not None
    return requests, outcomes, held


@pytest.mark.parametrize("trigger", [FIXED_HORIZON, QueueThreshold(20), QueueThreshold(28), Continuously()], ids=str)
@pytest.mark.parametrize("delay", [1, 2, 4, 7, 10, 14])
def test_a_delay_that_grows_beyond_s_is_told_as_it_is(trigger: Trigger, delay: int) -> None:
    """And s is the number of steps that will pass until the next request, whatever was set."""
    plan = Plan(32, 1, 4, WindowQuantile(2), trigger=trigger)
    requests, _, held = driven(plan, delay, 600)
    assert held == 0
    told = [request.continuation for request in requests][-5:]
    assert {each.delay for each in told} == {delay}
    assert {each.execution_horizon for each in told} == set(np.diff([request.step for request in requests[-6:]]))


def test_a_delay_beyond_what_is_left_is_told_as_what_is_left() -> None:
    plan = Plan(16, 1, 8, WindowQuantile(3))
    requests, outcomes, _ = driven(plan, 12, 600)
    for request in requests[3:]:
        told = request.continuation
        assert told.delay == min(12, told.known)
        assert told.execution_horizon >= told.delay
    assert outcomes.keys() == {Delivery.TAKEN}


@given(s=st.integers(1, 8), d=st.integers(0, 8), extra=st.integers(0, 8))
def test_within_s_nothing_is_told_otherwise_than_it_was_set(s: int, d: int, extra: int) -> None:
    d = min(d, s)
    requests, _, _ = driven(Plan(s + d + extra, 1, s, WindowQuantile(d)), d, 100)
    assert {request.continuation.delay for request in requests[1:]} <= {d}
    assert {request.continuation.execution_horizon for request in requests} == {s}


@pytest.mark.parametrize(("handover", "s"), [(Handover.RESTART, 10), (Handover.WAIT, 4)])
def test_chunks_that_are_not_joined_are_told_how_long_they_are_executed(handover: Handover, s: int) -> None:
    requests, _, _ = driven(Plan(32, 1, 4, WindowQuantile(2), handover), 10, 400)
    assert {request.continuation.execution_horizon for request in requests[-5:]} == {s}
    assert {request.continuation.delay for request in requests} == {0}


@pytest.mark.parametrize("handover", list(Handover))
@pytest.mark.parametrize(("s", "delay"), [(8, 40), (8, 16), (4, 40), (1, 100), (6, 17)])
def test_answers_later_than_a_chunk_lasts_are_not_asked_for_in_vain(handover: Handover, s: int, delay: int) -> None:
    _, outcomes, _ = driven(Plan(16, 1, s, WindowQuantile(1), handover), delay, 1500)
    assert outcomes.keys() == {Delivery.TAKEN}
    assert outcomes[Delivery.TAKEN] > 5


@pytest.mark.parametrize("steps", [40, 14, 0, -3])
def test_an_execution_horizon_is_checked_when_it_is_set(steps: int) -> None:
    plan = Plan(16, 1, 8, WindowQuantile(3))
    with pytest.raises(TimingError):
        plan.execution_horizon = steps
    assert plan.execution_horizon == 8
    plan.execution_horizon = 12
    assert driven(plan, 3, 200)[2] == 0


@pytest.mark.parametrize("steps", [2.5, 8.0, float("nan"), "8", True, None])
def test_steps_are_whole_numbers(steps: object) -> None:
    plan = Plan(16, 1, 8, WindowQuantile(3))
    with pytest.raises(SpecError, match="whole number"):
        plan.execution_horizon = steps  # type: ignore[assignment]
    with pytest.raises(SpecError, match="whole number"):
        Plan(16, 1, steps, WindowQuantile(3))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="whole number"):
        Plan(steps, 1, 8, WindowQuantile(3))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="whole number"):
        QueueThreshold(steps)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="whole number"):
        WindowQuantile(steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"window": 0}, {"quantile": 1.5}, {"quantile": -0.1}, {"quantile": float("nan")}])
def test_an_estimate_of_no_delays_is_refused(settings: dict) -> None:
    with pytest.raises(SpecError, match="quantile"):
        WindowQuantile(1, **settings)


@pytest.mark.parametrize(
    ("actions", "said"), [(2, "at least 5"), (4, "at least 5"), (16, "continuous"), (50, "continuous")]
)
def test_a_queue_that_starves_or_is_never_full_is_refused(actions: int, said: str) -> None:
    with pytest.raises(TimingError, match=said) as caught:
        Plan(16, 1, 8, WindowQuantile(5), trigger=QueueThreshold(actions))
    assert "delay of 5" in str(caught.value)
    plan = Plan(16, 1, 8, WindowQuantile(5))
    with pytest.raises(TimingError, match=said):
        plan.trigger = QueueThreshold(actions)
    assert plan.trigger == FIXED_HORIZON


@pytest.mark.parametrize("actions", [5, 8, 13, 15])
def test_a_queue_that_covers_the_delay_never_starves(actions: int) -> None:
    assert driven(Plan(16, 1, 8, WindowQuantile(5), trigger=QueueThreshold(actions)), 5, 400)[2] == 0


def test_a_setting_that_a_trigger_does_not_use_is_not_in_its_way() -> None:
    assert driven(Plan(16, 1, 15, WindowQuantile(5), trigger=Continuously()), 5, 400)[2] == 0
    with pytest.raises(TimingError):
        Plan(8, 1, 4, WindowQuantile(5), trigger=Continuously())


@pytest.mark.parametrize("name", ["horizon", "action", "handover"])
def test_what_cannot_change_is_not_set(name: str) -> None:
    plan = Plan(16, 1, 8, WindowQuantile(3))
    with pytest.raises(AttributeError):
        setattr(plan, name, getattr(plan, name))


ODD = {
    "words": np.full((16, 1), "x"),
    "complex": np.zeros((16, 1), complex),
    "objects": np.full((16, 1), None),
    "dates": np.zeros((16, 1), "datetime64[s]"),
    "too large": np.full((16, 1), 1e300),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_chunk_of_no_real_numbers_is_refused(kind: str) -> None:
    plan = Plan(16, 1, 8, WindowQuantile(3))
    request = plan.request()
    assert request is not None
    assert plan.deliver(request, ODD[kind]) is Delivery.REFUSED
    assert plan.due


@pytest.mark.parametrize("kind", ["words", "complex", "objects"])
def test_a_policy_that_answers_so_is_said_to(kind: str) -> None:
    made = cell(answer=lambda request, seen: np.repeat(ODD[kind], 2, 1))
    made.executor.run(seconds=1.0)
    assert str(ODD[kind].dtype) in made.executor.conversation.said.root_cause
    assert made.robot.stops == 1
    assert not made.commands.any()


def follow_up(made: Cell) -> list[tuple[Array, Array]]:
    """What each request was told of the last action, and what had been sent."""
    pairs = []

    def answer(request: Request, seen: Array) -> Array:
        if request.continuation.previous is not None:
            pairs.append((request.continuation.previous, made.robot.at.astype(np.float32)))
        steps = request.step + np.arange(HORIZON)
        return np.stack([np.minimum(0.02 * steps, 1.8), -0.03 * np.minimum(steps, 50)], 1).astype(np.float32)

    made.link.answer = answer
    made.executor.run(seconds=0.8)
    return pairs


@pytest.mark.parametrize(("velocity", "kind"), [(0.5, "linear"), (0.5, "displacement"), (50.0, "linear")])
def test_the_last_action_is_the_one_that_limits_have_let_through(velocity: float, kind: str) -> None:
    limits = JointLimits.uniform(
        NAMES,
        (-2, -2),
        (2, 2),
        unit="rad",
        velocity=velocity,
        acceleration=1000.0,
        jerk=1e6,
        kinds=Dimensions.of(kind, kind),
    )
    pairs = follow_up(cell(limits=limits))
    assert len(pairs) > 10
    for told, sent in pairs:
        assert np.array_equal(told, sent)


def test_a_plan_that_stands_goes_on_where_it_was() -> None:
    """As a hold does: nothing of the chunk is lost, none of the delay is counted, and the next is joined rightly."""
    plan = Plan(8, 1, 3, WindowQuantile(1))
    request = plan.request()
    assert request is not None
    plan.deliver(request, np.arange(8, dtype=np.float32)[:, None])
    done = [plan.tick().index, plan.tick().index]
    stood = [plan.stand() for _ in range(3)]
    assert [(tick.event, tick.action, tick.step) for tick in stood] == [(Event.STOOD, None, step) for step in (2, 3, 4)]
    done += [plan.tick().index]
    second = plan.request()
    assert second is not None
    assert second.continuation.prefix[:, 0].tolist() == [3, 4, 5, 6, 7]
    assert second.continuation.previous is not None
    assert second.continuation.previous.tolist() == [2]
    assert second.continuation.votes.tolist() == [1] * 5
    assert second.continuation.past is None
    done += [plan.tick().index]
    plan.stand()
    plan.deliver(second, np.arange(3, 11, dtype=np.float32)[:, None])
    tick = plan.tick()
    assert done == [0, 1, 2, 3]
    assert (tick.event, tick.index, tick.delay) == (Event.SWITCHED, 1, 1)
    assert tick.action is not None
    assert tick.action.tolist() == [4]


def test_a_plan_without_an_action_holds_when_it_stands() -> None:
    plan = Plan(8, 1, 3, WindowQuantile(1))
    assert plan.stand().event is Event.HELD
    assert plan.step == 1
