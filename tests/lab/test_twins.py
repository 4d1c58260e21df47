"""With the simulator itself as predictor, a delayed rollout is the one without delay, its requests so much later.

    delayed     hold hold | A0 ........ | A1 ........        A1 is asked for d steps before it takes over, and is made
    reference   hold hold | A0 ........ | A1 ........        of what the twin sees then; here it is asked for at once

A chunk that is asked for at k knows H - d steps from k + d on, so that the reference cuts its chunks to H - d; the
first one, before which there is nothing to execute, is made of the first observation and is whole.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes.point_mass import PointMass
from segue.core.chunk import Array, Chunk, Continuation
from segue.core.metrics import EpisodeRecord
from segue.core.observation import stacked, state_of
from segue.core.robot import Simulator
from segue.errors import SpecError
from segue.lab.delays import DelayModel, Fixed, HeavyTail, Jitter
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.tasks.tasks import task
from segue.lab.twins import Followed, Twins
from segue.plan.plan import Handover
from segue.policies.chunk_policy import BatchChunkPolicy, ContinuingPolicy
from segue.policies.families import config_for, policy_for
from segue.policies.noise import CarriedNoise, FreshNoise, Noise
from segue.policies.policy import Policy
from segue.policies.predictors.predictor import PredictivePolicy
from segue.strategies.blend import CrossFade, TemporalEnsembling, WeightedBlend
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato
from segue.strategies.literal_legato import LiteralLegato
from segue.strategies.naive import Naive
from segue.strategies.reuse_then_refine import Anchor, ReuseThenRefine
from segue.strategies.reuse_then_refine import Fixed as Reused
from segue.strategies.rtc import RTC, identity, vjp
from segue.strategies.training_time_rtc import TrainingTimeRTC

TASKS = ("adroit-door", "push-t")
HORIZON, LEAST, STEPS_OF_SOLVER, SEED = 26, 5, 2, 11


def smoothed(actions: torch.Tensor) -> torch.Tensor:
    """Stands for an autoencoder: the mean of neighbours."""
    return (actions + actions.roll(1, 1) + actions.roll(-1, 1)) / 3


STRATEGIES: dict[str, Strategy] = {
    "naive": Naive(),
    "ensembling": TemporalEnsembling(0.1),
    "blend": WeightedBlend(),
    "cross-fade": CrossFade(),
    "rtc": RTC(vjp),
    "rtc-identity": RTC(identity),
    "training-time-rtc": TrainingTimeRTC(),
    "legato": Legato(gain=0.5, fade=0.3),
    "literal-legato": LiteralLegato(STEPS_OF_SOLVER),
    "reuse-then-refine": ReuseThenRefine(smoothed, Reused(4), (Anchor(),)),
}
QUICK = ("rtc", "legato")
"""Of these every delay is looked at in `make test`, of all in `make test-faults`."""


@cache
def simulators(name: str) -> tuple[Simulator, Simulator]:
    return task(name).simulator(), task(name).simulator()


@cache
def policy(name: str) -> Policy:
    """Untrained, with weights that are not zero, so that every input matters."""
    torch.manual_seed(0)
    episodes = task(name).demonstrations()
    settings = {"width": 8, "depth": 1}
    made = policy_for(config_for("flow", episodes, horizon=HORIZON, network_settings=settings), episodes)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    return made.eval()


def execution_horizon(delay: int) -> int:
    return max(LEAST, delay)


def continuing(name: str, strategy: Strategy, noise: Noise) -> ContinuingPolicy:
    return ContinuingPolicy(policy(name), strategy, denoising_steps=STEPS_OF_SOLVER, noise=noise)


def delayed(
    name: str, bound: BatchChunkPolicy, delay: DelayModel, steps: int, robots: Sequence[Simulator]
) -> EpisodeRecord:
    """The episode under a delay."""
    timing = Timing(HORIZON, execution_horizon(delay.typical), delay, Handover.CONTINUE, steps)
    spec = robots[0].spec
    scales = Scales(np.ones(len(spec.action_names)), 1.0, np.ones(len(spec.observation_names)))
    return rollout(bound, robots, [SEED], timing, scales)[0]


def foreseen(name: str, strategy: Strategy, noise: Noise) -> tuple[PredictivePolicy, list[Followed]]:
    """A policy that asks the twin, and the simulator that the twin is of."""
    robots = [Followed(*simulators(name))]
    return PredictivePolicy(continuing(name, strategy, noise), Twins(robots)), robots


def without_delay(
    robot: Simulator, bound: BatchChunkPolicy, wait: int, steps: int, s: int
) -> tuple[Array, NDArray[np.float64]]:
    """Commands and poses of an episode that holds for some steps and then asks without delay every s steps.

    Written from the definitions, without a plan: the prefix is the last chunk from now on, a step has as many votes as
    chunks that reach it.
    """
    robot.reset(SEED)
    first, generator = robot.observe(), torch.Generator().manual_seed(SEED)
    chunks: list[Chunk] = []
    commands, poses = [], [robot.pose()]
    for step in range(steps):
        if step < wait:
            robot.hold()
            poses.append(robot.pose())
            continue
        if (step - wait) % s == 0:
            prefix = chunks[-1].since(step) if chunks else np.zeros((0, len(robot.spec.action_names)), np.float32)
            votes = [sum(each.covers(j) for each in chunks) for j in range(step, step + len(prefix))]
            start, seen = (step, robot.observe()) if chunks else (0, first)
            told = Continuation(start, prefix, 0, s, np.array(votes, np.int64))
            actions = bound.next_chunks(stacked([seen]), [told], [generator])[0]
            chunks.append(Chunk(actions[: HORIZON - wait] if chunks else actions, step))
        action = robot.spec.clip(chunks[-1].actions[step - chunks[-1].start])
        robot.send(action)
        commands.append(action)
        poses.append(robot.pose())
    return np.array(commands), np.array(poses)


@pytest.mark.parametrize(
    "strategy", [each if each in QUICK else pytest.param(each, marks=pytest.mark.faults) for each in STRATEGIES]
)
@pytest.mark.parametrize("name", TASKS)
def test_a_delay_that_is_predicted_away_is_a_later_request(name: str, strategy: str) -> None:
    """Every strategy at every delay with both noises, each pair of delay and noise in one of the two tasks."""
    for delay in range(1, 13):
        noise = (FreshNoise(), CarriedNoise())[(delay + TASKS.index(name)) % 2]
        s = execution_horizon(delay)
        steps = delay + 3 * s + 1
        bound, robots = foreseen(name, STRATEGIES[strategy], noise)
        record = delayed(name, bound, Fixed(delay), steps, robots)
        commands, poses = without_delay(simulators(name)[1], bound.policy, delay, steps, s)  # type: ignore[arg-type]
        assert np.array_equal(record.commands[delay:], commands), f"delay {delay}, {noise}"
        assert np.array_equal(record.measured, poses), f"delay {delay}, {noise}"
        assert [seam.step for seam in record.seams] == [delay + s, delay + 2 * s, delay + 3 * s]
        assert record.prediction_errors.tolist() == [0, 0, 0]


def test_the_delay_shows_where_nothing_is_predicted() -> None:
    """What the oracle would overlook if the observation did not matter."""
    delay, s = 4, execution_horizon(4)
    steps = delay + 3 * s + 1
    plain = continuing("push-t", Naive(), CarriedNoise())
    record = delayed("push-t", plain, Fixed(delay), steps, simulators("push-t")[:1])
    commands, _ = without_delay(simulators("push-t")[1], plain, delay, steps, s)
    assert np.array_equal(record.commands[delay : delay + s], commands[:s])
    assert not np.allclose(record.commands[delay + s :], commands[s:], atol=1)
    assert record.prediction_errors.size == 0


@pytest.mark.parametrize("strategy", ["ensembling", "rtc-identity", "legato"])
@pytest.mark.parametrize("name", TASKS)
def test_without_a_delay_a_predictor_changes_nothing(name: str, strategy: str) -> None:
    steps = 3 * LEAST + 1
    plain = continuing(name, STRATEGIES[strategy], FreshNoise())
    without = delayed(name, plain, Fixed(0), steps, simulators(name)[:1])
    bound, robots = foreseen(name, STRATEGIES[strategy], FreshNoise())
    predicted = delayed(name, bound, Fixed(0), steps, robots)
    assert np.array_equal(predicted.commands, without.commands)
    assert np.array_equal(predicted.measured, without.measured)
    assert predicted.prediction_errors.size == 0
    commands, _ = without_delay(simulators(name)[1], plain, 0, steps, LEAST)
    assert np.array_equal(without.commands, commands)


class Overheard:
    """A predictive policy, and what it was asked."""

    def __init__(self, policy: PredictivePolicy) -> None:
        self.policy = policy
        self.asked: dict[int, Continuation] = {}

    def next_chunks(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        self.asked[continuations[0].start] = continuations[0]
        return self.policy.next_chunks(observations, continuations, generators)


@pytest.mark.parametrize("model", [Jitter(4, 4), HeavyTail(2, share=0.5, mean_extra=4)])
def test_early_or_late_the_committed_actions_of_a_chunk_are_those_that_are_executed(model: DelayModel) -> None:
    bound, robots = foreseen("push-t", Naive(), CarriedNoise())
    policy, steps = Overheard(bound), 60
    record = delayed("push-t", policy, model, steps, robots)
    assert len(record.commands) == steps
    early, late = 0, 0
    for seam in record.seams:
        committed = policy.asked[seam.start].committed
        early, late = early + (seam.delay < committed), late + (seam.delay > committed)
        new = np.stack([robots[0].spec.clip(action) for action in seam.new[:committed]])
        assert np.array_equal(seam.new[:committed], seam.old[:committed])
        executed = record.commands[seam.start : min(seam.start + committed, steps)]
        assert np.array_equal(executed, new[: len(executed)])
    assert early
    assert late


class Counted(PointMass):
    """Counts its episodes and its steps."""

    def __init__(self) -> None:
        self.resets, self.moves = -1, 0  # it is reset once when it is made
        super().__init__()

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.resets += 1

    def send(self, action: NDArray) -> None:
        super().send(action)
        self.moves += 1


def played(moves: Sequence[Callable[[PointMass], None]], seed: int = 3) -> Array:
    """What is seen after an episode of these moves."""
    robot = PointMass()
    robot.reset(seed)
    for move in moves:
        move(robot)
    return robot.observe()


def sent(x: float, y: float) -> Callable[[PointMass], None]:
    return lambda robot: robot.send(np.array([x, y], np.float32))


def held(robot: PointMass) -> None:
    robot.hold()


def test_a_prediction_that_comes_true_is_gone_on_from() -> None:
    twin = Counted()
    robot = Followed(PointMass(), twin)
    robot.reset(3)
    robot.hold()
    one, other = np.array([[0.5, 0.5], [-0.5, 0.1]], np.float32), np.array([[0.2, -0.9]], np.float32)
    assert np.array_equal(state_of(robot.after(one)), played([held, sent(0.5, 0.5), sent(-0.5, 0.1)]))
    for action in one:
        robot.send(action)
    assert np.array_equal(
        state_of(robot.after(other)), played([held, sent(0.5, 0.5), sent(-0.5, 0.1), sent(0.2, -0.9)])
    )
    assert (twin.resets, twin.moves) == (1, 4)
    assert np.array_equal(state_of(robot.observe()), played([held, sent(0.5, 0.5), sent(-0.5, 0.1)]))


@pytest.mark.parametrize("instead", [sent(0.4, 0.5), held])
def test_a_twin_whose_prediction_has_not_come_true_starts_over(instead: Callable[[PointMass], None]) -> None:
    twin = Counted()
    robot = Followed(PointMass(), twin)
    robot.reset(3)
    robot.after(np.array([[0.5, 0.5]], np.float32))
    instead(robot)  # type: ignore[arg-type]
    action = np.array([[0.2, -0.9]], np.float32)
    assert np.array_equal(state_of(robot.after(action)), played([instead, sent(0.2, -0.9)]))
    assert twin.resets == 2


def test_a_twin_follows_into_the_next_episode() -> None:
    robot = Followed(PointMass(), PointMass())
    action = np.array([[0.5, 0.5]], np.float32)
    for seed in (3, 4):
        robot.reset(seed)
        assert np.array_equal(state_of(robot.after(action)), played([sent(0.5, 0.5)], seed))


def test_twins_answer_for_the_simulator_that_shows_an_observation() -> None:
    robots = [Followed(PointMass(), PointMass()) for _ in range(3)]
    for seed, robot in enumerate(robots):
        robot.reset(seed)
    order, steps = [2, 0], np.array([1, 0])
    seen = np.stack([state_of(robots[i].observe()) for i in order])
    actions = np.full((2, 1, 2), 0.5, np.float32)
    ahead = Twins(robots).ahead(seen, actions, steps)
    assert np.array_equal(ahead[0], played([sent(0.5, 0.5)], 2))
    assert np.array_equal(ahead[1], seen[1])
    with pytest.raises(SpecError, match="no simulator shows"):
        Twins(robots).ahead(seen + 1, actions, steps)
