"""Virtual-time rollouts: many simulators in lockstep, one batched policy call per step, delays from a model.

The decisions are those of `segue.plan.plan.Plan`, the same object that the wall clock drives: what is measured here
is what runs there. Inference takes no virtual time by itself; its chunk is handed over as many steps later as the delay
model says; what a policy finishes earlier (`UnfoldingBatch`), after that share of the steps.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import torch

from segue.core.chunk import Array, Chunk, Predicting
from segue.core.correction import Correction, corrected
from segue.core.metrics import EpisodeRecord, prediction_error
from segue.core.observation import stacked, state_of
from segue.core.robot import RobotSpec, Simulator
from segue.core.seams import Seam
from segue.core.smoothness import Real
from segue.data.episodes import Episodes
from segue.errors import SpecError
from segue.lab.delays import DelayModel
from segue.lab.scales import action_scale, cruise_speed, observation_scale
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request, Tick, not_finite
from segue.plan.trigger import FIXED_HORIZON, Trigger
from segue.policies.chunk_policy import BatchChunkPolicy, UnfoldingBatch
from segue.policies.predictors.predictor import Foreseeing


@dataclass(frozen=True, eq=False)
class Scales:
    """What the demonstrations say about a task's units.

    Attributes:
        action: Shape (action,): standard deviation of the demonstrated actions, robot units.
        cruise_speed: Median measured speed of the demonstrations [pose unit / s].
        observation: Shape (observation,): standard deviation of the demonstrated observations, robot units; None where
            that is not known, and predictions are not compared with what is seen.
    """

    action: Real
    cruise_speed: float
    observation: Real | None = None

    @classmethod
    def of(cls, episodes: Episodes, spec: RobotSpec) -> "Scales":
        """Units of a task from its demonstrations."""
        return cls(action_scale(episodes), cruise_speed(episodes, spec), observation_scale(episodes))


@dataclass(frozen=True)
class Timing:
    """How chunks are timed in an evaluation.

    Attributes:
        horizon: H.
        execution_horizon: s.
        delay: Model of the inference delay.
        handover: How chunks take over.
        max_steps: After so many steps an episode has failed.
        trigger: When the next chunk is asked for.
    """

    horizon: int
    execution_horizon: int
    delay: DelayModel
    handover: Handover
    max_steps: int
    trigger: Trigger = FIXED_HORIZON

    def plan(self, action: int) -> Plan:
        """A fresh plan for one robot."""
        delay = WindowQuantile(self.delay.typical)
        return Plan(self.horizon, action, self.execution_horizon, delay, self.handover, self.trigger)


@dataclass
class _Episode:
    """One robot on its way."""

    seed: int
    simulator: Simulator
    plan: Plan
    delays: np.random.Generator
    noise: torch.Generator
    correction: Correction | None = None
    under_way: tuple[int, Request, Array] | None = None
    parts: list[tuple[int, int]] = field(default_factory=list)
    commands: list[Array] = field(default_factory=list)
    measured: list[Real] = field(default_factory=list)
    seams: list[Seam] = field(default_factory=list)
    executing: Chunk | None = None
    reached: int = 0
    completion_step: int | None = None
    calls: int = 0
    seconds: float = 0.0
    foreseen: dict[int, Array] = field(default_factory=dict)
    prediction_errors: list[float] = field(default_factory=list)
    surprises: list[float] = field(default_factory=list)

    def look_back(self, scale: Real | None) -> None:
        """Compare what was predicted for this step with what is seen in it."""
        predicted = self.foreseen.pop(self.plan.step, None)
        if predicted is not None and scale is not None:
            seen = state_of(self.simulator.observe())
            self.prediction_errors.append(
                prediction_error(predicted, seen, scale, self.simulator.spec.observation_kinds)
            )

    def deliver_if_due(self) -> None:
        """Hand over the chunk that arrives in this step, or what is finished of it."""
        while self.under_way is not None and self.parts and self.parts[0][0] <= self.plan.step < self.under_way[0]:
            self.plan.deliver_part(self.under_way[1], self.under_way[2][: self.parts.pop(0)[1]])
        if self.under_way is not None and self.under_way[0] <= self.plan.step:
            _, request, actions = self.under_way
            self.under_way = None
            # One that has expired is the delay's doing, and what that costs is what is measured.
            if self.plan.deliver(request, actions) is Delivery.REFUSED:
                raise not_finite(actions, request)

    def act(self) -> bool:
        """One control step; whether the episode goes on."""
        tick = self.plan.tick()
        self._note_seam(tick)
        if tick.action is None:
            self.simulator.hold()
            self.commands.append(self._held())
        else:
            action = tick.action
            if self.correction is not None and tick.index is not None:
                action = corrected(self.correction, self.simulator.observe(), action, tick.index)
            sent = self.simulator.spec.clip(action)
            self.simulator.send(sent)
            self.plan.sent(sent)
            self.commands.append(sent)
        self.measured.append(self.simulator.pose())
        outcome = self.simulator.outcome()
        if outcome.success and self.completion_step is None:
            self.completion_step = self.plan.step
        return not outcome.finished

    def _note_seam(self, tick: Tick) -> None:
        """Keep track of the executing chunk and the position reached in it, counted in executed actions.

        Both plans are lined up where the robot is, so that a hold shifts neither against the other.
        """
        if tick.index is None:
            return
        now, before = self.plan.chunk, self.executing
        assert now is not None
        if tick.event is Event.SWITCHED and before is not None:
            old, new = before.actions[max(self.reached - tick.index, 0) :], now.actions
            if self.under_way is not None and self.under_way[1].number == tick.chunk:  # of which this is a part
                new = self.under_way[2]
            self.seams.append(Seam(tick.step, now.start, old, new))
        self.executing, self.reached = now, tick.index + 1

    def _held(self) -> Array:
        """What a hold commands: see `segue.core.robot.Robot.hold`. NaN for what keeps one before there was one."""
        spec = self.simulator.spec
        return spec.held(self.commands[-1] if self.commands else np.full(len(spec.action_names), np.nan, np.float32))

    def executed(self) -> Array:
        """All commands; what kept its command before the first one has that first one."""
        commands = np.array(self.commands)
        known = np.isfinite(commands).all(axis=1, keepdims=True)
        first = commands[known.argmax()] if known.any() else np.zeros(commands.shape[1], np.float32)
        return np.where(known, commands, self.simulator.spec.held(first))


def rollout(
    policy: BatchChunkPolicy,
    simulators: Sequence[Simulator],
    seeds: Sequence[int],
    timing: Timing,
    scales: Scales,
    correction: Correction | None = None,
) -> list[EpisodeRecord]:
    """One episode per seed, all in lockstep.

    Everything random of an episode (initial state, delays, noise of the policy) depends on its seed only: other
    methods on the same seed meet the same conditions.

    Args:
        policy: Serves all robots in one call.
        simulators: At least one per seed; they are reset.
        seeds: One per episode.
        timing: How chunks are timed.
        scales: Units of the task.
        correction: Changes each action when it is due, before the robot's limits; None: none.

    Raises:
        SpecError: Fewer simulators than seeds, or a chunk that cannot be executed: of another shape, or not finite.
            Unlike a robot, an evaluation has nothing to learn from going on.
    """
    if len(simulators) < len(seeds):
        raise SpecError(
            got=f"{len(simulators)} simulators for {len(seeds)} seeds",
            expected="a simulator of its own for every episode",
            change="make more simulators, or roll out fewer seeds at once",
        )
    pairs = zip(simulators, seeds, strict=False)
    episodes = [_start(simulator, seed, timing, correction) for simulator, seed in pairs]
    running = list(episodes)
    for _ in range(timing.max_steps):
        for episode in running:
            episode.deliver_if_due()
            episode.look_back(scales.observation)
        _infer(policy, running, timing)
        for episode in running:
            episode.deliver_if_due()  # without delay, the chunk that was asked for in this step
        running = [episode for episode in running if episode.act()]
        if not running:
            break
    return [_record(episode, timing, scales) for episode in episodes]


def _start(simulator: Simulator, seed: int, timing: Timing, correction: Correction | None) -> _Episode:
    simulator.reset(seed)
    episode = _Episode(
        seed=seed,
        simulator=simulator,
        plan=timing.plan(len(simulator.spec.action_names)),
        delays=np.random.default_rng([seed, 1]),
        noise=torch.Generator().manual_seed(seed),
        correction=correction,
    )
    episode.measured.append(simulator.pose())
    return episode


def _infer(policy: BatchChunkPolicy, running: Sequence[_Episode], timing: Timing) -> None:
    """Answer all requests of this step in one call."""
    asking = [
        (episode, request, observed)
        for episode, observed in [(each, each.simulator.observe()) for each in running if each.plan.due]
        if (request := episode.plan.request(state_of(observed))) is not None
    ]
    if not asking:
        return
    started = time.perf_counter()
    asked = (
        stacked([observed for _, _, observed in asking]),
        [request.continuation for _, request, _ in asking],
        [episode.noise for episode, _, _ in asking],
    )
    parts = []
    if isinstance(policy, UnfoldingBatch):
        *parts, (_, _, chunks) = policy.next_parts(*asked)
    else:
        chunks = policy.next_chunks(*asked)
    seconds = (time.perf_counter() - started) / len(asking)
    for robot, ((episode, request, _), actions) in enumerate(zip(asking, chunks, strict=True)):
        delay = timing.delay.draw(episode.delays)
        episode.under_way = (request.step + delay, request, actions)
        # What is finished in a solver step comes when that share of the inference's time has passed
        episode.parts = [(request.step + ceil(share * delay - 1e-9), int(counts[robot])) for share, counts, _ in parts]
        episode.calls += 1
        episode.seconds += seconds
    _note_predictions(policy, [(episode, request) for episode, request, _ in asking])


def _note_predictions(policy: BatchChunkPolicy, asked: Sequence[tuple[_Episode, Request]]) -> None:
    """Keep what the policy says about its last call: the states that chunks were made for, and how surprised it was."""
    if isinstance(policy, Predicting):
        for (episode, _), surprise in zip(asked, policy.surprises, strict=True):
            episode.surprises.append(float(surprise))
    if isinstance(policy, Foreseeing):
        for (episode, request), state in zip(asked, policy.predictions, strict=True):
            if state.size and not np.isnan(state).any():
                episode.foreseen[request.step + request.continuation.committed] = state


def _record(episode: _Episode, timing: Timing, scales: Scales) -> EpisodeRecord:
    return EpisodeRecord(
        spec=episode.simulator.spec,
        scale=scales.action,
        commands=episode.executed(),
        measured=np.array(episode.measured),
        seams=tuple(episode.seams),
        outcome=episode.simulator.outcome(),
        completion_step=episode.completion_step,
        cruise_speed=scales.cruise_speed,
        max_steps=timing.max_steps,
        inference_calls=episode.calls,
        inference_seconds=episode.seconds,
        prediction_errors=np.array(episode.prediction_errors, np.float64),
        surprises=np.array(episode.surprises, np.float64),
    )
