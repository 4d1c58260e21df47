"""The loop: a resumed run is the run that was never interrupted, and nothing else can be resumed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from fakes.point_mass import demonstrations, recipe
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import CheckpointError, SpecError
from segue.policies.flow import FlowPolicy
from segue.policies.policy import Policy
from segue.strategies.legato import LegatoObjective
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Objective
from segue.strategies.training_time_rtc import TrainingTimeRTCObjective
from segue.training import checkpoint
from segue.training.config import TrainingConfig
from segue.training.data import DemonstratedChunks
from segue.training.loop import policy_loss, train
from segue.training.recipe import FIRST_STAGE, Recipe, train_policy

CONFIG = replace(recipe().training, updates=10)
OWN = LegatoObjective(max_delay=3, max_ramp=3, own_share=0.7)
QUIET = Console(quiet=True)


def fresh(episodes: Episodes | None = None, seed: int = 0, **settings: Any) -> FlowPolicy:
    episodes = episodes or demonstrations()
    torch.manual_seed(seed)
    made = recipe(**settings).policy(episodes)
    assert isinstance(made, FlowPolicy)
    return made


def stage(run: Path, objective: Objective = OWN, config: TrainingConfig = CONFIG, **settings: Any) -> Policy:
    episodes = settings.pop("episodes", None) or demonstrations()
    policy = settings.pop("policy", None) or fresh(episodes)
    return train(policy, episodes, objective, config, run=run, title="stage", console=QUIET, **settings)


def state(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in policy.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class StoppedError(Exception):
    """Stands for anything that ends a run."""


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The loss raises in the update with this number, counted from 0."""
    original, calls = FlowPolicy.loss, [0]

    def loss(self: FlowPolicy, *args: Any) -> torch.Tensor:
        if calls[0] == after:
            raise StoppedError
        calls[0] += 1
        return original(self, *args)

    monkeypatch.setattr(FlowPolicy, "loss", loss)


@pytest.mark.parametrize("objective", [FlowMatching(), OWN, TrainingTimeRTCObjective(max_delay=3)])
@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_resumed_equals_uninterrupted_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: Objective, after: int
) -> None:
    whole = state(stage(tmp_path / "whole", objective))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(StoppedError):
            stage(tmp_path / "broken", objective)
    torch.manual_seed(99)  # what the process has drawn elsewhere must not matter
    torch.rand(3)
    resumed = stage(tmp_path / "broken", objective, resume=True)
    assert equal(state(resumed), whole)
    one, other = (checkpoint.load(tmp_path / name) for name in ("whole", "broken"))
    assert equal(dict(one.weights), dict(other.weights))
    assert equal(dict(checkpoint.load_resume(one)), dict(checkpoint.load_resume(other)))


@pytest.mark.parametrize("network", ["mixer", "unet", "transformer"])
def test_networks_of_any_kind_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    sizes = {"width": 8, "levels": 2} if network == "unet" else {"width": 8, "depth": 1}
    made = {"network": network, "network_settings": sizes}
    config = replace(CONFIG, updates=4)
    whole = state(stage(tmp_path / "whole", FlowMatching(), config, policy=fresh(**made)))
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(StoppedError):
            stage(tmp_path / "broken", FlowMatching(), config, policy=fresh(**made))
    resumed = stage(tmp_path / "broken", FlowMatching(), config, policy=fresh(**made), resume=True)
    assert equal(state(resumed), whole)


def test_training_changes_the_weights_and_the_seed_matters(tmp_path: Path) -> None:
    one = state(stage(tmp_path / "a"))
    assert equal(one, state(stage(tmp_path / "b")))
    assert not equal(one, state(fresh()))
    assert not equal(one, state(stage(tmp_path / "c", config=replace(CONFIG, seed=1))))


def test_a_finished_run_is_not_trained_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = state(stage(tmp_path))
    interrupt(monkeypatch, 0)
    assert equal(state(stage(tmp_path, resume=True)), done)


def test_what_is_saved_is_what_is_returned(tmp_path: Path) -> None:
    returned = stage(tmp_path)
    assert equal(state(checkpoint.load(tmp_path).policy()), state(returned))
    assert checkpoint.load(tmp_path).info["update"] == CONFIG.updates


def test_several_pairs_of_an_observation_are_a_batch_of_that_observation_so_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, episodes = fresh(), demonstrations()
    chunks, index = DemonstratedChunks(episodes, policy), torch.tensor([3, 40, 70, 11])
    generator = torch.Generator().manual_seed(1)
    pair = FlowMatching().pair(chunks.batch(index.repeat(3), policy, (1, 4), generator), generator)
    encoded, encode = list[int](), policy.units.encode

    def counting(observation: Any) -> torch.Tensor:
        encoded.append(len(observation))
        return encode(observation)

    monkeypatch.setattr(policy.units, "encode", counting)
    together = policy_loss(policy, pair, chunks.seen(index), 0.0, generator)
    assert encoded == [4]
    apart = policy_loss(policy, pair, chunks.seen(index.repeat(3)), 0.0, generator)
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=0)


def test_other_settings_cannot_be_resumed(tmp_path: Path) -> None:
    stage(tmp_path)
    others: list[dict[str, Any]] = [
        {"config": replace(CONFIG, learning_rate=1e-4)},
        {"config": replace(CONFIG, updates=12)},
        {"objective": replace(OWN, own_share=0.1)},
        {"objective": FlowMatching()},
        {"policy": fresh(horizon=6)},
        {"policy": fresh(predicts="velocity")},
    ]
    for other in others:
        with pytest.raises(CheckpointError, match="settings"):
            stage(tmp_path, resume=True, **other)


