"""Training-time RTC: clean prefixes without loss, plain flow matching behind them."""

import torch

from fakes.flow_oracles import prefix, randn
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
