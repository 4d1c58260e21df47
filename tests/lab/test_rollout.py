"""Virtual-time rollouts of scripted chunk policies on a point mass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes.point_mass import SPEC, PointMass, demonstrations
from segue.core.chunk import Array, Continuation
from segue.core.dimensions import Dimensions
from segue.core.metrics import EpisodeRecord, episode_metrics
from segue.core.robot import RobotSpec
from segue.errors import SpecError
from segue.lab.delays import DelayModel, Fixed, Jitter
from segue.lab.rollout import Scales, Timing, rollout
from segue.plan.plan import Handover
from segue.policies.predictors.predictor import PredictivePolicy

HORIZON, S, STEPS = 8, 3, 20
SCALES = Scales(np.ones(2, np.float32), 1.0)


@dataclass
class Numbered:
    """Action j of the n-th call is (n / 100, j / 100); never reaches a goal. Keeps what it was asked."""

    asked: list[tuple[Array, Sequence[Continuation]]] = field(default_factory=list)
    gain: float = 1.0

    def next_chunks(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        self.asked.append((observations, continuations))
        one = np.stack([np.full(HORIZON, len(self.asked)), np.arange(HORIZON)], 1).astype(np.float32) / 100
        return np.repeat((self.gain * one[None]).astype(np.float32), len(observations), axis=0)


class Noisy:
    """Random chunks from each robot's own generator."""

    def next_chunks(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        return np.stack([torch.randn(HORIZON, 2, generator=each).numpy() for each in generators])


class Expert:
    """Straight to the goal."""

    def next_chunks(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        return np.repeat(observations[:, None, 2:], HORIZON, axis=1)


def timing(delay: DelayModel | int, handover: Handover = Handover.CONTINUE, s: int = S, steps: int = STEPS) -> Timing:
    model = Fixed(delay) if isinstance(delay, int) else delay
    return Timing(HORIZON, s, model, handover, steps)


def run(policy: object, when: Timing, seeds: Sequence[int] = (0,), spec: RobotSpec = SPEC) -> list[EpisodeRecord]:
    return rollout(policy, [PointMass(spec) for _ in seeds], seeds, when, SCALES)  # type: ignore[arg-type]


def positions(record: EpisodeRecord) -> list[str]:
    """Call and position of each command of `Numbered`."""
    return [f"{round(100 * float(call))}:{round(100 * float(j))}" for call, j in record.commands]


def test_naive_execution_skips_what_is_late() -> None:
    [record] = run(Numbered(), timing(2))
    # two holds before the first command count as that command
    assert positions(record)[:11] == ["1:0", "1:0", "1:0", "1:1", "1:2", "2:2", "2:3", "2:4", "3:2", "3:3", "3:4"]
    assert [seam.step for seam in record.seams] == [5, 8, 11, 14, 17]
    assert {seam.delay for seam in record.seams} == {2}


def test_a_policy_is_told_what_was_sent_not_what_it_wanted() -> None:
    """Limits make something else of an action; the next chunk goes on from that."""
    policy = Numbered(gain=500.0)  # 5 per call, far beyond the limits
    run(policy, timing(2))
    told = [continuation.previous for _, [continuation] in policy.asked if continuation.previous is not None]
    assert len(told) > 3
    assert all((SPEC.action_low <= each).all() and (each <= SPEC.action_high).all() for each in told)
    assert any((each == SPEC.action_high).any() for each in told)


def test_restarting_skips_nothing() -> None:
    [record] = run(Numbered(), timing(2, Handover.RESTART))
    assert positions(record)[2:11] == ["1:0", "1:1", "1:2", "2:0", "2:1", "2:2", "3:0", "3:1", "3:2"]
    assert {seam.delay for seam in record.seams} == {0}


def test_synchronous_execution_waits() -> None:
    policy = Numbered()
    [record] = run(policy, timing(2, Handover.WAIT))
    # a held position target is the last one again
    assert positions(record)[2:12] == ["1:0", "1:1", "1:2", "1:2", "1:2", "2:0", "2:1", "2:2", "2:2", "2:2"]
    assert [seam.step for seam in record.seams] == [7, 12, 17]


@pytest.mark.parametrize(("delay", "s"), [(0, 3), (2, 3), (3, 3), (4, 4)])
def test_every_chunk_is_executed_for_s_steps(delay: int, s: int) -> None:
    """Also where d = s, and where d = s = H / 2."""
    [record] = run(Numbered(), timing(delay, s=s, steps=40))
    assert set(np.diff([seam.step for seam in record.seams])) == {s}
    assert {seam.delay for seam in record.seams} == {delay}


@pytest.mark.parametrize("delay", [0, 2, 3])
def test_seams_show_both_plans_from_the_request_on(delay: int) -> None:
    policy = Numbered()
    [record] = run(policy, timing(delay))
    for n, seam in enumerate(record.seams, start=2):
        [told] = policy.asked[n - 1][1]
        assert seam.start == seam.step - delay == told.start
        assert np.array_equal(seam.old, told.prefix)
        assert (100 * seam.new[:, 0]).round().tolist() == [n] * HORIZON


@pytest.mark.parametrize("delay", [0, 2, 5])
def test_a_waiting_robot_does_not_shift_the_plans_against_each_other(delay: int) -> None:
    """At a synchronous seam the old plan goes on with its action s, however long the robot waited."""
    [record] = run(Numbered(), timing(delay, Handover.WAIT, steps=40))
    assert record.seams
    for seam in record.seams:
        assert (100 * seam.old[:, 1]).round().tolist() == list(range(S, HORIZON))
        assert (100 * seam.new[:, 1]).round().tolist() == list(range(HORIZON))


def test_a_hold_in_between_does_not_shift_the_plans_either() -> None:
    """The second chunk comes 3 steps after the first one ended: both plans start where it was asked for."""
    [record] = run(Numbered(), timing(Jitter(0, 16), s=3, steps=300), seeds=[3])
    late = [seam for seam in record.seams if seam.delay == len(seam.old)]
    assert late, "some chunk came after the end of the one before"
    for seam in record.seams:
        j = (100 * seam.old[:, 1]).round().astype(int)
        assert j.tolist() == list(range(HORIZON - len(j), HORIZON))
        before, at = record.commands[seam.step - 1], record.commands[seam.step]
        assert np.array_equal(at, seam.new[seam.delay])
        if seam.delay:
            assert np.array_equal(before, seam.old[seam.delay - 1])


def test_the_policy_sees_the_observation_of_the_request() -> None:
    policy = Numbered()
    [record] = run(policy, timing(2))
    for observations, [told] in policy.asked:
        np.testing.assert_allclose(observations[0, :2], record.measured[told.start], atol=1e-6)


def test_commands_are_recorded_as_executed() -> None:
    [record] = run(Numbered(gain=70.0), timing(0))
    assert np.abs(record.commands).max() == 1
    moved = record.measured[:-1] + 0.5 * (record.commands - record.measured[:-1])
    np.testing.assert_allclose(record.measured[1:], moved, atol=1e-6)


def test_holds_before_the_first_command() -> None:
    """A position target held before there was one counts as the first; without any, the record is still whole."""
    [record] = run(Numbered(), timing(3, s=4))
    assert positions(record)[:4] == ["1:0"] * 4
    [nothing] = run(Numbered(), timing(Jitter(500, 0), Handover.WAIT, steps=5))
    assert nothing.commands.shape == (5, 2)
    assert np.isfinite(nothing.commands).all()
    assert not nothing.seams


def test_holding_a_displacement_is_none_with_the_gripper_kept() -> None:
    kinds = Dimensions.of("displacement", "gripper")
    spec = replace(SPEC, command="velocity", action_names=("dx", "pinch"), action_kinds=kinds)
    [record] = run(Numbered(), timing(2, Handover.WAIT), spec=spec)
    commands = (100 * record.commands).round().tolist()
    assert commands[:2] == [[0, 0], [0, 0]]
    assert commands[2:7] == [[1, 0], [1, 1], [1, 2], [0, 2], [0, 2]]


@pytest.mark.parametrize("command", ["position", "velocity"])
def test_a_base_stops_in_a_hold_and_the_arm_keeps_its_target(command: Literal["position", "velocity"]) -> None:
    spec = replace(SPEC, command=command, action_kinds=Dimensions.of("linear", "velocity"))
    [record] = run(Numbered(), timing(2, Handover.WAIT), spec=spec)
    commands = (100 * record.commands).round().tolist()
    assert commands[:2] == [[1, 0], [1, 0]], "before the first action: the first target, no speed"
    assert commands[2:7] == [[1, 0], [1, 1], [1, 2], [1, 0], [1, 0]]


@pytest.mark.parametrize("handover", list(Handover))
def test_the_same_seeds_give_the_same_episodes(handover: Handover) -> None:
    when = timing(Jitter(2, 2), handover)
    one, other = run(Noisy(), when, [4, 5, 6]), run(Noisy(), when, [4, 5, 6])
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a.commands, b.commands)
        assert np.array_equal(a.measured, b.measured)
        assert [seam.step for seam in a.seams] == [seam.step for seam in b.seams]
    assert not np.array_equal(one[0].commands[:8], one[1].commands[:8])


def test_an_episode_does_not_depend_on_its_neighbours() -> None:
    when = timing(Jitter(2, 2))
    [alone] = run(Noisy(), when, [5])
    _, together, _ = run(Noisy(), when, [4, 5, 6])
    assert np.array_equal(alone.commands, together.commands)


def test_methods_on_the_same_seed_meet_the_same_conditions() -> None:
    """Initial state and delays are the seed's, whatever the policy does."""
    noisy, numbered = (run(policy, timing(Jitter(2, 2)), [7, 8]) for policy in (Noisy(), Numbered()))
    for a, b in zip(noisy, numbered, strict=True):
        assert np.array_equal(a.measured[0], b.measured[0])
        assert [(seam.step, seam.delay) for seam in a.seams] == [(seam.step, seam.delay) for seam in b.seams]


def test_delays_are_those_of_the_model() -> None:
    class Alternating:
        typical = 1

        def __init__(self) -> None:
            self.given: list[int] = []

        def draw(self, rng: np.random.Generator) -> int:
            self.given.append([1, 3, 0, 2][len(self.given) % 4])
            return self.given[-1]

    model = Alternating()
    [record] = run(Numbered(), timing(model, s=4, steps=60))
    assert [seam.delay for seam in record.seams] == model.given[1 : 1 + len(record.seams)]


def test_finished_episodes_stop_and_are_not_served_any_more() -> None:
    seeds = [0, 1, 2, 3]
    records = run(Expert(), timing(1, steps=50), seeds)
    assert len({len(record.commands) for record in records}) > 1
    for record in records:
        assert record.outcome.success
        assert record.completion_step == len(record.commands) < 50
        assert len(record.measured) == len(record.commands) + 1
        assert record.inference_calls <= 1 + len(record.commands) // S
        assert episode_metrics(record)["completion_time"] == pytest.approx(len(record.commands) * SPEC.dt)


def test_a_failed_episode_ends_with_its_steps() -> None:
    [record] = run(Numbered(), timing(1))
    assert len(record.commands) == STEPS
    assert record.completion_step is None
    assert record.inference_seconds > 0


def test_a_chunk_that_was_never_executed_is_no_seam() -> None:
    """Delay 2, requests at 0, 3, 6: the one of step 3 takes over at step 5, one step after the episode."""
    [record] = run(Numbered(), timing(2, steps=5))
    assert record.seams == ()
    [longer] = run(Numbered(), timing(2, steps=6))
    assert [seam.step for seam in longer.seams] == [5]


@dataclass
class Spoiled(Numbered):
    """From the third call on something else."""

    chunk: NDArray | None = None

    def next_chunks(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        good = super().next_chunks(observations, continuations, generators)
        if len(self.asked) < 3:
            return good
        if self.chunk is None:
            raise RuntimeError("no weights")
        return np.repeat(self.chunk[None], len(observations), axis=0)


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (np.full((HORIZON, 2), math.nan), "16 numbers that are not finite, asked for in step 6"),
        (np.full((HORIZON, 2), 1e300), "16 numbers that are not finite"),
        (np.full((HORIZON, 2), "0.5"), "not finite"),
        (np.zeros((HORIZON - 1, 2), np.float32), r"chunk of shape \(7, 2\)"),
        (np.zeros((HORIZON, 3), np.float32), r"chunk of shape \(8, 3\)"),
        (np.zeros((0, 2), np.float32), r"chunk of shape \(0, 2\)"),
    ],
)
def test_an_evaluation_ends_with_a_chunk_that_cannot_be_executed(chunk: NDArray, said: str, delay: int) -> None:
    with pytest.raises(SpecError, match=said):
        run(Spoiled(chunk=chunk), timing(delay), seeds=(0, 1))


