"""The one sampler against oracles whose answer is known in closed form."""

import pytest
import torch
from torch import Tensor

from segue.errors import SpecError
from segue.strategies.flow import Step, estimate, integrate, interpolant, source, unguided
from segue.strategies.weights import schedule

HORIZON, ACTION = 12, 3


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_straight_field_is_integrated_exactly_in_any_number_of_steps() -> None:
    noise, actions = randn(2, HORIZON, ACTION), randn(2, HORIZON, ACTION, seed=1)
    free = torch.zeros(2, HORIZON, dtype=torch.float64)
    for steps in (1, 2, 3, 7, 50):
        found = integrate(lambda x, t: actions - noise, noise, free, noise, steps=steps, guide=unguided)
        torch.testing.assert_close(found, actions, rtol=0, atol=1e-13)


def test_euler_error_on_a_linear_field_falls_with_slope_one() -> None:
    # x' = -2 x + 1 from x0 has the solution (x0 - 1/2) exp(-2 t) + 1/2.
    noise = randn(1, HORIZON, ACTION)
    free = torch.zeros(1, HORIZON, dtype=torch.float64)
    exact = (noise - 0.5) * torch.exp(torch.tensor(-2.0, dtype=torch.float64)) + 0.5
    steps = [64, 128, 256, 512]
    errors = [
        (integrate(lambda x, t: 1 - 2 * x, noise, free, noise, steps=n, guide=unguided) - exact).abs().max().item()
        for n in steps
    ]
    slopes = torch.log2(torch.tensor(errors[:-1]) / torch.tensor(errors[1:]))
    torch.testing.assert_close(slopes, torch.ones(3), rtol=0, atol=0.05)


def test_zero_weights_are_the_plain_sampler_to_the_bit() -> None:
    noise, reference = randn(4, HORIZON, ACTION).float(), randn(4, HORIZON, ACTION, seed=1).float()
    matrix = randn(ACTION, ACTION, seed=2).float()

    def field(x: Tensor, t: float) -> Tensor:
        return torch.tanh(x @ matrix) * (1 + t)

    x = noise
    for k in range(5):
        x = x + 0.2 * field(x, k / 5)
    free = torch.zeros(4, HORIZON)
    assert torch.equal(integrate(field, noise, free, reference, steps=5, guide=unguided), x)


def test_positions_of_weight_one_are_the_reference_to_the_bit() -> None:
    noise, reference = randn(3, HORIZON, ACTION), randn(3, HORIZON, ACTION, seed=1)
    weights = schedule(HORIZON, torch.tensor([0, 4, 12]), torch.tensor([5, 3, 0])).double()
    found = integrate(lambda x, t: torch.sin(9 * x), noise, weights, reference, steps=4, guide=unguided)
    kept = weights >= 1
    assert torch.equal(found[kept], reference[kept])
    assert not torch.equal(found[~kept], reference[~kept])


def test_path_runs_from_source_to_actions() -> None:
    actions, noise, reference = (randn(5, HORIZON, ACTION, seed=s) for s in range(3))
    w = torch.rand(5, HORIZON, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    start = source(noise, w, reference)
    assert torch.equal(interpolant(actions, start, torch.zeros(5, dtype=torch.float64)), start)
    assert torch.equal(interpolant(actions, start, torch.ones(5, dtype=torch.float64)), actions)
    halfway = interpolant(actions, start, torch.full((5,), 0.5, dtype=torch.float64))
    torch.testing.assert_close(estimate(halfway, 0.5, actions - start), actions)


def test_source_with_the_actions_as_reference_is_the_interpolant_at_per_position_time() -> None:
    # tau = t + w (1 - t): how a network with per-position time sees a schedule.
    actions, noise = randn(5, HORIZON, ACTION), randn(5, HORIZON, ACTION, seed=1)
    w = torch.rand(5, HORIZON, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    t = torch.rand(5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    tau = (t[:, None] + w * (1 - t[:, None]))[..., None]
    x = interpolant(actions, source(noise, w, actions), t)
    torch.testing.assert_close(x, tau * actions + (1 - tau) * noise, rtol=0, atol=1e-14)


def test_steps_cover_flow_time_and_only_the_last_says_so() -> None:
    seen: list[Step] = []

    def note(field: object, x: Tensor, step: Step) -> Tensor:
        seen.append(step)
        return torch.zeros_like(x)

    noise = randn(1, HORIZON, ACTION)
    integrate(unguided_field, noise, torch.zeros(1, HORIZON), noise, steps=4, guide=note)
    assert [step.t for step in seen] == [0, 0.25, 0.5, 0.75]
    assert [step.last for step in seen] == [False, False, False, True]


def unguided_field(x: Tensor, t: float) -> Tensor:
    return x


def test_no_steps_are_refused() -> None:
    noise = randn(1, HORIZON, ACTION)
    with pytest.raises(SpecError, match="0 denoising steps"):
        integrate(unguided_field, noise, torch.zeros(1, HORIZON), noise, steps=0, guide=unguided)
