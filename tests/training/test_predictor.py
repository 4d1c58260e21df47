"""Training of predictors: a linear system is learned, resumed to the bit, and measured on what it has not seen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import segue.training.predictor as module
from fakes.linear_system import linear
from fakes.point_mass import demonstrations
from fakes.point_mass import policy as trained_policy
from segue.core.chunk import Array
from segue.core.observation import Observation
from segue.errors import CheckpointError, DataError, SpecError
from segue.policies.normalizer import Normalizer
from segue.policies.predictors.state import StatePredictor, StatePredictorConfig
from segue.training import checkpoint
from segue.training.autoencoder import held_out
from segue.training.predictor import (
    FORMAT,
    USUAL,
    PredictorTraining,
    load_predictor,
    prediction_error,
    predictor_for,
    train_predictor,
)

QUIET = Console(quiet=True)
SHORT = PredictorTraining(updates=10, batch=8, most_steps=5, checkpoint_every=3, held_out_every=3)


def trained(run: Path, training: PredictorTraining = SHORT, **settings: Any) -> StatePredictor:
    episodes = settings.pop("episodes", None) or demonstrations()
    return train_predictor(episodes, training, run=run, width=settings.pop("width", 8), console=QUIET, **settings)


def same(one: StatePredictor, other: StatePredictor) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def shaken(most_steps: int = 5) -> StatePredictor:
    """A predictor whose weights are not zero, so that every input matters."""
    torch.manual_seed(0)
    predictor = predictor_for(linear(), width=8, most_steps=most_steps)
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    return predictor.eval()


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("learned")
    training = PredictorTraining(updates=150, batch=32, most_steps=6, learning_rate=5e-3, warmup=20, ema=0.97)
    trained(run, training, episodes=linear(), width=32)
    return run


def test_a_linear_system_is_learned(learned: Path) -> None:
    """On held-out episodes, each dimension is predicted far better than by what is seen now."""
    _, error = load_predictor(learned)
    assert error.names == ("a", "b", "c")
    assert error.steps == (4, 8, 12)
    assert (error.predicted < 0.2 * error.unchanged).all()
    assert (error.relative(error.predicted) < 0.2).all()


def test_each_step_is_learned_in_its_own_unit(learned: Path) -> None:
    """Next states of a new system state, against the equation itself."""
    predictor, _ = load_predictor(learned)
    fresh = linear(seed=9)
    index = np.flatnonzero(np.arange(len(fresh.observation)) % 40 != 39)
    found = predictor.ahead(fresh.observation[index], fresh.action[index, None], np.ones(len(index), np.int64))
    off = np.abs(found - fresh.observation[index + 1]).mean(0)
    change = np.abs(fresh.observation[index + 1] - fresh.observation[index]).mean(0)
    assert (off < 0.15 * change).all()


def test_bounds_are_what_one_in_a_hundred_held_out_predictions_exceeds(learned: Path) -> None:
    """Counted one by one: predictions of 1 to 6 steps from all frames whose episode goes on for so long."""
    predictor, _ = load_predictor(learned)
    _, unseen = held_out(linear(), 5)
    for steps in range(1, 7):
        surprises = []
        for now in (frame for frame in range(len(unseen.observation)) if frame % 40 < 40 - steps):
            executed, seen = unseen.action[None, now : now + steps], unseen.observation[[now, now + steps]]
            surprises.append(predictor.surprise(seen[:1], executed, np.array([steps]), seen[1:])[0])
        intervals = len(surprises) - 1
        assert sum(each > 1 for each in surprises) == intervals - int(USUAL * intervals) > 0


def test_what_has_been_pushed_is_surprising(learned: Path) -> None:
    predictor, _ = load_predictor(learned)
    unseen = linear(seed=4)
    now, executed, later = unseen.observation[[5]], unseen.action[None, 5:8], unseen.observation[[8]]
    count = np.array([3])
    pushed = later + unseen.observation.std(0)
    usual = predictor.surprise(now, executed, count, later)[0]
    assert usual < 5
    assert predictor.surprise(now, executed, count, pushed)[0] > 20 * usual


def test_units_are_those_of_the_demonstrations() -> None:
    """Changes between two episodes are none."""
    episodes = linear(episodes=3, length=5)
    frames = episodes.observation.reshape(3, 5, 3).astype(np.float64)
    predictor = predictor_for(episodes)
    np.testing.assert_allclose(predictor.change, np.diff(frames, axis=1).reshape(-1, 3).std(0), rtol=1e-5)


def batch(count: int = 5, most: int = 6) -> tuple[Array, Array, np.ndarray]:
    rng = np.random.default_rng(0)
    states, actions = rng.standard_normal((count, 3)), rng.standard_normal((count, most, 2))
    return states.astype(np.float32), actions.astype(np.float32), np.array([3, 0, 6, 1, 0])[:count]


def test_many_steps_are_one_step_many_times() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    found = predictor.ahead(states, actions, steps)
    for i, count in enumerate(steps):
        state = torch.as_tensor(states[i : i + 1])
        for j in range(count):
            state = next(predictor.steps(state, torch.as_tensor(actions[i : i + 1, j : j + 1])))
        np.testing.assert_allclose(found[i], state[0].detach(), rtol=1e-5, atol=1e-6)


def test_where_no_step_is_asked_for_nothing_changes_whatever_the_others_do() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    assert np.array_equal(predictor.ahead(states, actions, steps)[steps == 0], states[steps == 0])


def test_actions_that_are_not_executed_are_not_looked_at() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    other = np.where(np.arange(6)[:, None] < steps[:, None, None], actions, np.float32(np.nan))
    assert np.array_equal(predictor.ahead(states, other, steps), predictor.ahead(states, actions, steps))


def test_a_batch_is_its_robots_one_by_one() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    together = predictor.ahead(states, actions, steps)
    now = np.roll(states, 1, 0)
    surprises = predictor.surprise(states, actions, steps, now)
    for i in range(len(states)):
        one = slice(i, i + 1)
        alone = predictor.ahead(states[one], actions[one, : max(steps[i], 1)], steps[one])
        np.testing.assert_allclose(together[one], alone, rtol=1e-5, atol=1e-6)
        assert predictor.surprise(states[one], actions[one], steps[one], now[one])[0] == pytest.approx(surprises[i])


def test_surprise_is_the_mean_distance_in_standard_deviations_over_the_bound_of_as_many_steps() -> None:
    """By hand, of a predictor that says that nothing changes; beyond the farthest bound, that one counts."""
    config = StatePredictorConfig(("a", "b"), ("x",), 0.1, 4)
    scale = Normalizer(np.zeros(2), np.array([1.0, 4.0]))
    predictor = StatePredictor(config, scale, Normalizer.identity(1), torch.ones(2), 3)
    predictor.bounds.copy_(torch.tensor([1.0, 2.0, 8.0]))
    count = np.array([0, 1, 2, 3, 40])
    before, now = np.zeros((5, 2), np.float32), np.tile(np.array([2, -8], np.float32), (5, 1))
    executed = np.zeros((5, 40, 1), np.float32)
    assert predictor.surprise(before, executed, count, now).tolist() == [0, 2, 1, 0.25, 0.25]


def test_actions_of_double_precision_are_predicted_as_well() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    double: Any = actions.astype(np.float64)
    found = predictor.ahead(states.astype(np.float64), double, steps)
    assert np.array_equal(found, predictor.ahead(states, actions, steps))


def test_pictures_stay_what_they_are() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    seen = Observation(states, {"front": np.zeros((5, 2, 2, 3), np.uint8)})
    found = predictor.ahead(seen, actions, steps)
    assert found.pictures is seen.pictures
    assert np.array_equal(found.state, predictor.ahead(states, actions, steps))


def test_other_dimensions_are_refused() -> None:
    predictor, (states, actions, steps) = shaken(), batch()
    for wrong in ((states[:, :2], actions), (states, actions[..., :1])):
        with pytest.raises(SpecError, match="dimensions"):
            predictor.ahead(*wrong, steps)
        with pytest.raises(SpecError, match="dimensions"):
            predictor.surprise(*wrong, steps, wrong[0])


class StoppedError(Exception):
    """Stands for anything that ends a run."""


@pytest.mark.parametrize("after", [1, 4, 9])
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    whole = trained(tmp_path / "whole")
    original, calls = module.distance, [0]

    def loss(*args: Any) -> Tensor:
        calls[0] += 1
        if calls[0] > after:
            raise StoppedError
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "distance", loss)
        with pytest.raises(StoppedError):
            trained(tmp_path / "broken")
    torch.rand(3)  # what the process has drawn elsewhere must not matter
    assert same(trained(tmp_path / "broken", resume=True), whole)
    one, other = (checkpoint.load(tmp_path / name, FORMAT) for name in ("whole", "broken"))
    assert one.info["held_out_error"] == other.info["held_out_error"]


def test_a_finished_run_is_not_trained_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained(tmp_path)
    monkeypatch.setattr(module, "distance", None)
    assert same(trained(tmp_path, resume=True), done)


def test_a_predictor_of_an_earlier_layout_is_named_with_what_to_do(tmp_path: Path) -> None:
    """Its configuration looks like one of now."""
    trained(tmp_path)
    folder = (tmp_path / "last").resolve()
    weights = load_file(folder / "policy.safetensors")
    older = {"first.": "network.0.", "rest.1.": "network.2.", "rest.3.": "network.4."}
    for ours, theirs in older.items():
        weights = {name.replace(ours, theirs): value for name, value in weights.items() if "linear" not in name}
    save_file(weights, folder / "policy.safetensors")
    info = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: value for key, value in info.items() if key != "sha256"}))
    for read in (lambda: load_predictor(tmp_path), lambda: trained(tmp_path, resume=True)):
        with pytest.raises(CheckpointError, match=r"earlier version of Segue[\s\S]*train-predictor"):
            read()


def test_the_seed_decides(tmp_path: Path) -> None:
    one = trained(tmp_path / "a")
    assert same(one, trained(tmp_path / "b"))
    assert not same(one, trained(tmp_path / "c", replace(SHORT, seed=1)))


def test_what_is_saved_is_what_is_returned(tmp_path: Path) -> None:
    returned = trained(tmp_path, task="point-mass")
    predictor, error = load_predictor(tmp_path)
    assert same(predictor, returned)
    assert predictor.config == returned.config
    info = checkpoint.load(tmp_path, FORMAT).info
    assert (info["update"], info["task"]) == (10, "point-mass")
    again = prediction_error(predictor, held_out(demonstrations(), 3)[1])
    assert error.steps == again.steps
    np.testing.assert_array_equal(error.predicted, again.predicted)
    np.testing.assert_array_equal(error.unchanged, again.unchanged)
    np.testing.assert_allclose(error.spread, again.spread)


@pytest.mark.parametrize(
    "other",
    [
        {"training": replace(SHORT, learning_rate=1e-5)},
        {"training": replace(SHORT, most_steps=4)},
        {"width": 9},
        {"episodes": demonstrations(seed=1)},
    ],
)
def test_other_settings_and_demonstrations_cannot_be_resumed(tmp_path: Path, other: dict[str, Any]) -> None:
    trained(tmp_path)
    with pytest.raises(CheckpointError, match="was started"):
        trained(tmp_path, resume=True, **other)


def edit(folder: Path, **changes: Any) -> None:
    info = json.loads((folder / "config.json").read_text())
    info["predictor"] |= changes
    (folder / "config.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 9}, "size mismatch"),
        ({"colour": "blue"}, "colour"),
        ({"action_names": ["x"]}, "size mismatch"),
        ({"observation_names": None}, "4096 names"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    trained(tmp_path)
    edit(tmp_path / "last", **changes)
    with pytest.raises(CheckpointError, match=says):
        load_predictor(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    file = tmp_path / "last" / checkpoint.POLICY
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_predictor(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_predictor(tmp_path / "nowhere")


def test_a_predictor_is_no_policy_and_a_policy_no_predictor(tmp_path: Path) -> None:
    trained(tmp_path / "predictor")
    with pytest.raises(CheckpointError, match=FORMAT):
        checkpoint.load(tmp_path / "predictor")
    checkpoint.save(tmp_path / "policy", 1, trained_policy(), {}, {})
    with pytest.raises(CheckpointError, match=FORMAT):
        load_predictor(tmp_path / "policy")


def test_one_episode_is_not_enough_and_neither_are_episodes_of_one_frame(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two"):
        trained(tmp_path, episodes=demonstrations().episode(0))
    with pytest.raises(DataError, match="goes on"):
        trained(tmp_path, episodes=demonstrations((1, 1, 1)))


def test_short_held_out_episodes_are_measured_as_far_as_they_go(tmp_path: Path) -> None:
    """Three frames go on for two steps; farther ahead, the bound is that of two, and the error unknown."""
    trained(tmp_path, episodes=demonstrations((30, 20, 3)))
    predictor, error = load_predictor(tmp_path)
    assert predictor.bounds.isfinite().all()
    assert (predictor.bounds[1:] == predictor.bounds[1]).all()
    assert np.isnan(error.predicted).all()


def test_frames_are_predicted_within_their_episode_only() -> None:
    """Frame f of an episode that is at ``f`` in all dimensions: n steps later it is at ``f + n``, never elsewhere."""
    episodes = demonstrations((4, 9, 6))
    seen = np.concatenate([np.arange(n, dtype=np.float32) for n in (4, 9, 6)])
    counting = replace(episodes, observation=np.repeat(seen[:, None], 4, 1))
    error = prediction_error(predictor_for(counting, width=4), counting, steps=(1, 3, 8, 9))
    np.testing.assert_allclose(error.unchanged[:3], np.broadcast_to([[1], [3], [8]], (3, 4)))
    assert np.isnan(error.unchanged[3]).all()


def test_the_loss_is_the_mean_error_over_the_root_of_the_steps() -> None:
    """Where nothing changes, on ``o_k = k``: after j steps it is j off. Beyond an episode's end, nothing counts."""
    counting = replace(demonstrations((6, 9)), observation=np.repeat(np.r_[0:6, 0:9].astype(np.float32)[:, None], 4, 1))
    predictor = predictor_for(counting, width=4)
    nn.init.zeros_(predictor.linear.bias)
    predictor.change.fill_(2.0)
    frames = module.Frames.of(counting, torch.device("cpu"))
    expected = sum((j / 2) / j**0.5 for j in (1, 2, 3)) / 3
    for index in ([0, 7, 11], [3, 4, 7, 13], [2, 4]):  # the second and third reach beyond an end
        assert module.distance(predictor, frames, torch.tensor(index), 3).item() == pytest.approx(expected)


@pytest.mark.parametrize("setting", ["updates", "batch", "most_steps", "checkpoint_every"])
def test_impossible_settings_are_refused(setting: str) -> None:
    with pytest.raises(SpecError, match=setting):
        PredictorTraining(**{setting: 0})
    with pytest.raises(SpecError, match="held_out_every"):
        PredictorTraining(held_out_every=1)


def test_the_error_of_dimensions_that_do_not_move_is_left_out() -> None:
    error = module.PredictionError(
        ("a", "b"), (4,), np.array([[0.5, 3.0]]), np.array([[2.0, 3.0]]), np.array([0.25, 0.0])
    )
    assert error.relative(error.predicted).tolist() == [2]
    still = replace(error, spread=np.zeros(2))
    assert still.relative(still.predicted).tolist() == [0]
