"""What docs/derivations.md says of noise scale, gentle guidance, own references and predicted states, checked."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fakes.flow_oracles import prefix, randn
from segue.policies.normalizer import Normalizer
from segue.policies.predictors.state import StatePredictor, StatePredictorConfig
from segue.strategies.flow import integrate, unguided
from segue.strategies.rtc import RTC, vjp
from segue.training.data import nearest

H, A = 6, 2
ZERO = torch.zeros(3, H, dtype=torch.float64)


def gaussian(mean: float, spread: float):
    """Velocity E[A - noise | x] for A ~ N(mean, spread^2) at every position."""

    def field(x: Tensor, t: float) -> Tensor:
        variance = (1 - t) ** 2 + (t * spread) ** 2
        return mean + (t * spread**2 - (1 - t)) / variance * (x - t * mean)

    return field


@given(st.floats(0, 1.5), st.floats(0.05, 2), st.floats(-2, 2), st.integers(1, 20))
def test_noise_scale_is_the_factor_on_the_deviation_for_any_number_of_steps(
    scale: float, spread: float, mean: float, steps: int
) -> None:
    noise = randn(3, H, A, seed=1)
    field, reference = gaussian(mean, spread), torch.zeros_like(noise)
    full, less = (
        integrate(field, each, ZERO, reference, steps=steps, guide=unguided) for each in (noise, scale * noise)
    )
    centre = integrate(field, 0 * noise, ZERO, reference, steps=steps, guide=unguided)
    torch.testing.assert_close(less - centre, scale * (full - centre), rtol=0, atol=1e-9)


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0, 2.0])
def test_many_steps_give_the_gaussian_its_own_spread_times_the_scale(spread: float) -> None:
    noise = randn(3, H, A, seed=1)
    reference = torch.zeros_like(noise)
    made = integrate(gaussian(0.3, spread), 0.7 * noise, ZERO, reference, steps=4000, guide=unguided)
    torch.testing.assert_close(made, 0.3 + spread * 0.7 * noise, rtol=0, atol=4e-3)


def test_from_no_noise_at_all_the_middle_of_two_plans_may_come() -> None:
    """Two plans, 1 and -1: the field's symmetric point is neither."""

    def field(x: Tensor, t: float) -> Tensor:  # A is 1 or -1, each half of the time
        estimate = torch.tanh(t * x / (1 - t) ** 2) if t < 1 else torch.sign(x)
        return (estimate - x) / (1 - t)

    nothing = torch.zeros(3, H, A, dtype=torch.float64)
    assert not integrate(field, nothing, ZERO, nothing, steps=50, guide=unguided).any()
    made = integrate(field, randn(3, H, A, seed=2), ZERO, nothing, steps=50, guide=unguided)
    torch.testing.assert_close(made.abs(), torch.ones_like(made), rtol=0, atol=1e-2)


@pytest.mark.parametrize("clip", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_gentle_guidance_of_a_gaussian_damps_the_noise_by_the_closed_form(clip: float, spread: float) -> None:
    noise, reference = randn(3, H, A, seed=1), randn(3, H, A, seed=2)
    before = prefix(reference.repeat(2, 1, 1), H, H)  # all committed: the mask is 1 everywhere
    guide = RTC(vjp, clip=clip).hooks(before).guide
    both, known = torch.cat((noise, 0 * noise)), ZERO.repeat(2, 1)
    made, other = integrate(gaussian(0.3, spread), both, known, before.reference, steps=4000, guide=guide).chunk(2)
    torch.testing.assert_close(made - other, spread * math.exp(-math.pi * clip * spread / 4) * noise, rtol=0, atol=5e-3)
    share = (other - 0.3) / (reference - 0.3)
    angle = np.linspace(0, np.pi / 2, 20001)
    left = (np.pi / 2 - angle) / 2 + np.sin(2 * angle) / 4  # integral of sin^2 from the angle to pi / 2
    wanted = float(clip * spread * np.trapezoid(np.sin(angle) * np.exp(-clip * spread * left), angle))
    torch.testing.assert_close(share, torch.full_like(share, wanted), rtol=0, atol=5e-3)


def linear(growth: float, offset: float) -> StatePredictor:
    """``o' = growth * o + a + offset`` in one dimension, as a predictor."""
    config = StatePredictorConfig(("o",), ("a",), dt=0.1, width=4)
    made = StatePredictor(config, Normalizer.identity(1), Normalizer.identity(1), torch.ones(1), 12)
    layer = nn.Linear(2, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[growth - 1, 1.0]], dtype=torch.float64))
        layer.bias.fill_(offset)
    made.linear = layer  # the network adds nothing yet
    return made.double()


@given(st.floats(0.3, 1.6), st.floats(1e-3, 0.1), st.integers(0, 12))
def test_the_bound_of_the_error_is_met_by_a_constant_offset(growth: float, offset: float, steps: int) -> None:
    state, actions, count = randn(5, 1, seed=1), randn(5, 12, 1, seed=2), torch.full((5,), steps)
    error = linear(growth, offset)(state, actions, count) - linear(growth, 0.0)(state, actions, count)
    bound = offset * sum(growth**j for j in range(steps))  # (L^d - 1) / (L - 1), and d where L = 1
    torch.testing.assert_close(error, torch.full_like(error, bound), rtol=1e-9, atol=1e-12)


def test_what_the_nearest_own_chunk_says_of_the_demonstration() -> None:
    """Nothing for one candidate; with many it is the demonstration; in between it is evidence with an error."""
    demonstrated = randn(20_000, 1, 1, seed=1)
    counted = torch.ones(20_000, 1, dtype=torch.bool)

    def correlation(candidates: int) -> float:
        own = nearest(randn(candidates, 20_000, 1, 1, seed=2), demonstrated, counted)
        return float(torch.corrcoef(torch.stack([own.flatten(), demonstrated.flatten()]))[0, 1])

    one, several, many = correlation(1), correlation(8), correlation(100)
    assert abs(one) < 0.03  # four standard errors
    assert 0.5 < several < many
    assert many > 0.99
