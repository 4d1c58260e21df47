"""Training-time RTC: clean prefixes without loss, plain flow matching behind them."""

import torch

from fakes.flow_oracles import prefix, randn
from segue.strategies.flow import integrate
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Demonstrated
from segue.strategies.training_time_rtc import TrainingTimeRTC, TrainingTimeRTCObjective

H, A = 16, 2


def batch(n: int = 2000) -> Demonstrated:
    actions = randn(n, H, A)
    return Demonstrated(actions, torch.ones(n, H, dtype=torch.bool), actions, torch.zeros(n, dtype=torch.long))


def test_prefix_is_clean_and_takes_no_loss() -> None:
    data = batch()
    pair = TrainingTimeRTCObjective(max_delay=5).pair(data, torch.Generator().manual_seed(7))
    inside = pair.w == 1
    assert torch.equal(pair.x[inside], data.actions[inside])
    assert torch.equal(pair.mask, ~inside)
    assert set(pair.w.unique().tolist()) == {0.0, 1.0}
    assert set(inside.sum(1).tolist()) == set(range(6))
    assert (inside.int().diff(dim=1) <= 0).all()


def test_behind_the_prefix_it_is_flow_matching() -> None:
    data = batch()
    pair = TrainingTimeRTCObjective(max_delay=5).pair(data, torch.Generator().manual_seed(7))
    plain = FlowMatching().pair(data, torch.Generator().manual_seed(7))
    assert torch.equal(pair.x[pair.mask], plain.x[pair.mask])
    assert torch.equal(pair.target[pair.mask], plain.target[pair.mask])


def test_no_loss_beyond_the_end_of_an_episode() -> None:
    data = batch(50)
    ended = Demonstrated(data.actions, torch.arange(H).expand(50, H) < 9, data.own, data.own_known)
    pair = TrainingTimeRTCObjective(max_delay=5).pair(ended, torch.Generator().manual_seed(7))
    assert not pair.mask[:, 9:].any()


def test_weights_are_the_committed_part() -> None:
    hooks = TrainingTimeRTC().hooks(prefix(randn(2, H, A), known=10, delay=4))
    assert torch.equal(hooks.weights, (torch.arange(H) < 4).double().expand(2, H).to(hooks.weights.dtype))


def test_no_more_is_committed_than_is_known() -> None:
    hooks = TrainingTimeRTC().hooks(prefix(randn(1, H, A), known=3, delay=5))
    assert hooks.weights.sum() == 3


def test_pairs_and_loss_are_those_of_the_official_recipe() -> None:
    """Delays 0 to 4 with ``exp(arange(5)[::-1])`` for weights; x, target and loss of a velocity, as printed."""
    data, n = batch(20_000), 20_000
    pair = TrainingTimeRTCObjective(max_delay=4, decay=1.0).pair(data, torch.Generator().manual_seed(7))
    d = (pair.w == 1).sum(1)
    law = torch.exp(torch.arange(5.0).flip(0))
    law = law / law.sum()
    counts = torch.bincount(d).double()
    assert len(counts) == 5
    assert ((counts - n * law).abs() < 5 * (n * law * (1 - law)).sqrt()).all()

    noise = torch.randn(data.actions.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    behind = torch.arange(H) >= d[:, None]
    tau = torch.where(behind, pair.t[:, None], 1)[..., None]
    torch.testing.assert_close(pair.x, (1 - tau) * noise + tau * data.actions, rtol=0, atol=1e-12)
    torch.testing.assert_close(pair.target[behind], (data.actions - noise)[behind], rtol=0, atol=1e-12)
    assert torch.equal(pair.mask, behind)


def test_the_sampler_is_the_official_loop() -> None:
    reference, steps, delay = randn(2, H, A, seed=1), 5, 3
    hooks = TrainingTimeRTC().hooks(prefix(reference, H, delay))

    def velocity(x: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        return torch.sin(x + x.mean(1, keepdim=True)) + tau[..., None]

    def field(x: torch.Tensor, t: float) -> torch.Tensor:
        return velocity(x, t + hooks.weights * (1 - t))

    made = integrate(field, randn(2, H, A, seed=2), hooks.weights, reference, steps=steps, guide=hooks.guide)
    x, committed = randn(2, H, A, seed=2), torch.arange(H) < delay
    for k in range(steps):
        x = torch.where(committed[:, None], reference, x)
        x = x + velocity(x, committed.double().clamp(min=k / steps).expand(2, H)) / steps
    torch.testing.assert_close(made[:, delay:], x[:, delay:], rtol=0, atol=1e-12)  # what is before is never run
