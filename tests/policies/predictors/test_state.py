import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import segue.training.predictor as module
from fakes.linear_system import linear
from segue.data.episodes import Episodes
from segue.policies.predictors.state import StatePredictor
from segue.training.fit import average_into
from segue.training.predictor import prediction_error, predictor_for


def test_a_linear_system_needs_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the ridge, the regression is the system, to single precision; with it, nearly."""
    episodes = linear()
    for ridge, most in ((0.0, 1e-4), (module.RIDGE, 1e-2)):
        monkeypatch.setattr(module, "RIDGE", ridge)
        error = prediction_error(predictor_for(episodes), episodes, steps=(1, 5, 12))
        assert (error.predicted <= most * error.unchanged + 1e-6).all()


def jumping(episodes: int = 6, length: int = 30) -> Episodes:
    """States that change by something that no linear function of state and action says."""
    made = linear(episodes=episodes, length=length)
    changes = np.random.default_rng(5).standard_normal(made.observation.shape)
    return replace(made, observation=np.cumsum(changes, axis=0).astype(np.float32))


def test_what_is_not_linear_is_left_to_the_network() -> None:
    """Which has not learned anything yet: nothing changes."""
    torch.manual_seed(3)
    episodes = jumping()
    predictor = predictor_for(episodes)
    error = prediction_error(predictor, episodes, steps=(1, 5, 12))
    assert np.array_equal(error.predicted, error.unchanged)
    actions, steps = np.ones((7, 12, 2), np.float32), np.arange(7)
    assert np.array_equal(predictor.ahead(episodes.observation[:7], actions, steps), episodes.observation[:7])
    assert predictor.bounds.isinf().all()
    assert predictor.surprise(episodes.observation[:1], actions[:1], np.array([3]), 9 + episodes.observation[:1]) == 0


def test_one_dimension_may_be_linear_and_its_neighbour_not() -> None:
    mixed, other = linear(episodes=6, length=30), jumping()
    observation = mixed.observation.copy()
    observation[:, 2] = other.observation[:, 2]
    weight = predictor_for(replace(mixed, observation=observation)).linear.weight
    assert not weight[2].any()
    assert weight[:2].any(1).all()


def other(predictor: StatePredictor) -> StatePredictor:
    """A predictor of the same sizes, with other numbers everywhere."""
    made = copy.deepcopy(predictor)
    with torch.no_grad():
        for each in made.state_dict().values():
            each.mul_(1.5).add_(0.1)
    return made


def trained_once(predictor: StatePredictor) -> None:
    weights = [each.requires_grad_(True) for each in predictor.first.parameters()]
    optimizer = torch.optim.AdamW(weights, 0.1, fused=True)
    answer(predictor).sum().backward()
    optimizer.step()
    predictor.requires_grad_(False)


def replaced(predictor: StatePredictor) -> None:
    predictor.first.weight = nn.Parameter(predictor.first.weight + 1, requires_grad=False)


def rounded(predictor: StatePredictor) -> None:
    """Its weights come to lie where others were, or where they were themselves."""
    predictor.half()
    predictor.float()


def answer(predictor: StatePredictor) -> Tensor:
    state, actions = torch.linspace(-1, 1, 6).reshape(2, 3), torch.linspace(0, 1, 12).reshape(2, 3, 2)
    return torch.stack(list(predictor.steps(state, actions)))


CHANGES: dict[str, Callable[[StatePredictor], object]] = {
    "loaded": lambda predictor: predictor.load_state_dict(other(predictor).state_dict()),
    "loaded and assigned": lambda predictor: predictor.load_state_dict(other(predictor).state_dict(), assign=True),
    "averaged": lambda predictor: average_into(predictor, other(predictor), 0.9, 100),
    "initialised": lambda predictor: nn.init.ones_(predictor.first.weight),
    "trained": trained_once,
    "replaced": replaced,
    "rounded": rounded,
    "converted": lambda predictor: predictor.to(torch.bfloat16).to(torch.float32),
}


def shaken() -> StatePredictor:
    torch.manual_seed(0)
    predictor = predictor_for(linear(), width=8)
    for each in predictor.parameters():
        nn.init.normal_(each, std=0.3)
    return predictor.eval().requires_grad_(False)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_weights_that_have_changed_answer_otherwise(change: Callable[[StatePredictor], object]) -> None:
    """What is kept from one inference to the next never outlives a weight."""
    predictor = shaken()
    before = answer(predictor)
    change(predictor)
    fresh = shaken()  # has kept nothing yet
    fresh.load_state_dict(predictor.state_dict())
    after = answer(predictor)
    assert torch.equal(after, answer(fresh))
    assert not torch.equal(after, before)


@pytest.mark.parametrize(
    "name", [name for name, _ in shaken().named_parameters()] + ["change", "observation.mean", "observation.scale"]
)
def test_no_weight_is_left_out(name: str) -> None:
    predictor = shaken()
    before = answer(predictor)
    with torch.no_grad():
        predictor.state_dict()[name].add_(0.25)
    assert not torch.equal(answer(predictor), before)


def test_weights_that_stay_are_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, calls, fold = shaken(), [], StatePredictor._fold
    monkeypatch.setattr(StatePredictor, "_fold", lambda *args: calls.append(0) or fold(*args))
    answers = [answer(predictor) for _ in range(4)]
    assert len(calls) == 1
    assert all(torch.equal(*each) for each in pairwise(answers))


def test_what_was_kept_takes_no_gradient_from_training() -> None:
    predictor = shaken().requires_grad_(True)
    with torch.no_grad():
        answer(predictor)
    for _ in range(2):
        predictor.zero_grad()
        answer(predictor).sum().backward()
        assert predictor.first.weight.grad is not None
        assert predictor.first.weight.grad.any()


def test_inference_mode_and_gradients_of_the_state_do_not_meet() -> None:
    predictor = shaken()
    with torch.inference_mode():
        expected = answer(predictor)
        of_that_mode = copy.deepcopy(predictor)
        assert torch.equal(answer(of_that_mode), expected)
    state = torch.zeros(1, 3, requires_grad=True)
    next(predictor.steps(state, torch.zeros(1, 1, 2))).sum().backward()
    assert state.grad is not None
    assert torch.equal(answer(predictor), expected)
