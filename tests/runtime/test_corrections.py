"""Corrections in the control loop: between plan and limits, never beyond these, and doubtful ones are left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fakes.clock_robot_link import HORIZON, cell, check_safe, states, wave
from segue.core.chunk import Array
from segue.core.correction import Correction
from segue.runtime.executor import Ending


@dataclass
class By(Correction):
    """Adds what it is told to; keeps what it was asked."""

    added: Callable[[int], Any]
    asked: list[tuple[Array, Array, int]] = field(default_factory=list)

    def corrected(self, state: Array, action: Array, index: int) -> Array:
        self.asked.append((state.copy(), action, index))
        return action + self.added(len(self.asked))


def test_each_action_is_corrected_once_by_what_is_seen_then() -> None:
    correction = By(lambda _: np.full(2, 1e-3, np.float32))
    made, plain = cell(correction=correction), cell()
    for each in (made, plain):
        assert each.executor.run(seconds=1.0) is Ending.TIME
        check_safe(each)
    planned = [(tick, values) for _, tick, values in made.log.ticks if tick.action is not None]
    assert len(correction.asked) == len(planned) > 50
    for (state, action, index), (tick, values) in zip(correction.asked, planned, strict=True):
        assert np.array_equal(state, values["observation"])
        assert action is tick.action
        assert index == tick.index
        assert 0 <= index < HORIZON
    # the plan itself is as it would be: what is continued are the policy's own actions
    made_of, plain_of = (
        [tick.action for _, tick, _ in each.log.ticks if tick.action is not None] for each in (made, plain)
    )
    assert np.array_equal(made_of, plain_of)
    assert np.array_equal(made.link.requests[3].continuation.prefix, plain.link.requests[3].continuation.prefix)


def test_limits_hold_whatever_is_corrected_and_the_policy_is_told_what_was_sent() -> None:
    made = cell(correction=By(lambda _: np.full(2, 50, np.float32)))
    made.executor.run(seconds=1.0)
    check_safe(made)
    assert made.commands.max() <= 2.0
    assert made.executor.counts.saturated > 10
    sent = {values["tick"].step: values["sent"] for _, _, values in made.log.ticks}
    told = [each for each in made.link.requests if each.continuation.previous is not None]
    assert len(told) > 5
    for each in told:
        previous = each.continuation.previous
        assert previous is not None
        np.testing.assert_allclose(previous, sent[each.step - 1], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_correction_that_is_not_finite_leaves_the_plans_action(bad: float) -> None:
    made, plain = cell(correction=By(lambda n: bad if n % 3 else 0.0)), cell()
    for each in (made, plain):
        each.executor.run(seconds=1.0)
        check_safe(each)
    assert np.array_equal(made.commands, plain.commands)
    assert states(made) == states(plain)


def test_a_correction_that_raises_leaves_the_plans_action() -> None:
    def fail(number: int) -> Any:
        raise ValueError("a bug")

    made, plain = cell(correction=By(fail)), cell()
    for each in (made, plain):
        assert each.executor.run(seconds=0.5) is Ending.TIME
    assert np.array_equal(made.commands, plain.commands)


def test_what_is_not_seen_is_not_corrected() -> None:
    correction = By(lambda _: np.full(2, 1e-3, np.float32))
    made = cell(correction=correction, answer=wave)
    made.robot.faults = {("observe", number): "nan" for number in range(20, 24)}
    assert made.executor.run(seconds=0.5) is Ending.TIME
    check_safe(made)
    planned = [values for _, tick, values in made.log.ticks if tick.action is not None]
    assert len(correction.asked) == sum(values["observation"] is not None for values in planned) == len(planned) - 4
