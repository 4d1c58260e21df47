"""Triggers by themselves, in a plan, and in an evaluation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import SpecError
from segue.lab.delays import Fixed
from segue.lab.rollout import Timing
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Handover, Plan
from segue.plan.trigger import FIXED_HORIZON, Continuously, FixedHorizon, Progress, QueueThreshold, Trigger, trigger

HORIZON = 12


def requests(which: Trigger, delay: int, steps: int = 40, s: int = 4) -> list[int]:
    """Steps in which chunks are asked for, where every inference takes ``delay`` steps."""
    plan, asked, under_way = Plan(HORIZON, 1, s, WindowQuantile(0), trigger=which), [], None
    for _ in range(steps):
        for asking in (True, False):
            if under_way is not None and plan.step - under_way.step >= delay:
                assert plan.deliver(under_way, np.zeros((HORIZON, 1), np.float32)) is Delivery.TAKEN
                under_way = None
            if asking and (request := plan.request()) is not None:
                asked.append(request.step)
                under_way = request
        plan.tick()
    return asked


@pytest.mark.parametrize("delay", [0, 2, 4])
def test_a_fixed_horizon_asks_every_s_steps(delay: int) -> None:
    assert np.diff(requests(FixedHorizon(), delay)).tolist()[1:] == [4] * (len(requests(FixedHorizon(), delay)) - 2)


@pytest.mark.parametrize("delay", [0, 1, 3, 5])
@pytest.mark.parametrize("left", [5, 8, 11])
def test_a_queue_threshold_asks_when_so_many_actions_are_left(left: int, delay: int) -> None:
    """A chunk that continues starts at its request, so that H - left of its steps pass until the next one.

    Where d steps have passed before it could be taken, the next request comes at d if that is later.
    """
    steps = requests(QueueThreshold(left), delay)[1:]
    assert set(np.diff(steps)) == {max(HORIZON - left, delay, 1)}


@pytest.mark.parametrize("delay", [0, 1, 3, 6])
def test_continuous_asking_is_limited_by_inference_alone(delay: int) -> None:
    assert set(np.diff(requests(Continuously(), delay)[1:])) == {max(delay, 1)}


def test_a_plan_asks_every_s_steps_unless_told_otherwise() -> None:
    plan = Plan(HORIZON, 1, 4, WindowQuantile(0))
    assert plan.trigger == FIXED_HORIZON


@pytest.mark.parametrize("handover", [Handover.WAIT, Handover.RESTART])
def test_chunks_that_are_executed_from_their_start_have_no_other_trigger(handover: Handover) -> None:
    Plan(HORIZON, 1, 4, WindowQuantile(0), handover, FixedHorizon())
    with pytest.raises(SpecError, match="fixed"):
        Plan(HORIZON, 1, 4, WindowQuantile(0), handover, Continuously())


def test_an_evaluation_hands_its_trigger_to_the_plan() -> None:
    timing = Timing(HORIZON, 4, Fixed(0), Handover.CONTINUE, 10, trigger=QueueThreshold(3))
    assert timing.plan(2).trigger == QueueThreshold(3)


@given(st.one_of(st.just(FixedHorizon()), st.just(Continuously()), st.integers(0, 500).map(QueueThreshold)))
def test_a_trigger_is_read_from_its_own_text(which: Trigger) -> None:
    assert trigger(str(which)) == which


@pytest.mark.parametrize("text", ["", "queue", "queue:", "queue:-1", "queue:x", "fixed:3", "Continuous", "queue:²"])
def test_what_is_no_trigger_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="queue:"):
        trigger(text)


def test_a_negative_threshold_is_refused() -> None:
    with pytest.raises(SpecError, match="-1"):
        QueueThreshold(-1)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(0, 50))
def test_each_trigger_looks_at_its_own_number(asked: int, left: int, s: int, threshold: int) -> None:
    progress = Progress(asked, left, s, index=7)
    assert FixedHorizon().due(progress) == (asked >= s)
    assert QueueThreshold(threshold).due(progress) == (left <= threshold)
    assert Continuously().due(progress)
