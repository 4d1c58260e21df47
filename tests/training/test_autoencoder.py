"""Training of autoencoders: resumed to the bit, measured on episodes that it has not seen, in their own units."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner

from fakes.point_mass import demonstrations
from segue.cli.app import app
from segue.data.bundled import push_t
from segue.data.episodes import Episodes, save
from segue.errors import CheckpointError, DataError, SpecError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, Codec, refine
from segue.training import checkpoint
from segue.training.autoencoder import (
    FORMAT,
    AutoencoderTraining,
    held_out,
    load_autoencoder,
    reconstruction,
    train_autoencoder,
)

CONFIG = AutoencoderConfig(8, ("target x", "target y"), 2, network_settings={"width": 8})
SHORT = AutoencoderTraining(updates=10, batch=8, checkpoint_every=3, held_out_every=3)
QUIET = Console(quiet=True)


def trained(
    run: Path, config: AutoencoderConfig = CONFIG, training: AutoencoderTraining = SHORT, **settings: Any
) -> ChunkAutoencoder:
    episodes = settings.pop("episodes", None) or demonstrations()
    return train_autoencoder(episodes, config, training, run=run, console=QUIET, **settings)


def same(one: ChunkAutoencoder, other: ChunkAutoencoder) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


class StoppedError(Exception):
    """Stands for anything that ends a run."""


@pytest.mark.parametrize("bottleneck", ["gaussian", "quantized"])
@pytest.mark.parametrize("after", [1, 4, 9])
def test_resumed_equals_uninterrupted_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, bottleneck: str
) -> None:
    config = replace(CONFIG, bottleneck=bottleneck)
    whole = trained(tmp_path / "whole", config)
    original, calls = ChunkAutoencoder.loss, [0]

    def loss(self: ChunkAutoencoder, actions: Tensor, generator: torch.Generator) -> Tensor:
        calls[0] += 1
        if calls[0] > after:
            raise StoppedError
        return original(self, actions, generator)

    with monkeypatch.context() as patch:
        patch.setattr(ChunkAutoencoder, "loss", loss)
        with pytest.raises(StoppedError):
            trained(tmp_path / "broken", config)
    torch.rand(3)  # what the process has drawn elsewhere must not matter
    assert same(trained(tmp_path / "broken", config, resume=True), whole)


def test_what_is_saved_is_what_is_returned(tmp_path: Path) -> None:
    returned = trained(tmp_path, task="point-mass")
    codec, error = load_autoencoder(tmp_path)
    assert same(codec, returned)
    assert codec.config == CONFIG
    info = checkpoint.load(tmp_path, FORMAT).info
    assert (info["update"], info["task"]) == (10, "point-mass")
    assert error.names == CONFIG.action_names
    _, unseen = held_out(demonstrations(), 3)
    again = reconstruction(codec, unseen, 8)
    np.testing.assert_allclose(error.mean, again.mean)
    np.testing.assert_allclose(error.p95, again.p95)
    assert len(info["latents"]["mean"]) == len(info["latents"]["scale"]) == CONFIG.latent


def test_the_seed_decides(tmp_path: Path) -> None:
    one = trained(tmp_path / "a")
    assert same(one, trained(tmp_path / "b"))
    assert not same(one, trained(tmp_path / "c", training=replace(SHORT, seed=1)))


@pytest.mark.parametrize(
    "other",
    [
        {"training": replace(SHORT, learning_rate=1e-5)},
        {"config": replace(CONFIG, stride=2)},
        {"episodes": demonstrations(seed=1)},
    ],
)
def test_other_settings_cannot_be_resumed(tmp_path: Path, other: dict[str, Any]) -> None:
    trained(tmp_path)
    with pytest.raises(CheckpointError, match="was started"):
        trained(tmp_path, resume=True, **other)


def test_every_kth_episode_is_held_out() -> None:
    episodes = demonstrations((10, 11, 12, 13, 14))
    lengths = [np.diff(part.ends, prepend=0).tolist() for part in held_out(episodes, 2)]
    assert lengths == [[10, 12, 14], [11, 13]]
    assert [len(part) for part in held_out(episodes, 100)] == [4, 1]
    with pytest.raises(DataError, match="at least two"):
        held_out(episodes.episode(0), 2)


class Off(Codec):
    """A codec that is wrong by 0.25 in its first dimension, at every fourth step by 1."""

    stride, latent = 4, 2  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor([0.25, 0.0]))

    def encode(self, actions: Tensor) -> Tensor:
        return actions.unflatten(1, (-1, 4)).flatten(2)

    def decode(self, latents: Tensor) -> Tensor:
        actions = latents.unflatten(2, (4, 2)).flatten(1, 2) + self.offset
        actions[:, 3::4, 0] += 0.75
        return actions


def test_errors_are_in_the_units_of_the_actions_and_on_whole_chunks_only() -> None:
    episodes = demonstrations((12, 8, 7))  # 5 whole chunks of 8 steps, 1 and none
    error = reconstruction(Off(), episodes, 8)
    np.testing.assert_allclose(error.mean, [(3 * 0.25 + 1) / 4, 0], atol=1e-6)
    np.testing.assert_allclose(error.p95, [1, 0], atol=1e-6)
    np.testing.assert_allclose(error.spread, episodes.action.std(0), rtol=1e-5)
    assert error.relative == pytest.approx(error.mean[0] / episodes.action[:, 0].std() / 2, rel=1e-5)


def test_it_learns_human_chunks_that_it_has_not_seen(tmp_path: Path) -> None:
    """Push-T by people; the convolutional network against the published one, with equal training."""
    episodes = push_t().select(np.arange(30))
    training = AutoencoderTraining(updates=250, batch=64, warmup=20, ema=0.98)
    errors: dict[str, float] = {}
    for network in ("convolutional", "global"):
        config = AutoencoderConfig(16, tuple(episodes.action_names), 4, network=network)
        train_autoencoder(episodes, config, training, run=tmp_path / network, console=QUIET)
        errors[network] = load_autoencoder(tmp_path / network)[1].relative
    assert errors["convolutional"] < 0.06
    assert errors["convolutional"] < 0.8 * errors["global"]


def edit(folder: Path, **changes: Any) -> None:
    info = json.loads((folder / "config.json").read_text())
    info["autoencoder"] |= changes
    (folder / "config.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"latent": 3}, "size mismatch"),
        ({"network": "perceptron"}, "perceptron"),
        ({"colour": "blue"}, "colour"),
        ({"action_names": None}, "4096 names"),
        ({"horizon": 9}, "stride"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    trained(tmp_path)
    edit(tmp_path / "last", **changes)
    with pytest.raises(CheckpointError, match=says):
        load_autoencoder(tmp_path)


def test_an_autoencoder_is_no_policy(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(CheckpointError, match=FORMAT):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("setting", ["updates", "batch", "checkpoint_every"])
def test_impossible_settings_are_refused(setting: str) -> None:
    with pytest.raises(SpecError, match=setting):
        AutoencoderTraining(**{setting: 0})
    with pytest.raises(SpecError, match="held_out_every"):
        AutoencoderTraining(held_out_every=1)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Episodes]:
    episodes = demonstrations((30, 24, 40))
    save(episodes, tmp_path / "mine.npz")
    return tmp_path / "mine.npz", episodes


def test_the_command_trains_and_prints_every_dimension(tmp_path: Path, data: tuple[Path, Episodes]) -> None:
    out = tmp_path / "run"
    command = ["train-autoencoder", "--data", str(data[0]), "--out", str(out)]
    settings = ["--horizon", "8", "--stride", "2", "--updates", "3"]
    run = CliRunner().invoke(app, [*command, *settings])
    assert run.exit_code == 0, run.output
    for name in data[1].action_names:
        assert name in run.output
    codec, _ = load_autoencoder(out)
    assert (codec.config.horizon, codec.stride, codec.latent) == (8, 2, 2)
    assert refine(codec, torch.zeros(1, 8, 2)).shape == (1, 8, 2)


@pytest.mark.parametrize("arguments", [[], ["adroit-door", "--data", "mine.npz"]])
def test_the_command_wants_a_task_or_data(arguments: list[str]) -> None:
    run = CliRunner().invoke(app, ["train-autoencoder", *arguments])
    assert isinstance(run.exception, DataError)
