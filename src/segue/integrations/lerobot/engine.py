"""Our runtime as an inference engine of `lerobot-rollout`: what LeRobot asks of one, decided by `runtime.plan`.

    control thread   observe, get_action   observe, get_action   observe, get_action
    plan             request k    hold     deliver, tick         tick
    worker           |---- preprocess, policy, postprocess ----|

The plan is touched by the control thread alone. A chunk is joined at the action that the robot has reached, counted in
actions that were really taken, so that no clock, latency estimate or cold start moves it. Without an action to take the
engine answers None, LeRobot sends nothing, and the robot keeps its last target; where an action is declared to be a
velocity or a displacement, the last targets are sent again, and zero for these.

An inference that raises and a chunk that cannot be executed (not finite, of another shape, too late) are failures
alike: each is logged, and after ten in a row the rollout is ended.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segue.core.chunk import Array, Continuation, check_whole, nothing_to_continue
from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError, UnknownNameError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Plan, Request
from segue.policies.noise import Noise, noise_named

MAX_FAILURES = 10
"""Inferences that may fail one after the other before the rollout is ended."""

"""Where chunks may start from, by name; made with a scale."""

PREDICTORS = ("none", "commanded")
"""What may stand for the state of the takeover: that of the request, or as the actions in between command it."""

LOOK_BACK = ("diffusion", "multi_task_dit", "vqbet")
"""Policies of LeRobot that make a chunk of observations which only their own `select_action` gathers."""

logger = logging.getLogger(__name__)

_UNUSABLE = {
    Delivery.REFUSED: "a chunk that is not finite",
    Delivery.EXPIRED: "a chunk so late that the robot is beyond its last action",
}


@dataclass(frozen=True, eq=False)
class Inferred:
    """One chunk.

    Attributes:
        raw: Shape (horizon, action), the policy's output space: what the next leftover is cut from.
        actions: Shape (horizon, action), robot units.
    """

    raw: Tensor
    actions: Array


Infer = Callable[[Mapping[str, Any], Tensor | None, Continuation], Inferred]
"""Observation, leftover in the policy's output space (None for a first chunk), and the same in robot units."""


@dataclass(frozen=True)
class EngineSettings:
    """How chunks are executed.

    Attributes:
        execution_horizon: s, steps from one request to the next, more where inference takes longer; None for half of
            the chunk.
        initial_delay: Steps of delay to plan for before any was observed.
        delay_window: Delays remembered.
        delay_quantile: Of the window that is planned for; 1 is the longest.
        noise: Where chunks start from: ``fresh`` or ``carried`` noise.
        noise_scale: Its standard deviation, 1 as in training.
        noise_share: Of the variance of carried noise that is carried, see `segue.policies.noise`; None for all of it.
        predictor: Key of `PREDICTORS`.

    Raises:
        UnknownNameError: There is no such noise or predictor.
        SpecError: A scale below 0, a share that is none, or steps, a window or a quantile that are none.
    """

    execution_horizon: int | None = None
    initial_delay: int = 1
    delay_window: int = 10
    delay_quantile: float = 1.0
    noise: str = "fresh"
    noise_scale: float = 1.0
    noise_share: float | None = None
    predictor: str = "none"

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise UnknownNameError("predictor", self.predictor, PREDICTORS)
        noise_named(self.noise, self.noise_scale, self.noise_share)
        WindowQuantile(self.initial_delay, self.delay_window, self.delay_quantile)
        if self.execution_horizon is not None:
            check_whole("execution horizon", self.execution_horizon)

    @property
    def given_noise(self) -> Noise | None:
        """What chunks start from; None where that is left to the policy, fresh noise as in training."""
        as_trained = self.noise == "fresh" and self.noise_scale == 1
        return None if as_trained else noise_named(self.noise, self.noise_scale, self.noise_share)


