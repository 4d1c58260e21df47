"""Predictors and dimensions of every kind: the same states and actions in other words are predicted alike."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from segue.core.dimensions import LINEAR, Dimensions
from segue.data.episodes import Episodes
from segue.errors import CheckpointError, DataError
from segue.integrations.lerobot.commanded import check_commands
from segue.policies.families import config_for, policy_for
from segue.policies.predictors.predictor import CommandedState
from segue.policies.predictors.state import StatePredictor
from segue.training import checkpoint
from segue.training.context_predictor import encoded, train_context_predictor
from segue.training.predictor import (
    FORMAT,
    Frames,
    PredictorTraining,
    distance,
    load_predictor,
    prediction_error,
    predictor_for,
    train_predictor,
)

SEEN = Dimensions.of("angle", "angle:360", *["quaternion"] * 4, *["rotation-6d"] * 6, "binary", "constant", "linear")
DONE = Dimensions.of("angle", "velocity", "binary")
STEPS, COUNT = 60, 6
SHORT = PredictorTraining(updates=6, batch=8, most_steps=4, checkpoint_every=3, held_out_every=3)


def turning(degrees: bool = False, still: bool = False) -> Episodes:
    """A wrist that is commanded round and round, in words without a seam: what it drives turns along."""
    rng, seen, done = np.random.default_rng(0), [], []
    for _ in range(COUNT):
        speed = rng.uniform(0.1, 0.2)
        target = rng.uniform(-1, 1) + speed * np.arange(STEPS) + 0.02 * rng.normal(size=STEPS)
        angle = np.concatenate([target[:1], target[:-1]])
        half, zero = angle / 2, np.zeros(STEPS)
        turned = [np.cos(half), zero, zero, np.sin(half)]
        columns = [np.cos(angle), np.sin(angle), zero, -np.sin(angle), np.cos(angle), zero]
        closed = (np.arange(STEPS) > STEPS // 2).astype(float)
        seen.append(np.stack([angle, np.rad2deg(angle), *turned, *columns, closed, zero + 3, np.sin(angle)], axis=1))
        done.append(np.stack([np.rad2deg(target) if degrees else target, zero + speed, closed], axis=1))
    return Episodes(
        np.concatenate(seen).astype(np.float32), np.concatenate(done).astype(np.float32),
        STEPS * np.arange(1, COUNT + 1), 0.02, tuple(f"o{i}" for i in range(15)), ("wrist", "base", "jaw"),
        (0, None, None), "made", action_kinds=DONE, observation_kinds=SEEN,
    )  # fmt: skip


def other_words(episodes: Episodes, seed: int) -> Episodes:
    """The same, angles and signs at random."""
    rng = np.random.default_rng(seed)
    observation, action = episodes.observation.astype(np.float64), episodes.action.astype(np.float64)
    observation[:, :2] += rng.integers(-1, 2, (len(observation), 2)) * [2 * np.pi, 360]
    observation[:, 2:6] *= rng.choice([-1, 1], len(observation))[:, None]
    action[:, 0] += rng.integers(-1, 2, len(action)) * 2 * np.pi
    return replace(episodes, observation=observation.astype(np.float32), action=action.astype(np.float32))


def shaken(episodes: Episodes) -> StatePredictor:
    """One whose every input matters."""
    torch.manual_seed(0)
    predictor = predictor_for(episodes, width=8, most_steps=4)
    with torch.no_grad():
        for parameter in (*predictor.first.parameters(), *predictor.rest.parameters()):
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    return predictor.eval()


PLAIN = turning()
PREDICTOR = shaken(PLAIN)


def ahead(episodes: Episodes, steps: int, predictor: StatePredictor = PREDICTOR) -> np.ndarray:
    """Predictions from some frames of the first episode."""
    rows = np.arange(0, 40, 5)
    actions = np.stack([episodes.action[row : row + 8] for row in rows])
    return predictor.ahead(episodes.observation[rows], actions, np.full(len(rows), steps))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_the_same_in_other_words_is_predicted_alike_and_near_what_was_seen(seed: int, steps: int) -> None:
    other = other_words(PLAIN, seed)
    found = ahead(other, steps)
    np.testing.assert_allclose(SEEN.difference(found, ahead(PLAIN, steps)), 0, atol=2e-3)
    seen = other.observation[np.arange(0, 40, 5)]
    np.testing.assert_array_equal(SEEN.near(found, seen), found)
    np.testing.assert_array_equal(ahead(other, 0), seen)


def test_a_prediction_is_of_its_kind() -> None:
    found, seen = ahead(PLAIN, 8), PLAIN.observation[np.arange(0, 40, 5)]
    np.testing.assert_allclose(SEEN.proper(found), found, atol=1e-5)
    np.testing.assert_array_equal(found[:, [12, 13]], seen[:, [12, 13]])
    assert (np.abs(SEEN.difference(found, seen))[:, :12].max(0) > 1e-3)[[0, 1, 2, 5, 6, 7]].all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_is_learned_of_other_words(seed: int) -> None:
    other = other_words(PLAIN, seed)
    one, same = predictor_for(PLAIN, width=8), predictor_for(other, width=8)
    torch.testing.assert_close(same.change, one.change, atol=1e-4, rtol=1e-3)
    assert (one.change[:2] < torch.tensor([0.3, 17.0])).all(), "no step of a turn"
    angles = slice(0, 2)
    torch.testing.assert_close(same.observation.scale[angles], one.observation.scale[angles], atol=1e-3, rtol=1e-3)
    losses = []
    for episodes in (PLAIN, other):
        predictor, frames = shaken(PLAIN), Frames.of(episodes, torch.device("cpu"))
        loss = distance(predictor, frames, torch.arange(0, 50, 5), 4)
        loss.backward()
        gradient = torch.cat([each.grad.flatten() for each in predictor.parameters() if each.grad is not None])
        assert torch.isfinite(gradient).all()
        losses.append((loss.detach(), gradient / gradient.norm()))
    torch.testing.assert_close(*losses, atol=5e-3, rtol=5e-3)


def test_a_target_beyond_the_seam_is_as_near_as_it_is() -> None:
    """The linear part alone foresees a wrist that goes where it is commanded, all the way round."""
    wrapped = replace(
        PLAIN,
        observation=SEEN.wrapped(PLAIN.observation, [-np.pi, -180, *[0] * 13]),
        action=DONE.wrapped(PLAIN.action, [-np.pi, 0, 0]),
    )
    assert np.ptp(wrapped.observation[:, 0]) < 2 * np.pi < np.ptp(PLAIN.observation[:, 0])
    error = prediction_error(predictor_for(wrapped, width=8), wrapped, (1, 4))
    assert error.predicted[:, 0].max() < 0.03 < 0.3 < error.unchanged[1, 0] < 0.8


def test_what_is_not_predicted_counts_in_no_error_and_surprises_nobody() -> None:
    predictor = shaken(PLAIN)
    predictor.bounds.fill_(1.0)
    before, now = PLAIN.observation[:3], PLAIN.observation[1:4].copy()
    executed = PLAIN.action[:3, None]
    usual = predictor.surprise(before, executed, np.ones(3, np.int64), now)
    now[:, 12], now[:, 13] = 1 - now[:, 12], 50.0
    np.testing.assert_array_equal(predictor.surprise(before, executed, np.ones(3, np.int64), now), usual)
    other = other_words(replace(PLAIN, observation=np.concatenate([now, PLAIN.observation[3:]])), 0).observation[:3]
    np.testing.assert_allclose(predictor.surprise(before, executed, np.ones(3, np.int64), other), usual, atol=1e-3)
    error = prediction_error(predictor, PLAIN, (1,))
    assert (error.spread[[12, 13]] == 0).all()
    assert (error.spread[:12][[0, 1, 2, 5, 6, 7]] > 0).all()
    nothing = replace(PLAIN, observation=PLAIN.observation[:, 12:13], observation_names=("jaw",),
                      observation_kinds=Dimensions.of("binary"), state_of_action=(None,) * 3)  # fmt: skip
    alone = shaken(nothing)
    loss = distance(alone, Frames.of(nothing, torch.device("cpu")), torch.arange(5), 3)
    loss.backward()
    assert loss == 0


def test_kinds_are_kept_in_a_checkpoint_and_are_part_of_the_run(tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    made = train_predictor(PLAIN, SHORT, run=tmp_path, width=8, console=quiet)
    found, _ = load_predictor(tmp_path)
    assert found.config == made.config
    assert (found.kinds, found.config.action_kinds) == (SEEN, DONE.words)
    assert found.config.state_of_action == (0, None, None)
    np.testing.assert_array_equal(ahead(PLAIN, 4, found), ahead(PLAIN, 4, made.eval()))
    linear = replace(PLAIN, action_kinds=LINEAR, observation_kinds=LINEAR)
    with pytest.raises(CheckpointError, match="predictor settings"):
        train_predictor(linear, SHORT, run=tmp_path, width=8, console=quiet, resume=True)
    train_predictor(linear, SHORT, run=tmp_path / "linear", width=8, console=quiet)
    described = checkpoint.load(tmp_path / "linear", FORMAT).info["predictor"]
    assert described.keys() == {"observation_names", "action_names", "dt", "width"}
    info = json.loads((tmp_path / "last" / "config.json").read_text())
    for name, wrong in (("observation_kinds", ["angle"]), ("state_of_action", [99, None, None])):
        described = {**info, "predictor": {**info["predictor"], name: wrong}}
        (tmp_path / "last" / "config.json").write_text(json.dumps(described))
        with pytest.raises(CheckpointError):
            load_predictor(tmp_path)


def test_the_state_that_is_commanded_is_near_the_one_that_is_seen() -> None:
    kinds = Dimensions.of("angle:360", *["quaternion"] * 4)
    commanded = CommandedState({0: 0, 1: 1, 2: 2, 3: 3, 4: 4}, kinds=kinds)
    seen = np.array([[179.0, -1, 0, 0, 0], [-179, 1, 0, 0, 0]], np.float32)
    actions = np.array([[[-179.0, 1, 0, 0, 0]], [[-178, 1, 0, 0, 0]]], np.float32)
    found = commanded.ahead(seen, actions, np.ones(2, np.int64))
    np.testing.assert_allclose(found, [[181, -1, 0, 0, 0], [-178, 1, 0, 0, 0]])
    policy = policy_for(config_for("flow", PLAIN, horizon=8, relative=True, network_settings={"width": 8}), PLAIN)
    assert CommandedState.of(policy) == CommandedState({0: 0}, kinds=SEEN)


def test_targets_are_compared_with_states_on_the_circle() -> None:
    angle = np.linspace(0, 4 * np.pi, 200)
    wrapped = ((angle + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)[:, None]
    later = np.roll(wrapped, -1, axis=0)
    kind = Dimensions.of("angle")
    episodes = Episodes(
        wrapped[:-1], later[:-1], np.array([199]), 0.02, ("w",), ("w",), (0,), "", action_kinds=kind,
        observation_kinds=kind,
    )  # fmt: skip
    check_commands(CommandedState({0: 0}), episodes)
    step = np.full((199, 1), angle[1], np.float32)
    check_commands(CommandedState({}, {0: 0}), replace(episodes, action=step, action_kinds=LINEAR))
    with pytest.raises(DataError, match="displacement"):
        check_commands(CommandedState({}, {0: 0}), replace(episodes, action=-step, action_kinds=LINEAR))


def test_a_context_of_an_angle_is_predicted_as_one(tmp_path: Path) -> None:
    episodes = replace(PLAIN, observation=PLAIN.observation[:, :2], observation_names=("o0", "o1"),
                       observation_kinds=SEEN.part(range(2)))  # fmt: skip
    policy = policy_for(config_for("flow", episodes, horizon=8, network_settings={"width": 8}), episodes).eval()
    other = replace(episodes, observation=other_words(PLAIN, 3).observation[:, :2])
    contexts = encoded(episodes, policy)
    np.testing.assert_allclose(encoded(other, policy).observation, contexts.observation, atol=1e-4)
    assert [each.name for each in contexts.observation_kinds.kinds] == ["angle", "angle"]
    found = train_context_predictor(episodes, policy, SHORT, run=tmp_path, width=8, console=Console(quiet=True))
    rows = np.arange(0, 40, 5)
    actions = np.stack([episodes.action[row : row + 8] for row in rows])
    context = np.asarray(found.ahead(other.observation[rows], actions, np.full(len(rows), 8)).context)
    periods = np.array([period for _, period in contexts.observation_kinds.angles])
    assert (np.abs(context) <= periods / 2 * (1 + 1e-5)).all(), "near the mean, where the policy has learned"
