"""PAINT: its three ways back against closed forms of linear fields, and the limits in which it is plain sampling."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from segue.errors import UnknownNameError
from segue.strategies.flow import integrate
from segue.strategies.paint import PAINT, Inversion, inverted

H, A, N = 8, 2, 5
WAYS: tuple[Inversion, ...] = ("euler", "midpoint", "one-shot")


def sampled(way: Inversion, field: Callable[[Tensor, float], Tensor], reference: Tensor, delay: int, steps: int = N):
    hooks, noise = PAINT(way).hooks(prefix(reference, H, delay)), randn(2, H, A, seed=9)
    start = hooks.start(field, noise, steps)
    return integrate(field, start, hooks.weights, reference, steps=steps, guide=hooks.guide)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_one_step_back_has_the_closed_form_of_a_linear_field(steps: int) -> None:
    """v = a x: by Euler x <- (1 - h a) x, by the midpoint x <- (1 - h a (1 - h a / 2)) x, at once x <- (1 - a) x."""
    x, a, h = randn(2, H, A), 0.7, 1 / steps
    factors = {"euler": (1 - h * a) ** steps, "midpoint": (1 - h * a * (1 - h * a / 2)) ** steps, "one-shot": 1 - a}
    for way in WAYS:
        torch.testing.assert_close(inverted(lambda x, t: a * x, x, steps, way), factors[way] * x, rtol=0, atol=1e-12)


def test_where_the_path_is_straight_the_committed_actions_come_back_exactly() -> None:
    shift, reference = randn(2, H, A, seed=1), randn(2, H, A, seed=2)
    for way in WAYS:
        made = sampled(way, lambda x, t: shift, reference, 3)
        torch.testing.assert_close(made[:, :3], reference[:, :3], rtol=0, atol=1e-12)
        torch.testing.assert_close(made[:, 3:], (randn(2, H, A, seed=9) + shift)[:, 3:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", ["euler", "midpoint"])
def test_elsewhere_the_error_of_the_prefix_falls_with_the_step(way: Inversion) -> None:
    reference = randn(2, H, A, seed=2)
    errors = [
        (sampled(way, lambda x, t: (1 + t) * x, reference, 3, steps) - reference)[:, :3].abs().max().log2()
        for steps in (64, 128, 256)
    ]
    for coarse, fine in pairwise(errors):
        assert float(coarse - fine) == pytest.approx(1, abs=0.05)


def test_at_once_an_exact_field_of_a_gaussian_forgets_the_prefix_as_steps_become_many() -> None:
    """E[noise | A] is zero: all that is left is the share ``h / (h^2 + (1 - h)^2 s^2)`` and the mean's."""
    spread, reference = 0.5, randn(2, H, A, seed=2)

    def field(x: Tensor, t: float) -> Tensor:
        return (t * spread**2 - (1 - t)) / ((1 - t) ** 2 + (t * spread) ** 2) * x

    for steps in (2, 10, 1000):
        h = 1 / steps
        share = 1 - ((1 - h) * spread**2 - h) / (h**2 + ((1 - h) * spread) ** 2)
        torch.testing.assert_close(inverted(field, reference, steps, "one-shot"), share * reference, rtol=0, atol=1e-12)
    assert abs(share) < 0.01


@pytest.mark.parametrize("way", WAYS)
def test_without_committed_actions_it_is_plain_sampling_to_the_bit(way: Inversion) -> None:
    noise, reference = randn(2, H, A, seed=9), randn(2, H, A, seed=2)
    x = noise
    for k in range(N):
        x = x + 0.2 * torch.sin(3 * x + k / N)
    assert torch.equal(sampled(way, lambda x, t: torch.sin(3 * x + t), reference, 0), x)


@pytest.mark.parametrize(("way", "passes"), [("euler", 3 * N), ("midpoint", 4 * N), ("one-shot", 2 * N + 1)])
def test_what_it_costs(way: Inversion, passes: int) -> None:
    asked: list[float] = []

    def field(x: Tensor, t: float) -> Tensor:
        asked.append(t)
        return torch.zeros_like(x)

    sampled(way, field, randn(2, H, A), 3)
    assert len(asked) == passes
    assert max(asked) < 1
    sampled(way, field, randn(2, H, A), 0)
    assert len(asked) == passes + N


def test_an_unknown_way_back_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'euler'"):
        PAINT("eulr")  # type: ignore[arg-type]
