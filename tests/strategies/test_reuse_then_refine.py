"""Reuse-then-Refine: what is spliced, what is refined, and what the robot executes of it."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from segue.core.chunk import Continuation
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Plan, Request
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, refine
from segue.policies.chunk_policy import FinishedPolicy
from segue.policies.normalizer import Normalizer
from segue.strategies.reuse_then_refine import Anchor, Executed, Fixed, ReuseThenRefine, Window, moved, splice

H, A = 8, 2


def perfect(actions: Tensor) -> Tensor:
    return actions


def smoothing(actions: Tensor) -> Tensor:
    """Stands for an autoencoder: every step becomes the mean of itself and its neighbours."""
    padded = torch.cat([actions[:, :1], actions, actions[:, -1:]], dim=1)
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3


@pytest.mark.parametrize("delay", range(H + 3))
@pytest.mark.parametrize("known", [1, 4, H])
def test_the_paper_reuses_exactly_what_will_have_been_executed(known: int, delay: int) -> None:
    old, new = randn(2, H, A), randn(2, H, A, seed=1)
    finished = ReuseThenRefine(perfect, Executed()).hooks(prefix(old, known, delay)).finish(new)
    reused = min(delay, known)
    assert torch.equal(finished, torch.cat([old[:, :reused], new[:, reused:]], dim=1))


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("steps", [0, 2, 5, 20])
def test_the_released_code_reuses_a_fixed_number(steps: int, delay: int) -> None:
    old, new = randn(1, H, A), randn(1, H, A, seed=1)
    finished = ReuseThenRefine(perfect, Fixed(steps)).hooks(prefix(old, 5, delay)).finish(new)
    reused = min(steps, 5)
    assert torch.equal(finished, torch.cat([old[:, :reused], new[:, reused:]], dim=1))


@given(known=st.integers(1, H), delay=st.integers(0, H))
def test_both_agree_where_the_fixed_number_is_the_delay(known: int, delay: int) -> None:
    before, new = prefix(randn(1, H, A), known, delay), randn(1, H, A, seed=1)
    one = ReuseThenRefine(smoothing, Executed()).hooks(before).finish(new)
    assert torch.equal(one, ReuseThenRefine(smoothing, Fixed(delay)).hooks(before).finish(new))


@pytest.mark.parametrize("how", [Executed(), Fixed(3)])
def test_a_first_chunk_is_left_as_it_is(how: Any) -> None:
    new = randn(1, H, A)
    strategy = ReuseThenRefine(smoothing, how, (Window(2), Anchor()))
    assert torch.equal(strategy.hooks(prefix(torch.zeros(1, H, A), 0, 3)).finish(new), new)


def test_chunks_of_a_batch_are_spliced_each_at_its_own_place() -> None:
    old, new = randn(3, H, A), randn(3, H, A, seed=1)
    spliced = splice(old, new, torch.tensor([0, 3, H]))
    assert torch.equal(spliced[0], new[0])
    assert torch.equal(spliced[1], torch.cat([old[1, :3], new[1, 3:]]))
    assert torch.equal(spliced[2], old[2])


@dataclass
class Scripted:
    """A chunk policy that says what it is given, chunk after chunk, and continues nothing."""

    chunks: list[list[float]]
    spec: PolicySpec = field(default_factory=lambda: PolicySpec(6, 0.1, ("state",), ("action",)))

    def next_chunk(self, observation: np.ndarray, continuation: Continuation) -> np.ndarray:
        assert continuation.known == 0
        return np.array(self.chunks.pop(0), np.float32)[:, None]

    def reset(self) -> None: ...

    def close(self) -> None: ...


def drive(plan: Plan, policy: FinishedPolicy, delays: list[int], steps: int) -> tuple[list[float | None], list[Any]]:
    """The executed actions in virtual time, and the chunks; inference i takes ``delays[i]`` steps."""
    waiting: tuple[int, Request] | None = None
    executed: list[float | None] = []
    answers: list[Any] = []

    def deliver() -> None:
        nonlocal waiting
        if waiting is not None and waiting[0] <= plan.step:
            request, waiting = waiting[1], None
            actions = policy.next_chunk(np.zeros(1, np.float32), request.continuation)
            answers.append(actions[:, 0].tolist())
            assert plan.deliver(request, actions) is Delivery.TAKEN

    for _ in range(steps):
        deliver()
        request = plan.request()
        if request is not None:
            waiting = (plan.step + delays[request.number - 1], request)
            deliver()
        action = plan.tick().action
        executed.append(None if action is None else float(action[0]))
    return executed, answers


def twice_plus_one(actions: Tensor) -> Tensor:
    return 2 * actions + 1


THREE = [[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]]


def test_the_released_recipe_worked_out_by_hand() -> None:
    """H = 6, K = 3: each chunk starts 3 steps after the one before; d = 2 of its steps are never executed."""
    policy = FinishedPolicy(Scripted([list(map(float, c)) for c in THREE]), ReuseThenRefine(twice_plus_one, Fixed(3)))
    plan = Plan(6, 1, 3, WindowQuantile(2))
    executed, answers = drive(plan, policy, [0, 2, 2, 99], 12)
    assert answers == [
        [0, 1, 2, 3, 4, 5],  # the first chunk is returned unrefined
        [7, 9, 11, 27, 29, 31],  # of 3 4 5 | 13 14 15
        [55, 59, 63, 47, 49, 51],  # of the refined tail 27 29 31 | 23 24 25
    ]
    assert executed == [0, 1, 2, 3, 4, 11, 27, 29, 63, 47, 49, 51]


def test_the_paper_recipe_worked_out_by_hand() -> None:
    policy = FinishedPolicy(Scripted([list(map(float, c)) for c in THREE]), ReuseThenRefine(twice_plus_one, Executed()))
    executed, answers = drive(Plan(6, 1, 3, WindowQuantile(2)), policy, [0, 2, 2, 99], 12)
    assert answers == [
        [0, 1, 2, 3, 4, 5],
        [7, 9, 25, 27, 29, 31],  # of 3 4 | 12 13 14 15
        [55, 59, 45, 47, 49, 51],  # of 27 29 | 22 23 24 25
    ]
    assert executed == [0, 1, 2, 3, 4, 25, 27, 29, 45, 47, 49, 51]


@pytest.mark.parametrize("late", range(6))
def test_a_late_chunk_is_joined_where_the_robot_is(late: int) -> None:
    """Planned for d = 1: the spliced chunk takes over at the step that has really been reached, after a hold at most.

    The overlap ends 3 steps after the request; a robot that has nothing left to do holds, and nothing is skipped.
    """
    policy = FinishedPolicy(Scripted([list(map(float, c)) for c in THREE]), ReuseThenRefine(perfect, Executed()))
    executed, answers = drive(Plan(6, 1, 3, WindowQuantile(1)), policy, [0, late, 99], 3 + late + 1)
    assert answers[1] == [3, 11, 12, 13, 14, 15]
    assert executed[:3] == [0, 1, 2]
    while_waiting: list[float | None] = [3, 4, 5, None, None]
    assert executed[3:] == [*while_waiting[:late], answers[1][min(late, 3)]]


def test_a_latent_chunk_is_refused() -> None:
    latent = replace(prefix(torch.zeros(1, H, A), H, 1), stride=4)
    with pytest.raises(SpecError, match="4 control steps per position"):
        ReuseThenRefine(perfect).hooks(latent)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("delay", [1, 3, H])
def test_an_anchored_chunk_passes_through_the_last_executed_action(delay: int, decay: float) -> None:
    old, new = randn(2, H, A), randn(2, H, A, seed=1)
    before = prefix(old, H, delay)
    free = ReuseThenRefine(smoothing).hooks(before).finish(new)
    anchored = ReuseThenRefine(smoothing, adjustments=(Anchor(decay),)).hooks(before).finish(new)
    last = delay - 1
    torch.testing.assert_close(anchored[:, last], old[:, last])
    offset = old[:, last] - free[:, last]
    for step in range(last, H):
        torch.testing.assert_close(anchored[:, step] - free[:, step], offset * decay ** (step - last))
    assert torch.equal(anchored[:, :last], free[:, :last])


def test_without_delay_there_is_nothing_to_anchor_to() -> None:
    before, new = prefix(randn(1, H, A), H, 0), randn(1, H, A, seed=1)
    anchored = ReuseThenRefine(smoothing, adjustments=(Anchor(),)).hooks(before).finish(new)
    assert torch.equal(anchored, smoothing(new))


def test_a_window_refines_around_the_seam_only() -> None:
    spliced, refined = torch.zeros(1, H, A), torch.ones(1, H, A)
    share = Window(2)(refined, spliced, torch.tensor([4]))
    assert share[0, :, 0].tolist() == [0, 0, 0.5, 1, 1, 0.5, 0, 0]


def test_a_wide_window_is_the_refined_chunk_near_the_seam() -> None:
    spliced, refined = randn(1, H, A), randn(1, H, A, seed=1)
    wide = Window(10**9)(refined, spliced, torch.tensor([4]))
    torch.testing.assert_close(wide, refined, rtol=0, atol=1e-6)


def test_moved_is_the_largest_and_the_mean_distance() -> None:
    before = torch.zeros(1, 4, 2)
    after = torch.tensor([[[1.0, 0], [-3, 0], [0, 2], [0, 2]]])
    largest, mean = moved(before, after)
    assert largest.tolist() == [[3, 2]]
    assert mean.tolist() == [[1, 1]]


def test_a_real_autoencoder_finishes_in_robot_units() -> None:
    """With weights that require gradients, and a horizon that the stride does not divide."""
    torch.manual_seed(0)
    codec = ChunkAutoencoder(AutoencoderConfig(8, ("a",), 3), Normalizer([1.0], [2.0]))
    policy = FinishedPolicy(Scripted([list(map(float, c)) for c in THREE]), ReuseThenRefine(partial(refine, codec)))
    old = np.array([[3.0], [4.0], [5.0]], np.float32)
    finished = policy.next_chunk(np.zeros(1, np.float32), Continuation(3, old, 2, 3, np.ones(3, np.int64)))
    expected = refine(codec, torch.tensor([[[3.0], [4.0], [2.0], [3.0], [4.0], [5.0]]]))
    assert finished == pytest.approx(expected[0].detach().numpy())
    assert finished.shape == (6, 1)


@pytest.mark.parametrize("wrong", [lambda: Fixed(-1), lambda: Window(0), lambda: Anchor(1.0), lambda: Anchor(-0.1)])
def test_impossible_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(SpecError):
        wrong()
