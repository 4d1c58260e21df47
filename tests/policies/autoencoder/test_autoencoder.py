"""Autoencoders of chunks: shapes, what depends on what, and the units at their door."""

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from fakes.point_mass import demonstrations
from segue.errors import SpecError, UnknownNameError
from segue.policies.autoencoder.autoencoder import (
    AutoencoderConfig,
    ChunkAutoencoder,
    GaussianBottleneck,
    divergence,
    latent_statistics,
    paper_autoencoder,
    refine,
)
from segue.policies.autoencoder.networks import ConvolutionalNetwork
from segue.policies.normalizer import Normalizer
from segue.training.autoencoder import autoencoder_of

ACTION, LATENT = 3, 5
NAMES = ("x", "y", "gripper")


def config(horizon: int = 16, stride: int = 4, **settings: Any) -> AutoencoderConfig:
    return AutoencoderConfig(horizon, NAMES, LATENT, stride=stride, **settings)


def made(config: AutoencoderConfig, mean: float = 0.0, scale: float = 1.0, seed: int = 0) -> ChunkAutoencoder:
    """With random weights, in double precision."""
    torch.manual_seed(seed)
    size = len(config.action_names)
    return ChunkAutoencoder(config, Normalizer([mean] * size, [scale] * size)).double().eval()