class PlanEngine:
    """An inference engine around a plan; its methods are those of LeRobot's `InferenceEngine`.

    The first chunk says how long chunks are, so that any policy of chunks will do.

    Args:
        infer: From an observation to a chunk; called in the worker.
        settings: How chunks are executed.
        reset_policy: Called in the worker at the start of an episode.
        end: Called when the policy has failed for good.
        worker: Where inference runs; a thread of its own by default.
        state: The state in an observation, shape (observation,), for policies that are to know what came of their last
            request (`Continuation.past`); None tells them nothing.
        kinds: What each action dimension is.
    """

    def __init__(
        self,
        infer: Infer,
        settings: EngineSettings,
        *,
        reset_policy: Callable[[], None],
        end: Callable[[], None],
        worker: Executor | None = None,
        state: Callable[[Mapping[str, Any]], Array] | None = None,
        kinds: Dimensions = LINEAR,
    ) -> None:
        self._state, self._kinds = state, kinds
        self._last: Tensor | None = None
        self._infer, self._settings, self._reset_policy, self._end = infer, settings, reset_policy, end
        self._worker = ThreadPoolExecutor(1, "segue-inference") if worker is None else worker
        self._plan: Plan | None = None
        self._first: Future[Inferred] | None = None
        self._flight: tuple[Request, Future[Inferred]] | None = None
        self._raw: Tensor | None = None
        self._observation: Mapping[str, Any] | None = None
        self._failures, self._running = 0, False
        self._episode, self._reset_for = 0, 0
        self._count = dict.fromkeys(("actions", "chunks", "holds"), 0)

    @property
    def ready(self) -> bool:
        """Always: what the first inference takes is waited for in the loop, holding."""
        return True

    @property
    def failed(self) -> bool:
        """Whether the policy has failed for good."""
        return self._failures >= MAX_FAILURES

    def start(self) -> None:
        """Nothing to start: the worker starts with the first inference."""

    def stop(self) -> None:
        """Take no more; an inference under way ends by itself."""
        self._running = False
        self._worker.shutdown(wait=False, cancel_futures=True)
        logger.info("segue: %(actions)d actions from %(chunks)d chunks, %(holds)d steps without one", self._count)

    def pause(self) -> None:
        """Answer no actions until `resume`."""
        self._running = False

    def resume(self) -> None:
        """Go on."""
        self._running = True

    def reset(self) -> None:
        """Start a new episode, of which nothing of the last one is left; chunks under way will be stale."""
        if self._plan is not None:
            self._plan.reset()
        self._first = self._flight = self._raw = self._observation = self._last = None
        self._failures = 0
        self._episode += 1
        self._worker.submit(self._begin, self._episode)

    def notify_observation(self, obs: Mapping[str, Any]) -> None:
        """The observation of this step."""
        self._observation = obs

    def get_action(self, obs_frame: Mapping[str, Any] | None) -> Tensor | None:
        """The action of this step, shape (action,), robot units; None for none. ``obs_frame`` is not needed.

        Raises:
            SpecError: There are kinds for another number of actions than chunks have.
        """
        if not self._running or self.failed or self._observation is None:
            return None
        self._take()
        if self._plan is None:
            self._ask_first(self._observation)
            return None
        state = self._state(self._observation) if self._state is not None and self._plan.due else None
        if request := self._plan.request(state):
            self._flight = request, self._submit(self._observation, self._leftover(request), request.continuation)
        tick = self._plan.tick()
        self._count["holds" if tick.event is Event.HELD else "actions"] += 1
        if tick.action is not None:
            self._last = torch.from_numpy(tick.action.copy())
            return self._last.clone()
        return self._kinds.held(self._last) if self._last is not None and self._kinds.moves else None

    def _submit(self, observation: Mapping[str, Any], leftover: Tensor | None, known: Continuation) -> Future[Inferred]:
        return self._worker.submit(self._inferred, self._episode, observation, leftover, known)

    def _inferred(self, episode: int, *asked: Any) -> Inferred:
        """In the worker: a chunk of a policy that knows nothing of the last episode."""
        self._begin(episode)
        return self._infer(*asked)

    def _begin(self, episode: int) -> None:
        """In the worker: reset the policy once per episode; if that fails, again before it is asked."""
        if self._reset_for != episode:
            self._reset_policy()
            self._reset_for = episode

    def _leftover(self, request: Request) -> Tensor | None:
        """What is left of the chunk in the policy's output space: as much as in robot units."""
        known = request.continuation.known
        return None if self._raw is None or not known else self._raw[len(self._raw) - known :]

    def _ask_first(self, observation: Mapping[str, Any]) -> None:
        """Ask for the chunk that says how long chunks are."""
        if self._first is None:
            nothing = nothing_to_continue(0, 0, 1)
            self._first = self._submit(observation, None, nothing)

    def _take(self) -> None:
        """Take what has arrived."""
        if self._first is not None and self._first.done():
            first, self._first = self._first, None
            inferred = self._outcome(first)
            if inferred is not None and (inferred.actions.ndim != 2 or not inferred.actions.size):
                self._fail(f"a chunk of shape {inferred.actions.shape}")
            elif inferred is not None:
                self._plan = self._planned_for(inferred)
                request = self._plan.request()
                assert request is not None, "a new plan asks at once"
                self._deliver(request, inferred)
        if self._flight is not None and self._flight[1].done():
            (request, flight), self._flight = self._flight, None
            inferred = self._outcome(flight)
            assert self._plan is not None, "only a plan makes requests"
            if inferred is None:
                self._plan.abandon(request)
            else:
                self._deliver(request, inferred)

    def _deliver(self, request: Request, inferred: Inferred) -> None:
        assert self._plan is not None, "only a plan makes requests"
        try:
            delivery = self._plan.deliver(request, inferred.actions)
        except SpecError as error:
            self._plan.abandon(request)
            return self._fail(error.got)
        if delivery is Delivery.TAKEN:
            self._raw, self._failures = inferred.raw, 0
            self._count["chunks"] += 1
        elif delivery is not Delivery.STALE:
            self._fail(_UNUSABLE[delivery])
        return None

    def _outcome(self, done: Future[Inferred]) -> Inferred | None:
        """The chunk, or None for an inference that failed."""
        error = done.exception()
        if error is None:
            return done.result()
        return self._fail("it raised", error)

    def _fail(self, why: str, error: BaseException | None = None) -> None:
        """An inference of which nothing can be used; the last of too many ends the rollout."""
        self._failures += 1
        logger.error("segue: inference failed (%d of %d): %s", self._failures, MAX_FAILURES, why, exc_info=error)
        if self.failed:
            self._end()

    def _planned_for(self, first: Inferred) -> Plan:
        """A plan for chunks like the first.

        Raises:
            TimingError: The settings do not fit chunks of this length.
        """
        horizon, action = first.actions.shape
        self._kinds.check("action", [f"action {i}" for i in range(action)])
        settings = self._settings
        delay = WindowQuantile(settings.initial_delay, settings.delay_window, settings.delay_quantile)
        return plan_for(horizon, action, settings.execution_horizon, delay)


