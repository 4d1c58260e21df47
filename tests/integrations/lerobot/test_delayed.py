"""Late chunks in an evaluation whose clock stands still."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from segue.errors import SpecError, TimingError
from segue.integrations.lerobot.delayed import DelayedExecution

BATCH, HORIZON, ACTION = 3, 16, 2


class Counting:
    """Action i of robot b, for the observation of step k: (1000 k + i, b)."""

    def __init__(self) -> None:
        self.step = 0
        self.asked: list[tuple[int, Tensor | None, int]] = []

    def __call__(self, leftover: Tensor | None, delay: int) -> Tensor:
        self.asked.append((self.step, leftover, delay))
        index = (1000 * self.step + torch.arange(HORIZON)).float()
        robot = torch.arange(BATCH).float()
        return torch.stack([index.expand(BATCH, -1), robot[:, None].expand(-1, HORIZON)], dim=-1)


class TurningToNaN(Counting):
    """The same, for some chunks."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    def __call__(self, leftover: Tensor | None, delay: int) -> Tensor:
        chunks = super().__call__(leftover, delay)
        return chunks if len(self.asked) <= self.good else chunks * torch.nan


def run(execution: DelayedExecution, policy: Counting, steps: int) -> Tensor:
    """Shape (steps, batch, action)."""
    taken = []
    for policy.step in range(steps):
        taken.append(execution.action(policy))
    return torch.stack(taken)


@given(st.integers(0, 8), st.integers(0, 16))
def test_step_k_executes_the_newest_chunk_that_is_d_steps_old(delay: int, execution_horizon: int) -> None:
    if not max(delay, 1) <= execution_horizon <= HORIZON - delay:
        with pytest.raises(TimingError):
            run(DelayedExecution(delay, execution_horizon), Counting(), 1)
        return
    policy = Counting()
    taken = run(DelayedExecution(delay, execution_horizon), policy, 60)
    for step, actions in enumerate(taken):
        asked = max((step - delay) // execution_horizon, 0) * execution_horizon
        assert torch.equal(actions[:, 0], torch.full((BATCH,), 1000.0 * asked + step - asked))
        assert torch.equal(actions[:, 1], torch.arange(BATCH).float())


def test_the_policy_is_told_what_is_left_and_how_long_it_will_take() -> None:
    policy = Counting()
    run(DelayedExecution(3, 6), policy, 40)
    assert [step for step, _, _ in policy.asked] == [0, 6, 12, 18, 24, 30, 36]
    assert policy.asked[0][1:] == (None, 0)
    for step, leftover, delay in policy.asked[1:]:
        assert leftover is not None
        assert leftover.shape == (BATCH, HORIZON - 6, ACTION)
        assert delay == 3
        assert leftover[1, 0].tolist() == [1000 * (step - 6) + 6, 1]


def test_without_an_execution_horizon_half_of_the_chunk_is_executed() -> None:
    policy = Counting()
    run(DelayedExecution(0), policy, HORIZON + 1)
    assert [step for step, _, _ in policy.asked] == [0, HORIZON // 2, HORIZON]


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("good", [0, 2])
def test_a_chunk_that_is_not_finite_ends_the_evaluation(delay: int, good: int) -> None:
    policy = TurningToNaN(good)
    with pytest.raises(SpecError, match=f"not finite, asked for in step {4 * good}"):
        run(DelayedExecution(delay, 4), policy, 20)
    assert policy.step == 4 * good + (delay if good else 0)


def test_an_episode_begins_anew() -> None:
    execution, policy = DelayedExecution(4, 8), Counting()
    run(execution, policy, 10)
    execution.reset()
    policy.step = 77
    assert execution.action(policy)[0, 0] == 77000
    assert policy.asked[-1] == (77, None, 0)