def test_an_evaluation_ends_with_a_policy_that_raises() -> None:
    policy = Spoiled()
    with pytest.raises(RuntimeError, match="no weights"):
        run(policy, timing(2))
    assert len(policy.asked) == 3


def test_fewer_simulators_than_seeds_are_refused() -> None:
    with pytest.raises(SpecError, match="1 simulators for 2 seeds"):
        rollout(Expert(), [PointMass()], [0, 1], timing(0), SCALES)


OFF, UNIT = np.array([0.1, -0.2, 0.0, 0.3]), np.array([0.5, 0.4, 1.0, 2.0])


class Foreseen:
    """Goes half of the way to each target, as the point mass does, and is off by a constant."""

    def ahead(self, observed: Array, actions: Array, steps: NDArray[np.int64]) -> Array:
        state = np.array(observed, np.float64)
        for robot, count in enumerate(steps):
            for action in actions[robot, :count]:
                state[robot, :2] += 0.5 * (action - state[robot, :2])
            state[robot] += OFF * (count > 0)
        return state.astype(np.float32)


class Doubted(Foreseen):
    """As surprised as it is told to be."""

    surprising = 1.0

    def surprise(self, before: Array, executed: Array, steps: NDArray[np.int64], now: Array) -> NDArray[np.float64]:
        return np.full(len(before), self.surprising)