def test_a_setting_that_came_later_was_at_its_default(tmp_path: Path) -> None:
    done = state(stage(tmp_path))
    file = tmp_path / "last" / "config.json"
    content = json.loads(file.read_text())
    assert content["training"].pop("draws") == 1
    file.write_text(json.dumps(content))
    assert equal(state(stage(tmp_path, resume=True)), done)
    with pytest.raises(CheckpointError, match="settings"):
        stage(tmp_path, resume=True, config=replace(CONFIG, draws=2))


def test_other_demonstrations_cannot_be_resumed(tmp_path: Path) -> None:
    stage(tmp_path)
    with pytest.raises(CheckpointError, match="demonstrations"):
        stage(tmp_path, resume=True, episodes=demonstrations(seed=1))


def test_a_broken_resume_file_is_refused(tmp_path: Path) -> None:
    stage(tmp_path)
    file = tmp_path / "last" / "resume.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="truncated"):
        stage(tmp_path, resume=True)


def test_weights_are_averaged(tmp_path: Path) -> None:
    """After one update from p0 to p1, the average with decay min(ema, 1 / 10) is p0 + 9/10 (p1 - p0)."""
    start = fresh()
    before = state(start)
    average = stage(tmp_path, FlowMatching(), replace(CONFIG, updates=1), policy=start)
    after = state(start)
    for name, parameter in average.named_parameters():
        torch.testing.assert_close(parameter, before[name] + 0.9 * (after[name] - before[name]), rtol=1e-5, atol=1e-7)


def test_settings_that_cannot_be_resumed_exactly_are_refused() -> None:
    with pytest.raises(SpecError, match="multiple of 300"):
        TrainingConfig(own_refresh=300, checkpoint_every=1000)
    for name in ("updates", "batch", "own_refresh", "own_steps", "checkpoint_every"):
        with pytest.raises(SpecError, match=name):
            replace(TrainingConfig(), **{name: 0})


def test_own_chunks_are_aligned_with_the_demonstrated_ones() -> None:
    """A policy whose chunk at frame f is f, f + 1, ... continues itself: elapsed steps later, it is at those steps."""
    episodes, horizon = demonstrations((12, 9)), 6
    policy = fresh(episodes, horizon=horizon)
    chunks = DemonstratedChunks(episodes, policy)
    ahead = torch.arange(len(chunks))[:, None] + torch.arange(horizon)
    chunks.own = ahead.float()[None, ..., None].expand(-1, -1, -1, 2)
    index = torch.arange(len(chunks))
    batch = chunks.batch(index, policy, (1, 9), torch.Generator().manual_seed(0))
    own = policy.units.to_robot(batch.own, chunks.observation)[..., 0].round()
    ages = torch.as_tensor(Windows(episodes, horizon).age)
    assert (batch.own_known[ages == 0] == 0).all()
    assert (batch.own_known >= 0).all()
    assert (batch.own_known < horizon).all()
    assert len(batch.own_known.unique()) > 3
    for frame, known in enumerate(batch.own_known.tolist()):
        assert own[frame, :known].tolist() == list(range(frame, frame + known))


def test_without_own_chunks_there_is_nothing_to_continue() -> None:
    episodes = demonstrations()
    chunks = DemonstratedChunks(episodes, fresh())
    batch = chunks.batch(torch.arange(5), fresh(), (1, 4), torch.Generator())
    assert not batch.own_known.any()
    assert torch.equal(batch.own, batch.actions)


@pytest.mark.parametrize("objective", [OWN, LegatoObjective()])
def test_horizons_shorter_than_the_age_of_own_chunks_can_be_trained(tmp_path: Path, objective: Objective) -> None:
    config = replace(CONFIG, own_elapsed=(4, 16))
    trained = stage(tmp_path, objective, config, policy=fresh(horizon=3))
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())


def run_recipe(run: Path, name: str, objective: Objective, made: Recipe | None = None, **settings: Any) -> Policy:
    return train_policy(demonstrations(), made or recipe(), name, objective, run=run, console=QUIET, **settings)


def test_the_first_stage_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = state(run_recipe(tmp_path / "alone", "legato", OWN))
    run_recipe(tmp_path / "both", "plain", FlowMatching())
    with monkeypatch.context() as patch:
        interrupt(patch, 4)  # four of the eight updates are the first stage, which is there already
        second = state(run_recipe(tmp_path / "both", "legato", OWN))
    assert equal(second, alone)
    first = checkpoint.load(tmp_path / "both" / FIRST_STAGE).info
    assert (first["update"], first["stage"], first["seed"]) == (4, 1, 0)


@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_a_recipe_goes_on_in_either_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    whole = state(run_recipe(tmp_path / "whole", "legato", OWN))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(StoppedError):
            run_recipe(tmp_path / "broken", "legato", OWN)
    assert equal(state(run_recipe(tmp_path / "broken", "legato", OWN)), whole)


def test_one_stage_trains_from_scratch(tmp_path: Path) -> None:
    run_recipe(tmp_path, "legato", OWN, recipe(stages=1))
    assert [path.name for path in tmp_path.iterdir()] == ["legato"]
    assert checkpoint.load(tmp_path / "legato").info["update"] == 8


def test_another_recipe_needs_another_folder_or_a_fresh_start(tmp_path: Path) -> None:
    run_recipe(tmp_path, "plain", FlowMatching())
    with pytest.raises(CheckpointError, match="--fresh"):
        run_recipe(tmp_path, "plain", FlowMatching(), recipe(updates=12))
    run_recipe(tmp_path, "plain", FlowMatching(), recipe(updates=12), resume=False)
    assert checkpoint.load(tmp_path / "plain").info["recipe"]["updates"] == 12