def chunks(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(codec: ChunkAutoencoder) -> GaussianBottleneck:
    assert isinstance(codec.bottleneck, GaussianBottleneck)
    return codec.bottleneck


def linear(inputs: int, outputs: int, taps: int = 1) -> int:
    return taps * inputs * outputs + outputs


def test_the_published_network_has_its_published_size() -> None:
    codec = ChunkAutoencoder(paper_autoencoder(tuple("abcdefghij")), Normalizer(np.zeros(10), np.ones(10)))
    encoder = linear(10, 32, taps=5) + linear(32, 8, taps=5)
    moments, back = linear(8, 2 * 10), linear(10, 8)
    decoder = linear(12 * 8, 128) + linear(128, 128) + linear(128, 48 * 10)
    expected = encoder + moments + back + decoder
    assert expected == 94_036
    assert sum(parameter.numel() for parameter in codec.parameters()) == expected
    actions = torch.randn(2, 48, 10)
    assert codec.encode(actions).shape == (2, 12, 10)
    assert refine(codec, actions).shape == (2, 48, 10)


def steps_seen(codec: ChunkAutoencoder, horizon: int, position: int) -> list[int]:
    """Steps that the latent of a position depends on."""
    actions = chunks(1, horizon, ACTION).requires_grad_()
    codec.encode(actions)[0, position].square().sum().backward()
    assert actions.grad is not None
    return actions.grad[0].abs().sum(-1).nonzero().flatten().tolist()


def steps_written(codec: ChunkAutoencoder, horizon: int, position: int) -> list[int]:
    """Steps that depend on the latent of a position."""
    latents = chunks(1, horizon // codec.stride, LATENT)
    edited = latents.clone()
    edited[:, position] += 1
    return (codec.decode(edited) - codec.decode(latents))[0].abs().sum(-1).nonzero().flatten().tolist()


def test_the_published_network_sees_thirteen_steps_and_writes_all() -> None:
    codec = made(config(horizon=48, network="global"))
    assert steps_seen(codec, 48, 6) == list(range(6 * 4 - 6, 6 * 4 + 6 + 1))
    assert steps_written(codec, 48, 6) == list(range(48))


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_the_convolutional_network_is_local(stride: int, blocks: int) -> None:
    reach, position, positions = ConvolutionalNetwork(blocks=blocks).reach, 6, 13
    codec = made(config(stride * positions, stride, network_settings={"blocks": blocks}))
    around = list(range((position - reach) * stride, (position + reach + 1) * stride))
    assert steps_seen(codec, stride * positions, position) == around
    assert steps_written(codec, stride * positions, position) == around


def test_editing_the_head_of_a_chunk_leaves_its_tail() -> None:
    codec, actions = made(config()), chunks(1, 64, ACTION)
    edited = actions.clone()
    edited[:, :8] += 1
    difference = (refine(codec, edited) - refine(codec, actions)).abs()[0].amax(-1)
    end = 8 + 2 * ConvolutionalNetwork().reach * 4  # positions 0 and 1 were edited
    assert torch.equal(difference[end:], torch.zeros(64 - end, dtype=torch.float64))
    assert (difference[:8] > 0).all()


def test_a_causal_encoding_of_a_beginning_does_not_depend_on_what_follows() -> None:
    causal = made(config(network_settings={"past": 2}))
    actions = chunks(2, 32, ACTION)
    torch.testing.assert_close(causal.encode(actions[:, :20]), causal.encode(actions)[:, :5], rtol=0, atol=1e-12)
    assert steps_seen(causal, 64, 7)[-1] == 7 * 4 + 3
    both = made(config())
    assert not torch.allclose(both.encode(actions[:, :20]), both.encode(actions)[:, :5])


@given(positions=st.integers(1, 9), stride=st.integers(1, 5), batch=st.integers(1, 3))
def test_one_convolutional_network_takes_any_horizon(positions: int, stride: int, batch: int) -> None:
    codec, actions = made(config(2 * stride, stride)), chunks(batch, positions * stride, ACTION)
    latents = codec.encode(actions)
    assert latents.shape == (batch, positions, LATENT)
    assert codec.decode(latents).shape == actions.shape


@given(horizon=st.integers(1, 13))
def test_refining_fills_up_with_the_last_action_and_cuts(horizon: int) -> None:
    codec, actions = made(config()), chunks(2, horizon, ACTION)
    filled = torch.cat([actions, *[actions[:, -1:]] * (-horizon % 4)], dim=1)
    assert torch.equal(refine(codec, actions), codec.decode(codec.encode(filled))[:, :horizon])


@pytest.mark.parametrize("network", ["convolutional", "global"])
@pytest.mark.parametrize("bottleneck", ["gaussian", "quantized"])
def test_normalisation_stays_at_the_door(network: str, bottleneck: str) -> None:
    settings = config(network=network, bottleneck=bottleneck)
    plain, shifted, actions = made(settings), made(settings, mean=-2.0, scale=0.5), chunks(2, 16, ACTION)
    inside = 0.5 * actions - 2
    torch.testing.assert_close(shifted.encode(inside), plain.encode(actions))
    torch.testing.assert_close(refine(shifted, inside), 0.5 * refine(plain, actions) - 2)


@pytest.mark.parametrize("bottleneck", ["gaussian", "quantized"])
def test_encoding_is_deterministic_and_samples_follow_their_generator(bottleneck: str) -> None:
    codec, actions = made(config(bottleneck=bottleneck)).train(), chunks(2, 16, ACTION)
    assert torch.equal(codec.encode(actions), codec.encode(actions))

    def loss(seed: int) -> float:
        return codec.loss(actions, torch.Generator().manual_seed(seed)).item()

    assert loss(0) == loss(0)
    assert (loss(0) != loss(1)) == (bottleneck == "gaussian")


def test_samples_spread_as_the_posterior_says() -> None:
    bottleneck = gaussian(made(config()))
    features = chunks(1, 1, 64).expand(1, 4000, 64)
    mean, log_variance = bottleneck.moments(features[:, :1]).chunk(2, -1)
    drawn, _ = bottleneck.sample(features, torch.Generator().manual_seed(0))
    torch.testing.assert_close(bottleneck(features[:, :1]), mean)
    torch.testing.assert_close(drawn.mean(1, keepdim=True), mean, rtol=0, atol=0.08)
    torch.testing.assert_close(drawn.std(1, keepdim=True), (0.5 * log_variance).exp(), rtol=0.08, atol=0)


def test_divergence_is_that_of_two_normal_distributions() -> None:
    mean, log_variance = chunks(4, 3, LATENT), chunks(4, 3, LATENT, seed=1)
    one = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(one, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum((1, 2)).mean()
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_the_loss_is_the_absolute_error_and_the_divergence() -> None:
    codec, actions = made(config(bottleneck_settings={"beta": 0.0}), scale=2.0), chunks(2, 16, ACTION)
    moments = gaussian(codec).moments
    with torch.no_grad():
        moments.bias[LATENT:] = -1e9  # log variance is clamped to -30: a draw is the mean
        moments.weight[LATENT:] = 0
    error = (refine(codec, actions) - actions).abs().mean() / 2
    torch.testing.assert_close(codec.loss(actions, torch.Generator()), error, rtol=0, atol=1e-5)
    gaussian(codec).beta = 0.1
    mean = codec.encode(actions)
    more = 0.1 * divergence(mean, torch.full_like(mean, -30.0))
    torch.testing.assert_close(codec.loss(actions, torch.Generator()), error + more, rtol=0, atol=1e-5)


def test_latent_statistics_are_those_of_all_windows() -> None:
    episodes = demonstrations((12, 9))
    codec = ChunkAutoencoder.for_episodes(AutoencoderConfig(8, episodes.action_names, LATENT), episodes)
    latents = torch.cat([codec.encode(torch.as_tensor(_window(episodes, i, 8))[None]) for i in range(21)]).detach()
    found = latent_statistics(codec, episodes, 8, batch=4)
    torch.testing.assert_close(found.mean, latents.mean((0, 1)), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.scale, latents.flatten(0, 1).std(0, correction=0) + 0.01, rtol=0, atol=1e-5)


def _window(episodes: Any, frame: int, horizon: int) -> np.ndarray:
    end = next(int(end) for start, end in pairwise([0, *episodes.ends]) if start <= frame < end)
    return episodes.action[np.minimum(np.arange(frame, frame + horizon), end - 1)]


def test_a_configuration_survives_json() -> None:
    codec = made(config(network_settings={"width": 8}, bottleneck_settings={"beta": 0.5})).float()
    again = autoencoder_of(json.loads(json.dumps(asdict(codec.config))), codec.state_dict())
    actions = chunks(1, 16, ACTION).float()
    assert again.config == codec.config
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in codec.state_dict().items())
    # To the last digit or two: a convolution whose weights want no gradient rounds otherwise on some processors.
    torch.testing.assert_close(refine(again, actions), refine(codec, actions), atol=1e-6, rtol=0, check_stride=False)
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize("shape", [(16, ACTION), (2, 16, ACTION + 1), (2, 15, ACTION), (2, 0, ACTION)])
def test_actions_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"\(batch, a multiple of 4, 3\): x, y, gripper"):
        made(config()).encode(chunks(*shape))


@pytest.mark.parametrize("shape", [(4, LATENT), (2, 4, LATENT + 1)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"\(batch, positions, 5\)"):
        made(config()).decode(chunks(*shape))


def test_the_published_network_keeps_to_its_horizon() -> None:
    with pytest.raises(SpecError, match="a chunk of 20 steps"):
        refine(made(config(network="global")), chunks(1, 20, ACTION))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"horizon": 18}, "use a horizon of 20"),
        ({"stride": 0}, "at least 1"),
        ({"network": "global", "stride": 6, "horizon": 18}, "a power of two"),
        ({"network": "global", "stride": 1}, "a power of two"),
        ({"network_settings": {"breadth": 3}}, "breadth"),
        ({"network_settings": {"width": 0}}, "width = 0"),
        ({"network_settings": {"past": 3}}, "past = 3"),
        ({"bottleneck_settings": {"gamma": 3}}, "gamma"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        made(config(**settings))


@pytest.mark.parametrize("settings", [{"network": "convolution"}, {"bottleneck": "gauss"}])
def test_unknown_names_come_with_a_suggestion(settings: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        made(config(**settings))