def check_sees_now(kind: str, observations: int) -> None:
    """Raise `SpecError` for a policy of LeRobot that cannot be asked for a chunk with the observation of now alone.

    Args:
        kind: Type of the policy, as LeRobot names it.
        observations: How many it sees, ``n_obs_steps``.
    """
    if kind in LOOK_BACK or observations != 1:
        raise SpecError(
            got=f"a {kind} policy, which is shown its last observations (n_obs_steps {observations})",
            expected="a policy that makes a chunk of the observation of now: ACT, SmolVLA, pi0, pi0.5, one of Segue's",
            change="run it as LeRobot does (--inference.type=sync; lerobot-eval on the policy itself)",
        )


def kinds_of(said: Mapping[str, str], names: Sequence[str]) -> Dimensions:
    """The kinds of actions that are declared by name, all others linear.

    Raises:
        SpecError: No action has that name, or there is no such kind.
    """
    if unknown := sorted(said.keys() - set(names)):
        raise SpecError(
            got=f"the kind of {unknown[0]!r}", expected=f"one of {', '.join(names)}", change="correct the name"
        )
    return Dimensions.of(*(said.get(name, "linear") for name in names))


def plan_for(horizon: int, action: int, execution_horizon: int | None, delay: WindowQuantile) -> Plan:
    """A plan for chunks of a length that is known only now.

    Args:
        horizon: H.
        action: Action dimensions.
        execution_horizon: s [steps]; None for half of the chunk.
        delay: Estimator of the inference delay.

    Raises:
        TimingError: ``d <= s <= H - d`` is violated.
    """
    return Plan(horizon, action, max(horizon // 2, 1) if execution_horizon is None else execution_horizon, delay)
