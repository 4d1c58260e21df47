"""Residual quantisation: nearest entries, and gradients that pass straight through."""

from typing import Any

import pytest
import torch
from torch import Tensor

from segue.errors import SpecError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder
from segue.policies.autoencoder.quantizer import ResidualQuantizer
from segue.policies.normalizer import Normalizer

FEATURES, LATENT, LEVELS, CODES = 6, 2, 3, 5


def quantizer(**settings: Any) -> ResidualQuantizer:
    torch.manual_seed(0)
    return ResidualQuantizer(FEATURES, LATENT, **{"levels": LEVELS, "codes": CODES, **settings}).double()


def features(batch: int = 4, positions: int = 3) -> Tensor:
    return torch.randn(batch, positions, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_each_level_takes_the_entry_nearest_to_what_is_left() -> None:
    made = quantizer()
    latents = made.project(features()).detach()
    codes = made.codes(latents)
    for z, chosen in zip(latents.flatten(0, 1), codes.flatten(0, 1), strict=True):
        for book, code in zip(made.codebooks.detach(), chosen, strict=True):
            distances = [float((z - entry).square().sum()) for entry in book]
            assert distances[int(code)] == min(distances)
            z = z - book[code]


def test_the_latent_is_the_sum_of_its_entries() -> None:
    made = quantizer()
    codes = made.codes(made.project(features()))
    by_hand = torch.stack([made.codebooks[level][codes[..., level]] for level in range(LEVELS)]).sum(0)
    assert torch.equal(made(features()), by_hand)
    assert codes.shape == (4, 3, LEVELS)


def test_entries_of_one_level_are_kept() -> None:
    made = quantizer(levels=1)
    entries = made.codebooks[0][None]
    assert torch.equal(made.entries(made.codes(entries)), entries)


def test_gradients_pass_straight_through_and_reach_the_chosen_entries_only() -> None:
    made = quantizer(commitment=0.25)
    inputs = features().requires_grad_()
    latents, penalty = made.sample(inputs, torch.Generator())
    torch.testing.assert_close(latents, made(inputs))
    (gradient,) = torch.autograd.grad(latents.sum(), inputs, retain_graph=True)
    torch.testing.assert_close(gradient, made.project.weight.sum(0).expand_as(inputs))
    (books,) = torch.autograd.grad(penalty, made.codebooks)
    used = torch.zeros(LEVELS, CODES, dtype=torch.bool)
    for level in range(LEVELS):
        used[level, made.codes(made.project(inputs))[..., level].flatten()] = True
    assert torch.equal(books.abs().sum(-1) > 0, used)
    error = (made(inputs) - made.project(inputs)).square().mean()
    torch.testing.assert_close(penalty, 1.25 * error)


def test_a_quantized_autoencoder_has_finitely_many_latents() -> None:
    torch.manual_seed(0)
    config = AutoencoderConfig(
        8, ("x", "y"), LATENT, bottleneck="quantized", bottleneck_settings={"levels": 1, "codes": 3}
    )
    codec = ChunkAutoencoder(config, Normalizer([0, 0], [1, 1]))
    latents = codec.encode(torch.randn(50, 8, 2)).flatten(0, 1)
    assert 1 < len(latents.unique(dim=0)) <= 3


@pytest.mark.parametrize("settings", [{"levels": 0}, {"codes": 1}])
def test_impossible_sizes_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="at least 1 level of 2 codes"):
        quantizer(**settings)
