"""Latent policies: with a codec that loses nothing they are the policies that they wrap, and every strategy works."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from fakes.point_mass import demonstrations, recipe
from segue.core.chunk import Array, Continuation, nothing_to_continue
from segue.data.windows import Windows
from segue.errors import CheckpointError, SpecError
from segue.methods.methods import METHODS, objective
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, Codec
from segue.policies.chunk_policy import ContinuingPolicy, prefix_of
from segue.policies.families import config_for, description, policy_for
from segue.policies.latent import LatentPolicy
from segue.policies.policy import Policy
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.legato import Legato, LegatoObjective
from segue.strategies.naive import FlowMatching, Naive
from segue.strategies.objective import Demonstrated, Objective
from segue.strategies.training_time_rtc import TrainingTimeRTC, TrainingTimeRTCObjective
from segue.strategies.weights import per_position, schedule
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, train_autoencoder
from segue.training.data import DemonstratedChunks
from segue.training.loop import train
from segue.training.recipe import Recipe, train_policy

HORIZON, STRIDE, ACTION = 8, 4, 2
ACTION_NAMES = ("target x", "target y")
QUIET = Console(quiet=True)
STRATEGIES = {name: method.strategy for name, method in METHODS.items()}


class Blocks(Codec):
    """A codec that loses nothing: each block of ``stride`` steps is turned by one orthogonal matrix."""

    def __init__(self, stride: int, action_names: tuple[str, ...] = ACTION_NAMES) -> None:
        super().__init__()
        latent = stride * len(action_names)
        self.config = AutoencoderConfig(HORIZON, action_names, stride=stride, latent=latent)
        turn = torch.eye(self.latent)
        if stride > 1:
            turn = torch.linalg.qr(torch.randn(turn.shape, generator=torch.Generator().manual_seed(1)))[0]
        self.turn = nn.Parameter(turn)

    def encode(self, actions: Tensor) -> Tensor:
        return actions.unflatten(1, (-1, self.stride)).flatten(2) @ self.turn

    def decode(self, latents: Tensor) -> Tensor:
        return (latents @ self.turn.T).unflatten(2, (self.stride, -1)).flatten(1, 2)


def policy(codec: Codec | None, seed: int = 0, family: str = "flow", **settings: Any) -> Policy:
    """An untrained policy with weights that are not zero, so that every input matters."""
    torch.manual_seed(seed)
    episodes = demonstrations()
    config = config_for(
        family, episodes, horizon=HORIZON, autoencoder=codec, network="mlp", network_settings={"width": 16}, **settings
    )
    made = policy_for(config, episodes, codec)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "network" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape))
    return made.eval()


def observations(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (count, 4)).astype(np.float32)


def continuation(known: int = 6, delay: int = 4, seed: int = 0) -> Continuation:
    prefix = np.random.default_rng(seed).uniform(-1, 1, (known, ACTION)).astype(np.float32)
    return Continuation(7, prefix, delay, 2, np.ones(known, np.int64))


def chunk(made: Policy, strategy: Strategy, what: Continuation, seed: int = 0) -> Array:
    bound = ContinuingPolicy(made, strategy, denoising_steps=5)
    return bound.next_chunks(observations(1), [what], [torch.Generator().manual_seed(seed)])[0]


def learned(made: Policy) -> dict[str, Tensor]:
    """Weights without the path to the policy inside."""
    return {name.removeprefix("policy."): value.detach().clone() for name, value in made.state_dict().items()}


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("what", [continuation(), continuation(5, 2), nothing_to_continue(0, ACTION, 2)])
def test_in_the_identity_codec_a_latent_policy_is_the_policy(name: str, what: Continuation) -> None:
    plain, latent = policy(None), policy(Blocks(1))
    assert np.array_equal(chunk(latent, STRATEGIES[name], what), chunk(plain, STRATEGIES[name], what))


@pytest.mark.parametrize("objective", [FlowMatching(), LegatoObjective(3, 3), TrainingTimeRTCObjective(3)])
def test_in_the_identity_codec_training_is_the_same_to_the_bit(tmp_path: Path, objective: Objective) -> None:
    results = []
    for codec in (None, Blocks(1)):
        run = tmp_path / str(codec is None)
        config = replace(recipe().training, updates=6)
        trained = train(policy(codec), demonstrations(), objective, config, run=run, title="", console=QUIET)
        results.append(learned(trained))
    plain, latent = results
    assert all(torch.equal(latent[name], value) for name, value in plain.items())


def test_units_there_and_back() -> None:
    made, actions, observation = policy(Blocks(STRIDE)), torch.randn(3, HORIZON, ACTION), torch.zeros(3, 4)
    latents = made.units.to_policy(actions, observation)
    assert latents.shape == (3, *made.units.chunk_shape) == (3, HORIZON // STRIDE, STRIDE * ACTION)
    torch.testing.assert_close(made.units.to_robot(latents, observation), actions, atol=1e-5, rtol=0)
    assert (made.units.stride, made.spec.horizon, made.spec.action_names) == (STRIDE, HORIZON, ACTION_NAMES)


def test_the_statistics_are_those_of_the_latents_of_all_windows() -> None:
    made, episodes = policy(Blocks(STRIDE)), demonstrations()
    windows = torch.as_tensor(Windows(episodes, HORIZON).actions)
    units = made.units.to_policy(windows, torch.as_tensor(episodes.observation))
    torch.testing.assert_close(units.mean((0, 1)), torch.zeros(STRIDE * ACTION), atol=1e-4, rtol=0)
    assert (units.std((0, 1)) < 1).all()


@pytest.mark.parametrize("strategy", [TrainingTimeRTC(), Legato(), Legato(gain=1, fade=0.5, ramp=0)])
def test_committed_actions_come_back_as_they_were(strategy: Strategy) -> None:
    """Where the committed part fills whole positions, and the codec keeps positions apart."""
    what = continuation(delay=STRIDE)
    actions = chunk(policy(Blocks(STRIDE)), strategy, what)
    np.testing.assert_allclose(actions[:STRIDE], what.prefix[:STRIDE], atol=1e-4)
    assert np.abs(actions[STRIDE:] - what.prefix[-1]).max() > 1e-2, "free positions are not"


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_works_and_robots_do_not_see_each_other(name: str) -> None:
    bound = ContinuingPolicy(policy(Blocks(STRIDE)), STRATEGIES[name], denoising_steps=5)
    what = [continuation(5, 3, 1), nothing_to_continue(0, ACTION, 3), continuation(8, 4, 2)]
    seen = observations(3)
    together = bound.next_chunks(seen, what, [torch.Generator().manual_seed(i) for i in range(3)])
    assert together.shape == (3, HORIZON, ACTION)
    for i in range(3):
        alone = bound.next_chunks(seen[i : i + 1], what[i : i + 1], [torch.Generator().manual_seed(i)])[0]
        np.testing.assert_allclose(alone, together[i], atol=1e-4)


@given(delay=st.integers(0, 12), ramp=st.integers(0, 12), stride=st.sampled_from([1, 2, 3, 4]))
def test_a_weight_is_the_mean_of_its_control_steps(delay: int, ramp: int, stride: int) -> None:
    steps = schedule(12, torch.tensor([delay]), torch.tensor([ramp]), "linear", dtype=torch.float64)
    positions = per_position(steps, stride)
    for i in range(12 // stride):
        expected = sum(steps[0, i * stride : (i + 1) * stride].tolist()) / stride
        assert positions[0, i].item() == pytest.approx(expected)
    assert ((positions >= 1)[0] == (torch.arange(1, 12 // stride + 1) * stride <= delay)).all()


def test_a_prefix_counts_control_steps_and_weighs_positions() -> None:
    reference = torch.zeros(1, 3, 5)
    prefix = Prefix(reference, torch.tensor([11]), torch.tensor([6]), torch.zeros(1, 12), stride=4)
    assert prefix.horizon == 12
    assert prefix.weights(0, "step").tolist() == [[1.0, 0.5, 0.0]]
    ramp = [(5 - j) / 6 for j in range(5)]
    expected = [1.0, (1 + 1 + ramp[0] + ramp[1]) / 4, sum(ramp[2:]) / 4]
    torch.testing.assert_close(prefix.weights(None, "linear"), torch.tensor([expected]))


def test_a_continuation_keeps_its_control_steps() -> None:
    made = policy(Blocks(STRIDE))
    prefix = prefix_of(made, torch.as_tensor(observations(1)), [continuation(6, 3)])
    assert (prefix.known.tolist(), prefix.delay.tolist(), prefix.stride) == ([6], [3], STRIDE)
    assert prefix.reference.shape == (1, *made.units.chunk_shape)
    assert prefix.votes.shape == (1, HORIZON)


def test_a_position_counts_where_all_of_its_steps_were_demonstrated() -> None:
    episodes, made = demonstrations((10, 9)), policy(Blocks(STRIDE))
    batch = DemonstratedChunks(episodes, made).batch(torch.arange(19), made, (1, 2), torch.Generator())
    for frame in range(10):
        assert batch.valid[frame].tolist() == [frame + 4 <= 10, frame + 8 <= 10]
    assert (batch.stride, batch.horizon) == (STRIDE, HORIZON)


@pytest.mark.parametrize("objective", [LegatoObjective(8, 0, plain_share=0, own_share=0), TrainingTimeRTCObjective(8)])
def test_objectives_draw_control_steps(objective: Objective) -> None:
    """A hard prefix of d steps: whole positions, then one that holds the rest of d."""
    latents = torch.randn(200, 2, STRIDE * ACTION)
    batch = Demonstrated(latents, torch.ones(200, 2).bool(), latents, torch.zeros(200).long(), STRIDE)
    w = objective.pair(batch, torch.Generator().manual_seed(0)).w
    assert sorted(set((w.sum(1) * STRIDE).tolist())) == [float(d) for d in range(9)]
    assert (w[:, 1] > 0).logical_and(w[:, 0] < 1).sum() == 0


def test_own_chunks_are_aligned_in_control_steps() -> None:
    """A policy whose chunk at frame f is f, f + 1, ... continues itself, also where positions hold several steps."""
    episodes, made = demonstrations((14, 11)), policy(Blocks(STRIDE))
    chunks = DemonstratedChunks(episodes, made)
    chunks.own = (torch.arange(25)[:, None] + torch.arange(HORIZON)).float()[None, ..., None].expand(-1, -1, -1, ACTION)
    batch = chunks.batch(torch.arange(25), made, (1, 9), torch.Generator().manual_seed(0))
    own = made.units.to_robot(batch.own, chunks.observation)[..., 0].round()
    assert len(batch.own_known.unique()) > 3
    for frame, known in enumerate(batch.own_known.tolist()):
        assert own[frame, :known].tolist() == list(range(frame, frame + known))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("autoencoder")
    config = AutoencoderConfig(HORIZON, ACTION_NAMES, stride=STRIDE, latent=3, network_settings={"width": 8})
    train_autoencoder(demonstrations(), config, AutoencoderTraining(updates=3, batch=8), run=run, console=QUIET)
    return run


def latent_recipe(autoencoder: Path, family: str) -> Recipe:
    return recipe(family=family, autoencoder=autoencoder)


@pytest.mark.parametrize(("family", "name"), [("flow", "legato"), ("diffusion", "diffusion"), ("regression",) * 2])
def test_every_family_is_trained_in_latent_space_and_one_folder_is_a_whole_policy(
    tmp_path: Path, autoencoder: Path, family: str, name: str
) -> None:
    if family == "diffusion":
        pytest.importorskip("diffusers")
    made = latent_recipe(autoencoder, family)
    trained = train_policy(demonstrations(), made, name, objective(name), run=tmp_path, console=QUIET)
    found = checkpoint.load(tmp_path / name)
    assert found.info["family"] == family
    assert found.info["autoencoder"]["stride"] == STRIDE
    back = found.policy()
    assert isinstance(back, LatentPolicy)
    assert (back.spec, description(back)) == (trained.spec, description(trained))
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in back.state_dict().items())
    codec = checkpoint.load(autoencoder, "segue/autoencoder/1").weights
    assert all(torch.equal(found.weights[f"autoencoder.{key}"], value) for key, value in codec.items())
    said = chunk(back, Naive(), nothing_to_continue(0, ACTION, 2))
    assert np.array_equal(said, chunk(trained, Naive(), nothing_to_continue(0, ACTION, 2)))
    assert said.shape == (HORIZON, ACTION)
    assert np.isfinite(said).all()


def test_the_autoencoder_is_frozen_whatever_is_asked_of_the_policy() -> None:
    made = policy(Blocks(STRIDE))
    made.train().requires_grad_(True)
    assert isinstance(made, LatentPolicy)
    modules = dict(made.named_modules())
    assert modules["policy"].training
    assert not modules["autoencoder"].training
    assert all(each.requires_grad == (not name.startswith("autoencoder")) for name, each in made.named_parameters())


def test_training_goes_on_where_it_stopped(tmp_path: Path, autoencoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: str) -> dict[str, Tensor]:
        made = latent_recipe(autoencoder, "flow")
        return dict(
            train_policy(
                demonstrations(), made, "legato", objective("legato"), run=tmp_path / folder, console=QUIET
            ).state_dict()
        )

    whole, original, calls = run("whole"), LatentPolicy.loss, [0]

    def loss(self: LatentPolicy, *args: Any) -> Tensor:
        calls[0] += 1
        if calls[0] == 7:
            raise KeyboardInterrupt
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(LatentPolicy, "loss", loss)
        with pytest.raises(KeyboardInterrupt):
            run("broken")
    resumed = run("broken")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_another_autoencoder_needs_another_folder(tmp_path: Path, autoencoder: Path) -> None:
    made = latent_recipe(autoencoder, "flow")
    train_policy(demonstrations(), made, "plain", FlowMatching(), run=tmp_path, console=QUIET)
    codec = AutoencoderConfig(HORIZON, ACTION_NAMES, stride=STRIDE, latent=3, network_settings={"width": 8})
    training = AutoencoderTraining(updates=3, batch=8, seed=1)
    train_autoencoder(demonstrations(), codec, training, run=tmp_path / "other", console=QUIET)
    for other in (replace(made, autoencoder=tmp_path / "other"), replace(made, autoencoder=None)):
        with pytest.raises(CheckpointError, match="another folder"):
            train_policy(demonstrations(), other, "plain", FlowMatching(), run=tmp_path, console=QUIET)


def test_what_does_not_fit_is_refused(tmp_path: Path, autoencoder: Path) -> None:
    made, episodes = latent_recipe(autoencoder, "flow"), demonstrations()
    with pytest.raises(SpecError, match="use a horizon of 12"):
        replace(made, horizon=10).policy(episodes)
    with pytest.raises(SpecError, match="--no-relative"):
        replace(made, relative=True).policy(episodes)
    with pytest.raises(SpecError, match="those of the demonstrations, a, b"):
        made.policy(replace(episodes, action_names=("a", "b")))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        replace(made, autoencoder=tmp_path / "nowhere").policy(episodes)
    with pytest.raises(SpecError, match="2 dimensions for 8 latents"):
        LatentPolicy(policy(None), Blocks(STRIDE))
    other, run = replace(made, family="regression"), tmp_path / "run"
    with pytest.raises(SpecError, match="--family flow"):
        train_policy(episodes, other, "plain", FlowMatching(), run=run, console=QUIET)
