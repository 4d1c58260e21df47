"""FASTER: its clock against the published one, what is finished when, and the limits in which it is another method."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes.flow_oracles import Gaussian, prefix, randn
from fakes.point_mass import policy
from segue.core.chunk import Continuation
from segue.errors import SpecError
from segue.plan.arriving import Parts
from segue.policies.chunk_policy import ContinuingPolicy
from segue.strategies.faster import FASTER, FASTERObjective, told
from segue.strategies.flow import integrate
from segue.strategies.hooks import Hooks, Strategy
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated
from segue.strategies.training_time_rtc import TrainingTimeRTC

H, A, N = 12, 2, 5


def published(h: int, d: int, left: float, alpha: float, u0: float) -> list[float]:
    """Time that is left of each position, ``clip((T - u) / (1 - u), 0, 1)`` with T from 1 to 0; 0 in the prefix."""
    u = [u0 * (1 - (max(i - d, 0) / max(h - 1 - d, 1)) ** alpha) for i in range(h)]
    return [0.0 if i < d else min(max((left - u[i]) / (1 - u[i]), 0), 1) for i in range(h)]


def sampled(strategy: Strategy, reference: Tensor, delay: int, field: Gaussian, steps: int = N) -> Tensor:
    hooks = strategy.hooks(prefix(reference, H, delay))

    def velocity(x: Tensor, t: float) -> Tensor:
        return field.velocity(x, t, Hooks(hooks.told(t)))

    return integrate(velocity, randn(2, H, A, seed=9), hooks.weights, reference, steps=steps, guide=hooks.guide)


@pytest.mark.parametrize("delay", [0, 3, 11, 12])
@pytest.mark.parametrize("t", [0.0, 0.05, 0.3, 0.75, 1.0])
@pytest.mark.parametrize(("alpha", "lead"), [(0.6, 0.9), (1.0, 0.5), (0.3, 0.0)])
def test_the_clock_is_the_published_one_turned_around(delay: int, t: float, alpha: float, lead: float) -> None:
    kept = (torch.arange(H) < delay)[None]
    tau = FASTER(alpha, lead).times(torch.tensor([t], dtype=torch.float64), kept)[0]
    wanted = 1 - torch.tensor(published(H, delay, 1 - t, alpha, lead), dtype=torch.float64)
    torch.testing.assert_close(tau, wanted, rtol=0, atol=1e-12)
    w = told(tau[None], torch.tensor([t], dtype=torch.float64))[0]
    torch.testing.assert_close(t + w * (1 - t), wanted, rtol=0, atol=1e-12)
    assert ((w >= 0) & (w <= 1)).all()


@pytest.mark.parametrize("steps", [3, 5, 7, 10])
@pytest.mark.parametrize("delay", [0, 3])
def test_the_first_free_position_is_finished_in_the_first_step_and_the_last_in_the_last(steps: int, delay: int) -> None:
    finished = FASTER(lead=(steps - 1) / steps).finished(prefix(randn(1, H, A), H, delay), steps)[:, 0].tolist()
    assert finished[0] == delay + 1
    assert finished == sorted(finished)
    assert finished[-1] == H > finished[-2]


def test_finished_positions_do_not_change_any_more() -> None:
    reference, field = randn(2, H, A, seed=1), Gaussian(randn(2, H, A, seed=2), 0.5)
    before, seen = prefix(reference, H, 3), []
    hooks = FASTER().hooks(before)

    def velocity(x: Tensor, t: float) -> Tensor:
        seen.append(x)
        return field.velocity(x, t, Hooks(hooks.told(t)))

    made = integrate(velocity, randn(2, H, A), hooks.weights, reference, steps=N, guide=hooks.guide)
    for x, finished in zip([*seen[1:], made], FASTER().finished(before, N), strict=True):
        assert torch.equal(x[:, : finished[0]], made[:, : finished[0]])


def test_parts_are_the_leading_actions_of_the_chunk_to_the_bit_as_soon_as_they_are_finished() -> None:
    """In robot units, from a policy; the first part comes after the first solver step."""
    made, seen = policy(horizon=H, relative=True), np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    what = Continuation(7, np.full((9, 2), 0.5, np.float32), 3, 6, np.ones(9, np.int64))
    calls: list[int] = []
    made.network.register_forward_hook(lambda *_: calls.append(1))
    whole = ContinuingPolicy(made, FASTER(), seed=3).next_chunk(seen, what)
    assert len(calls) == N
    after = [(len(part), part, len(calls) - N) for part in ContinuingPolicy(made, FASTER(), seed=3).parts(seen, what)]
    finished = FASTER().finished(prefix(randn(1, H, A), 9, 3), N)[:, 0].tolist()
    assert [(count, call) for count, _, call in after] == [(c, finished.index(c) + 1) for c in sorted({*finished})]
    assert (after[0][0], after[-1][0]) == (4, H)
    for count, part, _ in after:
        assert np.array_equal(part, whole[:count])
    plain = ContinuingPolicy(made, Naive(), seed=3)
    parts = list(ContinuingPolicy(made, Naive(), seed=3).parts(seen, what))
    assert len(parts) == 1
    assert np.array_equal(parts[0], plain.next_chunk(seen, what))


@pytest.mark.parametrize(("takes", "needed"), [(5, 1), (10, 3)])
def test_the_robot_reacts_long_before_the_last_action_is_finished(takes: int, needed: int) -> None:
    """Chunks of 48, whose inference takes so many control steps. The delay of their parts is the published clock's.

    After k of 5 solver steps ``1 + floor((H - 1 - d) ((k / 5 - 0.2) / 0.8)^(1 / 0.6))`` free positions are finished: 1,
    then 5 with H - 1 - d = 44. So the second solver step has to be over one control step after the first free action.
    """
    finished = FASTER().finished(prefix(randn(1, 48, A), 48, needed), N)[:, 0].tolist()
    free = [1 + math.floor((47 - needed) * ((k / N - 0.2) / 0.8) ** (1 / 0.6) + 1e-9) for k in range(1, N + 1)]
    assert finished == [needed + each for each in free]
    parts = Parts(delay=needed)
    for k, count in enumerate(finished, start=1):
        parts = parts.after(k * takes // N, count)
    assert parts.needed == needed == max(takes // N, 2 * takes // N - 1)


@pytest.mark.parametrize("delay", [0, 3, 12])
def test_without_a_lead_it_is_training_time_rtc(delay: int) -> None:
    reference, field = randn(2, H, A, seed=1), Gaussian(randn(2, H, A, seed=2), 0.5)
    made = sampled(FASTER(lead=0), reference, delay, field)
    torch.testing.assert_close(made, sampled(TrainingTimeRTC(), reference, delay, field), rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 8])
def test_a_policy_that_is_sure_has_its_way_and_the_prefix_is_kept(steps: int) -> None:
    wanted, reference = randn(2, H, A, seed=1), randn(2, H, A, seed=2)
    hooks, noise = FASTER().hooks(prefix(reference, H, 4)), randn(2, H, A, seed=9)
    made = integrate(
        lambda x, t: (wanted - x) / (1 - t), noise, hooks.weights, reference, steps=steps, guide=hooks.guide
    )
    torch.testing.assert_close(made[:, 4:], wanted[:, 4:], rtol=0, atol=1e-12)
    assert torch.equal(made[:, :4], reference[:, :4])


def test_every_step_is_one_of_the_positions_own_clock() -> None:
    """x + (tau' - tau) E[A - noise | x], with the field of a Gaussian, as printed."""
    reference, mean, spread, x = randn(2, H, A, seed=1), randn(2, H, A, seed=2), 0.5, randn(2, H, A, seed=9)
    made = sampled(FASTER(0.6, 0.9), reference, 3, Gaussian(mean, spread), 10)
    x[:, :3] = reference[:, :3]
    for k in range(10):
        now, then = (
            1 - torch.tensor(published(H, 3, 1 - each / 10, 0.6, 0.9), dtype=torch.float64)[:, None]
            for each in (k, k + 1)
        )
        gain = (now * spread**2 - (1 - now)) / ((1 - now) ** 2 + (now * spread) ** 2)
        x = x + (then - now) * (mean + gain * (x - now * mean))
    torch.testing.assert_close(made, x, rtol=0, atol=1e-10)


def test_pairs_are_on_the_path_at_the_times_of_the_positions() -> None:
    n = 2000
    actions = randn(n, H, A)
    data = Demonstrated(actions, torch.ones(n, H, dtype=torch.bool), actions, torch.zeros(n, dtype=torch.long))
    pair = FASTERObjective(max_delay=4).pair(data, torch.Generator().manual_seed(7))
    noise = torch.randn(actions.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    tau = pair.t[:, None] + pair.w * (1 - pair.t[:, None])
    torch.testing.assert_close(pair.x, (1 - tau[..., None]) * noise + tau[..., None] * actions, rtol=0, atol=1e-12)
    assert torch.equal(pair.mask, pair.w < 1)
    clocked = ((pair.w > 0) & (pair.w < 1)).any(1)
    assert 0.4 < clocked.double().mean() < 0.6
    assert (pair.w[~clocked].unique() == torch.tensor([0.0, 1.0])).all()


@pytest.mark.parametrize("values", [(0.0, 0.8), (1.5, 0.8), (0.6, 1.0), (0.6, -0.1), (0.6, float("nan"))])
def test_a_clock_that_does_not_run_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="alpha"):
        FASTER(*values)