def foreseeing(predictor: Foreseen, when: Timing, scale: NDArray[np.float64] | None = UNIT) -> list[EpisodeRecord]:
    policy = PredictivePolicy(Numbered(), predictor)  # type: ignore[arg-type]
    seeds = (0, 1)
    scales = Scales(np.ones(2, np.float32), 1.0, scale)
    return rollout(policy, [PointMass() for _ in seeds], seeds, when, scales)


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_a_prediction_is_compared_with_what_is_seen_in_its_step(delay: int) -> None:
    """Requests at 3, 6, ... that take over before the end are compared; the first has nothing to predict with."""
    for record in foreseeing(Foreseen(), timing(delay)):
        compared = [step for step in range(S, STEPS, S) if step + delay < STEPS]
        assert record.prediction_errors == pytest.approx([np.mean(np.abs(OFF) / UNIT)] * len(compared), abs=1e-5)
        assert np.isnan(record.surprises).all()
        assert math.isnan(episode_metrics(record)["surprising"])


def test_whenever_a_chunk_comes_its_prediction_is_of_the_same_step() -> None:
    for record in foreseeing(Foreseen(), timing(Jitter(2, 2), s=4, steps=60)):
        assert {seam.delay for seam in record.seams} > {1, 2}
        assert len(record.prediction_errors) > 8
        assert record.prediction_errors == pytest.approx(np.mean(np.abs(OFF) / UNIT), abs=1e-5)


