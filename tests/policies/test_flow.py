"""Flow policies and the strategies bound to them: units, anchors, masks, and what every method has in common."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fakes.point_mass import demonstrations, policy
from segue.core.chunk import Array, Continuation, nothing_to_continue
from segue.core.spec import PolicySpec
from segue.errors import SpecError, UnknownNameError
from segue.methods.methods import METHODS
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy, prefix_of
from segue.policies.flow import FlowPolicy
from segue.policies.normalizer import Normalizer
from segue.policies.prediction import ActionPrediction, VelocityPrediction, prediction
from segue.strategies.blend import CrossFade, WeightedBlend
from segue.strategies.flow import estimate
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.objective import TrainingPair
from segue.strategies.training_time_rtc import TrainingTimeRTC

HORIZON, STEPS = 8, 5
STRATEGIES = {name: method.strategy for name, method in METHODS.items()}


def observations(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (count, 4)).astype(np.float32)


def continuation(known: int = 5, delay: int = 2, seed: int = 0) -> Continuation:
    prefix = np.random.default_rng(seed).uniform(-1, 1, (known, 2)).astype(np.float32)
    return Continuation(7, prefix, delay, 3, np.ones(known, np.int64))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def chunk(flow: FlowPolicy, strategy: Strategy, what: Continuation, seed: int = 0) -> Array:
    bound = ContinuingPolicy(flow, strategy, denoising_steps=STEPS)
    return bound.next_chunks(observations(1), [what], generators(seed))[0]


@pytest.mark.parametrize("relative", [False, True])
def test_units_there_and_back(relative: bool) -> None:
    flow, observation = policy(relative=relative), torch.as_tensor(observations(6))
    actions = torch.rand(6, HORIZON, 2) * 2 - 1
    torch.testing.assert_close(flow.units.to_robot(flow.units.to_policy(actions, observation), observation), actions)


def test_relative_actions_are_taken_from_the_state_they_command() -> None:
    """Moving the observed position and the targets by the same vector changes nothing in policy units."""
    flow, observation, shift = policy(relative=True), torch.as_tensor(observations(3)), torch.tensor([0.3, -0.2])
    actions = torch.rand(3, HORIZON, 2)
    moved = observation.clone()
    moved[:, :2] += shift
    torch.testing.assert_close(flow.units.to_policy(actions + shift, moved), flow.units.to_policy(actions, observation))
    plain = policy(relative=False)
    torch.testing.assert_close(plain.units.to_policy(actions, moved), plain.units.to_policy(actions, observation))


def test_units_leave_their_argument_alone() -> None:
    flow, observation, actions = policy(relative=True), torch.as_tensor(observations(1)), torch.rand(1, HORIZON, 2)
    kept = actions.clone()
    flow.units.to_policy(actions, observation)
    flow.units.to_robot(actions, observation)
    assert torch.equal(actions, kept)


@pytest.mark.parametrize("relative", [False, True])
def test_a_prefix_keeps_its_robot_units_under_another_observation(relative: bool) -> None:
    """The chunk before was anchored elsewhere; only robot units cross over."""
    flow, what = policy(relative=relative), continuation()
    for seed in (1, 2):
        observation = torch.as_tensor(observations(1, seed))
        prefix = prefix_of(flow, observation, [what])
        back = flow.units.to_robot(prefix.reference, observation)[0].numpy()
        np.testing.assert_allclose(back[:5], what.prefix, atol=1e-6)
        np.testing.assert_allclose(back[5:], np.broadcast_to(what.prefix[-1], (3, 2)), atol=1e-6)
        assert (prefix.known.tolist(), prefix.delay.tolist()) == ([5], [2])
        assert prefix.votes.tolist() == [[1] * 5 + [0] * 3]


def test_a_prefix_may_be_longer_than_the_horizon() -> None:
    what = continuation(known=11)
    prefix = prefix_of(policy(), torch.as_tensor(observations(1)), [what])
    assert prefix.known.tolist() == [HORIZON]
    assert prefix.votes.shape == (1, HORIZON)


@pytest.mark.parametrize("relative", [False, True])
def test_the_normalizer_of_actions_is_fitted_to_what_the_network_sees(relative: bool) -> None:
    flow, episodes = policy(relative=relative), demonstrations()
    frames = np.minimum(
        np.arange(len(episodes.action))[:, None] + np.arange(HORIZON),
        np.repeat(episodes.ends, np.diff(episodes.ends, prepend=0))[:, None] - 1,
    )
    units = flow.units.to_policy(torch.as_tensor(episodes.action[frames]), torch.as_tensor(episodes.observation))
    torch.testing.assert_close(units.mean((0, 1)), torch.zeros(2), atol=1e-5, rtol=0)
    assert (units.std((0, 1)) < 1).all()


def test_a_dimension_that_never_moves_stays_finite() -> None:
    normalizer = Normalizer.fit(np.full((10, 2), 3.0))
    assert torch.isfinite(normalizer(torch.zeros(1, 2))).all()
    torch.testing.assert_close(normalizer.inverse(normalizer(torch.tensor([[5.0, -1.0]]))), torch.tensor([[5.0, -1.0]]))


def test_action_and_velocity_differ_by_the_affine_map() -> None:
    """An output that is the action, and one that is the velocity of the same action, stand for one field."""
    x, action, t = torch.randn(3, 4, 2), torch.randn(3, 4, 2), torch.tensor([0.0, 0.3, 0.9])[:, None, None]
    velocity = (action - x) / (1 - t)
    torch.testing.assert_close(ActionPrediction().velocity(action, x, t), velocity)
    torch.testing.assert_close(VelocityPrediction().velocity(velocity, x, t), velocity)
    for i in range(3):
        torch.testing.assert_close(estimate(x[i], float(t[i]), velocity[i]), action[i])


def test_both_errors_vanish_at_the_same_target_and_only_there() -> None:
    x, action, t = torch.randn(3, 4, 2), torch.randn(3, 4, 2), torch.tensor([0.0, 0.3, 0.9])[:, None, None]
    velocity = (action - x) / (1 - t)
    for how, output in ((ActionPrediction(), action), (VelocityPrediction(), velocity)):
        torch.testing.assert_close(how.error(output, x, t, velocity), torch.zeros_like(x), atol=1e-10, rtol=0)
        assert (how.error(output + 0.1, x, t, velocity) > 0).all()


def test_unknown_prediction() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'velocity'"):
        prediction("velocty")


@pytest.mark.parametrize("predicts", ["action", "velocity"])
def test_positions_outside_of_the_mask_do_not_count(predicts: str) -> None:
    flow = policy(predicts=predicts)
    torch.manual_seed(1)
    x, v, t, w = torch.randn(4, HORIZON, 2), torch.randn(4, HORIZON, 2), torch.rand(4), torch.rand(4, HORIZON)
    mask = torch.rand(4, HORIZON) < 0.5
    mask[0] = False
    context = flow.units.encode(torch.as_tensor(observations(4)))
    loss = flow.loss(TrainingPair(x, t, w, v, mask), context)
    elsewhere = torch.where(mask[..., None], v, v + 100)
    assert torch.equal(flow.loss(TrainingPair(x, t, w, elsewhere, mask), context), loss)
    counted = torch.where(mask[..., None], v + 100, v)
    assert flow.loss(TrainingPair(x, t, w, counted, mask), context) > loss
    with torch.no_grad():
        error = flow._prediction.error(flow.network(x, t, w, context), x, t[:, None, None], v).mean(2)
    means = [float(error[i][mask[i]].mean()) if mask[i].any() else 0.0 for i in range(4)]
    assert loss.item() == pytest.approx(np.mean(means), rel=1e-5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_generator_gives_the_same_chunk(name: str) -> None:
    flow, strategy, what = policy(), STRATEGIES[name], continuation()
    one = chunk(flow, strategy, what)
    assert np.array_equal(one, chunk(flow, strategy, what))
    assert not np.array_equal(one, chunk(flow, strategy, what, seed=1))
    assert one.shape == (HORIZON, 2)
    assert np.isfinite(one).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_inference_mode_changes_nothing(name: str) -> None:
    flow, strategy, what = policy(), STRATEGIES[name], continuation()
    outside = chunk(flow, strategy, what)
    with torch.inference_mode():
        inside = chunk(flow, strategy, what)
    assert np.array_equal(outside, inside)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("strategy", [TrainingTimeRTC(), Legato(), Legato(gain=0.3, fade=0.5), STRATEGIES["legato"]])
def test_committed_actions_come_back_as_they_were(strategy: Strategy, relative: bool) -> None:
    what = continuation(delay=3)
    actions = chunk(policy(relative=relative), strategy, what)
    np.testing.assert_allclose(actions[:3], what.prefix[:3], atol=1e-5)
    assert np.abs(actions[5:] - what.prefix[-1]).max() > 1e-3, "free positions are not"


@pytest.mark.parametrize(
    "name", sorted(STRATEGIES.keys() - {"faster", "official-bid"})
)  # a clock; a choice by contrast
def test_without_a_prefix_every_strategy_samples_plainly(name: str) -> None:
    what = nothing_to_continue(0, 2, 3)
    flow = policy()
    np.testing.assert_allclose(chunk(flow, STRATEGIES[name], what), chunk(flow, Naive(), what), atol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_robots_in_a_batch_do_not_see_each_other(name: str) -> None:
    flow = policy(relative=True)
    bound = ContinuingPolicy(flow, STRATEGIES[name], denoising_steps=STEPS)
    many = observations(4)
    what = [continuation(5, 2, 1), nothing_to_continue(0, 2, 3), continuation(3, 3, 2), continuation(7, 0, 3)]
    together = bound.next_chunks(many, what, generators(1, 2, 3, 4))
    turned = bound.next_chunks(many[::-1].copy(), what[::-1], generators(4, 3, 2, 1))
    np.testing.assert_allclose(together, turned[::-1], atol=1e-4)
    for i in range(4):
        alone = bound.next_chunks(many[i : i + 1], what[i : i + 1], generators(i + 1))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-4)


def test_one_robot_is_a_batch_of_one() -> None:
    flow, what = policy(), continuation()
    one = ContinuingPolicy(flow, Naive(), seed=5).next_chunk(observations(1)[0], what)
    assert np.array_equal(one, ContinuingPolicy(flow, Naive()).next_chunks(observations(1), [what], generators(5))[0])


def test_the_number_of_denoising_steps_is_never_guessed() -> None:
    assert ContinuingPolicy(policy(), Naive()).denoising_steps == policy().denoising_steps
    with pytest.raises(SpecError, match="0 denoising steps"):
        ContinuingPolicy(policy(), Naive(), denoising_steps=0).next_chunk(observations(1)[0], continuation())


def test_a_bound_policy_says_what_it_sees_and_answers() -> None:
    spec = ContinuingPolicy(policy(relative=False), Naive()).spec
    assert spec == PolicySpec(HORIZON, 0.1, ("x", "y", "goal x", "goal y"), ("target x", "target y"))


@pytest.mark.parametrize("relative", [False, True])
def test_foreign_shapes_are_refused(relative: bool) -> None:
    bound = ContinuingPolicy(policy(relative=relative), Naive())
    with pytest.raises(SpecError, match=r"\(batch, 4\): x, y, goal x, goal y"):
        bound.next_chunk(np.zeros(1, np.float32), continuation())
    wide = replace(continuation(), prefix=np.zeros((5, 3), np.float32))
    with pytest.raises(SpecError, match=r"\(known, 2\): target x, target y"):
        bound.next_chunk(observations(1)[0], wide)


class Recorded:
    """A chunk policy from elsewhere: the same chunk always; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Continuation] = []
        self.calls: list[str] = []

    spec = PolicySpec(HORIZON, 0.1, ("x", "y", "goal x", "goal y"), ("target x", "target y"))

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        self.told.append(continuation)
        return np.ones((HORIZON, 2), np.float32)

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")


def test_a_foreign_policy_is_finished_in_robot_units() -> None:
    below, what = Recorded(), continuation()
    finished = FinishedPolicy(below, WeightedBlend(new=0.25)).next_chunk(observations(1)[0], what)
    np.testing.assert_allclose(finished[:5], 0.25 + 0.75 * what.prefix, atol=1e-6)
    np.testing.assert_allclose(finished[5:], 1)
    assert below.told[0].known == below.told[0].delay == 0


def test_a_foreign_policy_starts_and_ends_with_its_wrapper() -> None:
    below = Recorded()
    wrapper = FinishedPolicy(below, CrossFade())
    assert wrapper.spec == below.spec
    assert (wrapper.next_chunk(observations(1)[0], nothing_to_continue(0, 2, 3)) == 1).all()
    wrapper.reset()
    wrapper.close()
    assert below.calls == ["reset", "close"]
