"""RTC's guidance against the closed form of a linear field, in both forms of the Jacobian."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from segue.strategies.flow import Step, integrate
from segue.strategies.rtc import RTC, guidance_gain, identity, vjp

H, A = 6, 2


def linear(matrix: Tensor):
    def field(x: Tensor, t: float) -> Tensor:
        return (matrix @ x.flatten(1).T).T.view_as(x)

    return field


@pytest.mark.parametrize("ramp", [0, 1, 2])
@pytest.mark.parametrize("dt", [0.01, 0.1, 1.0])
def test_beyond_its_ramp_nothing_is_guided(ramp: int, dt: float) -> None:
    """A time, however many control steps that is."""
    x, reference = randn(1, H, A, seed=2), randn(1, H, A, seed=3)
    hooks = RTC(identity, ramp_seconds=1.1 * ramp * dt).hooks(replace(prefix(reference, 4, 1), dt=dt))
    moved = (hooks.guide(lambda x, t: torch.zeros_like(x), x, Step(0.4, 0.2, False)) != 0).any(-1)[0]
    assert moved.tolist() == [position < 1 + ramp for position in range(H)]


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.8])
def test_guided_velocity_of_a_linear_field_has_the_closed_form(t: float) -> None:
    # v = M x, so Ahat = (I + (1 - t) M) x and J = I + (1 - t) M.
    matrix = randn(H * A, H * A, seed=1)
    x, reference = randn(3, H, A, seed=2), randn(3, H, A, seed=3)
    before = prefix(reference, 4, 2)
    mask = before.weights(None, "exponential")[..., None].double()
    jacobian = torch.eye(H * A, dtype=torch.float64) + (1 - t) * matrix
    estimate = (jacobian @ x.flatten(1).T).T.view_as(x)
    error = (mask * (reference - estimate)).flatten(1)
    velocity = linear(matrix)(x, t)
    gain = guidance_gain(t, 5.0)
    step = Step(t, 0.2, last=t == 0.8)

    paper = RTC(vjp).hooks(before).guide(linear(matrix), x, step)
    torch.testing.assert_close(paper, velocity + gain * (error @ jacobian).view_as(x), rtol=0, atol=1e-12)
    other = RTC(identity).hooks(before).guide(linear(matrix), x, step)
    torch.testing.assert_close(other, velocity + gain * error.view_as(x), rtol=0, atol=1e-12)
    assert (paper - other).abs().max() > 1e-3


def test_vjp_equals_finite_differences_of_a_nonlinear_field() -> None:
    weight = randn(A, A, seed=1)

    def field(x: Tensor, t: float) -> Tensor:
        return torch.tanh(x @ weight) * (1 + t)

    x, cotangent = randn(1, H, A, seed=2), randn(1, H, A, seed=3)
    _, correction = vjp(field, x, 0.3, lambda guess: cotangent)
    numeric = torch.zeros_like(x)
    for i in range(x.numel()):
        bump = torch.zeros(x.numel(), dtype=torch.float64)
        bump[i] = 1e-6
        up, down = x + bump.view_as(x), x - bump.view_as(x)
        change = (up + 0.7 * field(up, 0.3) - down - 0.7 * field(down, 0.3)) / 2e-6
        numeric.view(-1)[i] = (change * cotangent).sum()
    torch.testing.assert_close(correction, numeric, rtol=0, atol=1e-7)


def test_gain_reproduces_the_papers_table_and_is_clipped() -> None:
    # (t^2 + (1 - t)^2) / (t (1 - t)) by hand at five times; infinite at 0, least at 1/2.
    assert guidance_gain(0.0, 5.0) == 5
    assert [guidance_gain(t, 5.0) for t in (0.2, 0.4, 0.6, 0.8)] == pytest.approx([4.25, 13 / 6, 13 / 6, 4.25])
    assert guidance_gain(0.5, 5.0) == pytest.approx(2)
    assert guidance_gain(0.5, 1.5) == 1.5


def test_a_finished_chunk_is_guided_no_more() -> None:
    """The ratio is infinite at both ends; rounding may lead beyond them."""
    assert [guidance_gain(t, 5.0) for t in (1.0, 1.0 + 1e-12, -1e-12)] == [0, 0, 5]
    assert guidance_gain(1.0 - 1e-12, 5.0) == 5


def test_nothing_to_continue_is_the_plain_sampler_to_the_bit() -> None:
    field = linear(randn(H * A, H * A, seed=1) / 10)
    noise, reference = randn(2, H, A), randn(2, H, A, seed=1)
    hooks = RTC(identity).hooks(prefix(reference, 0, 0))
    plain = integrate(field, noise, hooks.weights, reference, steps=5, guide=lambda f, x, s: f(x, s.t))
    assert torch.equal(integrate(field, noise, hooks.weights, reference, steps=5, guide=hooks.guide), plain)


def test_hard_mask_guides_committed_positions_only() -> None:
    x, reference = randn(1, H, A), randn(1, H, A, seed=1)

    def still(x: Tensor, t: float) -> Tensor:
        return torch.zeros_like(x)

    velocity = RTC(identity, shape="step").hooks(prefix(reference, 5, 2)).guide(still, x, Step(0.4, 0.2, False))
    assert (velocity[:, 2:] == 0).all()
    torch.testing.assert_close(velocity[:, :2], 13 / 6 * (reference - x)[:, :2])


def test_guidance_survives_inference_mode() -> None:
    weight = randn(A, A, seed=1)
    with torch.inference_mode():
        x, reference = randn(1, H, A), randn(1, H, A, seed=1)
        hooks = RTC(vjp).hooks(prefix(reference, 4, 2))
        inside = hooks.guide(lambda x, t: torch.tanh(x @ weight), x, Step(0.4, 0.2, False))
    outside = (
        RTC(vjp)
        .hooks(prefix(reference.clone(), 4, 2))
        .guide(lambda x, t: torch.tanh(x @ weight), x.clone(), Step(0.4, 0.2, False))
    )
    torch.testing.assert_close(inside, outside)


@pytest.mark.parametrize(("start", "end"), [(0, 4), (2, 6), (3, 3), (4, 8)])
def test_weights_and_gains_are_those_of_the_official_code(start: int, end: int) -> None:
    """``c (e^c - 1) / (e - 1)`` of ``c = clip((start - 1 - i) / (end - start + 1) + 1, 0, 1)``, 0 from the end."""
    line = [min(max((start - 1 - i) / (end - start + 1) + 1, 0), 1) for i in range(8)]
    wanted = [c * math.expm1(c) / (math.e - 1) if i < end else 0.0 for i, c in enumerate(line)]
    weights = prefix(randn(1, 8, A), end, start).weights(None, "exponential")[0]
    torch.testing.assert_close(weights, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12)
    for k in range(1, 10):
        t = k / 10
        inverse_variance = (t**2 + (1 - t) ** 2) / (1 - t) ** 2
        assert guidance_gain(t, 5.0) == pytest.approx(min((1 - t) / t * inverse_variance, 5.0), rel=0, abs=1e-12)
