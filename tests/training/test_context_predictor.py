"""Predictors of contexts: learned, kept beside the policy that they belong to, and found by benches and servers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from fakes import point_mass_with_pictures as sighted
from fakes.point_mass import SPEC, PointMass
from fakes.policies_with_pictures import FEATURES, FEW, HORIZON, made, views
from segue.core.observation import Observation
from segue.data.episodes import Episodes
from segue.data.pictures import Pictures
from segue.errors import CheckpointError
from segue.lab import compare, results, sweep
from segue.lab.delays import Fixed
from segue.lab.tasks.tasks import Task
from segue.methods.load import chunk_policy
from segue.methods.methods import method
from segue.methods.parts import parts_of
from segue.policies.predictors.context import ContextPredictor
from segue.policies.predictors.predictor import PredictivePolicy
from segue.policies.predictors.state import StatePredictor
from segue.policies.processor import NormalizedUnits
from segue.strategies.naive import FlowMatching
from segue.training import checkpoint
from segue.training import context_predictor as contexts
from segue.training.context_predictor import (
    encoded,
    fingerprint,
    learned_predictor,
    load_context_predictor,
    train_context_predictor,
)
from segue.training.predictor import PredictorTraining, load_predictor, prediction_error, predictor_for, train_predictor
from segue.training.recipe import train_policy

QUIET = Console(quiet=True)


def test_a_network_that_changes_nothing_is_as_wrong_as_no_prediction() -> None:
    episodes = encoded(sighted.demonstrations(), made())
    network = predictor_for(episodes)
    nn.init.zeros_(network.linear.weight)
    nn.init.zeros_(network.linear.bias)
    error = prediction_error(network, episodes, (1, 4))
    assert np.array_equal(error.predicted, error.unchanged)
    lengths = np.diff(episodes.ends, prepend=0)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    goes_on = np.arange(len(first)) - first + 4 < np.repeat(lengths, lengths)
    now = np.flatnonzero(goes_on)
    moved = np.abs(episodes.observation[now + 4].astype(np.float64) - episodes.observation[now]).mean(0)
    np.testing.assert_allclose(error.unchanged[1], moved, rtol=1e-5, atol=1e-7)


def pushed(lengths: tuple[int, ...] = (30,) * 10, seed: int = 0) -> Episodes:
    """A square that goes where it is pushed; that it goes there is seen in the pictures only."""
    rng, episodes = np.random.default_rng(seed), sighted.demonstrations(lengths)
    action = np.repeat(rng.uniform(-1, 1, (episodes.frames // 5, 2)), 5, axis=0).astype(np.float32)
    places = []
    for end, length in zip(episodes.ends, lengths, strict=True):
        place = rng.uniform(-0.3, 0.3, 2)
        for push in action[end - length : end]:
            places.append(place)
            place = np.clip(place + 0.2 * push, -0.6, 0.6)
    pictures = Pictures.of(np.stack([sighted.picture(place) for place in places]))
    return replace(episodes, action=action, pictures={sighted.CAMERA: pictures})


class Centre(torch.nn.Module):
    """Where a picture is bright, in pixels, as often as there are keypoints."""

    def forward(self, pictures: Any) -> torch.Tensor:
        bright = pictures[0][..., 0].float() / 255
        rows, columns = (bright.sum(axis) for axis in (2, 1))
        where = torch.arange(bright.shape[1], dtype=torch.float32)
        centre = torch.stack([(each @ where) / each.sum(1) for each in (columns, rows)], 1)
        return centre.repeat(1, FEATURES // 2)


def test_what_actions_do_to_pictures_is_learned(tmp_path: Path) -> None:
    policy, episodes = made(), pushed()
    assert isinstance(policy.units, NormalizedUnits)
    assert policy.units.sight is not None
    policy.units.sight.encoder = Centre()  # type: ignore[assignment]
    training = PredictorTraining(updates=200, batch=64)
    train_context_predictor(episodes, policy, training, run=tmp_path, width=64, console=QUIET)
    found, error = load_context_predictor(tmp_path, policy)
    predicted, unchanged = error.predicted[:, 2:].mean(1), error.unchanged[:, 2:].mean(1)  # [pixels]
    assert (predicted < 0.7 * unchanged).all()  # 4, 8 and 12 steps ahead
    assert torch.isfinite(found.network.bounds).all()
    assert found.network.bounds[0] < found.network.bounds[-1]


def test_it_comes_back_to_the_bit_and_goes_on_as_it_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, episodes = made(), sighted.demonstrations()
    whole = train_context_predictor(episodes, policy, FEW, run=tmp_path / "a", console=QUIET)
    train_context_predictor(episodes, policy, FEW, run=tmp_path / "b", console=QUIET)
    (tmp_path / "b" / "last").unlink()
    (tmp_path / "b" / "last").symlink_to("000002")
    again = train_context_predictor(episodes, policy, FEW, run=tmp_path / "b", resume=True, console=QUIET)
    monkeypatch.setattr(contexts, "encoded", None)  # no picture of a finished run is encoded again
    finished = train_context_predictor(episodes, policy, FEW, run=tmp_path / "b", resume=True, console=QUIET)
    loaded = load_context_predictor(tmp_path / "a", policy)[0]
    one = whole.network.state_dict()
    for other in (again, finished, loaded):
        assert all(torch.equal(value, other.network.state_dict()[name]) for name, value in one.items())
    monkeypatch.setattr(contexts, "encoded", encoded)
    longer = replace(FEW, updates=4)
    with pytest.raises(CheckpointError, match="training settings"):
        train_context_predictor(episodes, policy, longer, run=tmp_path / "a", resume=True, console=QUIET)


def test_the_predictor_of_another_policy_is_refused(tmp_path: Path) -> None:
    policy, other = made(), made(seed=1)
    episodes, change = sighted.demonstrations(), "train the predictor for this policy"
    train_context_predictor(episodes, policy, FEW, run=tmp_path, console=QUIET)
    for found in (load_context_predictor, learned_predictor):
        with pytest.raises(CheckpointError, match="other weights") as caught:
            found(tmp_path, other)
        assert change in caught.value.change
    with pytest.raises(CheckpointError, match="other weights"):
        train_context_predictor(episodes, other, FEW, run=tmp_path, resume=True, console=QUIET)


def test_a_fingerprint_is_of_every_bit_and_of_nothing_else() -> None:
    policy = made()
    before = fingerprint(policy)
    assert fingerprint(made()) == before
    value = next(iter(policy.parameters()))
    with torch.no_grad():
        value.view(-1)[0] = torch.nextafter(value.view(-1)[0], torch.tensor(9.0))
    assert fingerprint(policy) != before


def test_a_folder_has_the_kind_that_it_says(tmp_path: Path) -> None:
    policy, episodes = made(), sighted.demonstrations()
    train_context_predictor(episodes, policy, FEW, run=tmp_path / "contexts", console=QUIET)
    train_predictor(episodes, FEW, run=tmp_path / "states", console=QUIET)
    assert isinstance(learned_predictor(tmp_path / "contexts", policy), ContextPredictor)
    states = learned_predictor(tmp_path / "states", policy)
    assert isinstance(states, StatePredictor)
    later = states.ahead(views(2), np.ones((2, 3, 2), np.float32), np.array([3, 0]))
    assert np.array_equal(later.pictures[sighted.CAMERA], views(2).pictures[sighted.CAMERA])  # they stay what they are
    with pytest.raises(CheckpointError, match="segue/context-predictor/1"):
        load_predictor(tmp_path / "contexts")
    with pytest.raises(CheckpointError, match="segue/predictor/1"):
        load_context_predictor(tmp_path / "states", policy)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        learned_predictor(tmp_path / "nowhere", policy)


SEEN_SPEC = replace(
    SPEC, observation_names=SPEC.observation_names[:2], cameras={sighted.CAMERA: (sighted.SIZE, sighted.SIZE)}
)


class SeenPointMass:
    """A point mass whose goal is in a picture."""

    def __init__(self) -> None:
        below, self.spec = PointMass(), SEEN_SPEC
        self._below, self.reset, self.send, self.hold = below, below.reset, below.send, below.hold
        self.stop, self.pose, self.outcome, self.frame = below.stop, below.pose, below.outcome, below.frame

    def observe(self) -> Observation[NDArray]:
        state = self._below.observe()
        return Observation(state[:2], {sighted.CAMERA: sighted.picture(state[2:])})


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Task("seen", "a point mass", 0.1, 12, HORIZON, 3, SeenPointMass, sighted.demonstrations)
    for module in (sweep, compare):
        monkeypatch.setattr(module, "task", lambda _: seen)
    monkeypatch.setattr(compare, "write_report", lambda *_: None)  # pages have tests of their own


def comparison(delays: tuple[int, ...], *names: str) -> compare.Comparison:
    methods, steps = tuple(method(name) for name in names), tuple(Fixed(delay) for delay in delays)
    recipe = sighted.recipe(updates=FEW.cost + 2)
    return compare.Comparison("seen", methods, steps, recipe, 1, 2, 3, predictor=FEW)


@pytest.mark.usefixtures("task")
def test_a_bench_trains_the_predictor_of_each_policy_after_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = comparison((2,), "naive:predictor=learned", "legato:predictor=learned")
    compare.train(asked, tmp_path, 1, QUIET)
    home = tmp_path / "seed-0" / "predicted"
    for name in ("plain", "legato"):
        policy = checkpoint.load(home / name).policy()
        assert isinstance(learned_predictor(home / "predictor" / name, policy), ContextPredictor)
    parts = parts_of(tmp_path / "seed-0", asked.methods)
    assert {part.predictor for part in parts.values()} == {home / "predictor" / name for name in ("plain", "legato")}

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(contexts, "learn", never)
    compare.train(asked, tmp_path, 1, QUIET)
    path = compare.evaluate(asked, [tmp_path / "seed-0"], out=tmp_path, workers=1, command="c", console=QUIET)
    content = results.read(path)
    assert [each.method for each in content.cells] == [each.name for each in asked.methods]
    assert content.budget["updates per predictor"] == FEW.updates


@pytest.mark.usefixtures("task")
def test_a_predictor_beside_its_policy_is_found_and_matters_under_delay_only(tmp_path: Path) -> None:
    run, episodes = tmp_path / "seed-0", sighted.demonstrations()
    policy = train_policy(episodes, sighted.recipe(updates=4), "plain", FlowMatching(), run=run, console=QUIET)
    train_context_predictor(episodes, policy, FEW, run=run / "predictor", console=QUIET)
    served, _ = chunk_policy(run, "naive:predictor=learned")
    assert isinstance(served, PredictivePolicy)
    assert isinstance(served.predictor, ContextPredictor)
    asked = comparison((0, 3), "naive", "naive:predictor=learned")
    path = compare.evaluate(asked, [run], out=tmp_path, workers=1, command="c", console=QUIET)
    traces = {(each.method, each.delay): each.commands for each in results.read(path).traces or ()}
    assert traces["naive", 0] == traces["naive:predictor=learned", 0]
    assert traces["naive", 3] != traces["naive:predictor=learned", 3]