def test_nothing_is_compared_without_a_delay_or_a_scale() -> None:
    for record in foreseeing(Foreseen(), timing(0)) + foreseeing(Foreseen(), timing(2), None):
        assert record.prediction_errors.size == 0
        assert math.isnan(episode_metrics(record)["prediction_error"])


def test_a_prediction_that_is_doubted_is_not_made() -> None:
    calm, alarmed = Doubted(), Doubted()
    alarmed.surprising = 1.5
    for record in foreseeing(calm, timing(2)):
        assert episode_metrics(record)["surprising"] == 0
        assert record.prediction_errors.size
    for record in foreseeing(alarmed, timing(2)):
        assert np.isnan(record.surprises[:2]).all()  # the robot held after the first request
        assert record.surprises[2:].tolist() == [1.5] * (record.inference_calls - 2)
        assert episode_metrics(record)["surprising"] == 1
        assert record.prediction_errors.size == 1  # of the second request, with nothing to doubt it for


def test_the_scales_are_the_spread_of_the_demonstrations() -> None:
    episodes = demonstrations()
    scales = Scales.of(episodes, SPEC)
    assert scales.observation == pytest.approx(episodes.observation.astype(np.float64).std(0))
    assert scales.action == pytest.approx(episodes.action.astype(np.float64).std(0))
