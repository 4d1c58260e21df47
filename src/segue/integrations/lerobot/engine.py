"""Our runtime as an inference engine of `lerobot-rollout`: what LeRobot asks of one, decided by `segue.plan`.

    control thread   observe, get_action   observe, get_action   observe, get_action
    plan             request k    hold     deliver, tick         tick
    worker           |---- preprocess, policy, postprocess ----|

The plan is touched by the control thread alone. A chunk is joined at the action that the robot has reached, counted in
actions that were really taken, so that no clock, latency estimate or cold start moves it. Without an action to take the
engine answers None, LeRobot sends nothing, and the robot keeps its last target; where an action is declared to be a
velocity or a displacement, the last targets are sent again, and zero for these.

An inference that raises and a chunk that cannot be executed (not finite, of another shape, too late) are failures
alike: each is logged, the next request waits longer after every one, and after ten in a row the rollout is ended.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segue.core.chunk import Array, Continuation, check_whole
from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError, UnknownNameError
from segue.links.thread import ThreadLink
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Plan, Request
from segue.policies.noise import Noise, noise_named
from segue.runtime.inference import Conversation
from segue.trace.records import TickRecord
from segue.trace.sink import Sink, Sinks

MAX_FAILURES = 10
"""Inferences that may fail one after the other before the rollout is ended."""

PREDICTORS = ("none", "commanded")
"""What may stand for the state of the takeover: that of the request, or as the actions in between command it."""

LOOK_BACK = ("diffusion", "multi_task_dit", "vqbet")
"""Policies of LeRobot that make a chunk of observations which only their own `select_action` gathers."""

logger = logging.getLogger(__name__)


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
        dt: Control period [s], in which waits after failures are counted.
        reset_policy: Called in the worker before the first inference of an episode.
        end: Called when the policy has failed for good.
        worker: Where inference runs; a thread of its own by default.
        state: The state in an observation, shape (observation,), for policies that are to know what came of their last
            request (`Continuation.past`); None tells them nothing.
        kinds: What each action dimension is.
        sink: Is told of every step and chunk.
    """

    def __init__(
        self,
        infer: Infer,
        settings: EngineSettings,
        *,
        dt: float,
        reset_policy: Callable[[], None],
        end: Callable[[], None],
        worker: Executor | None = None,
        state: Callable[[Mapping[str, Any]], Array] | None = None,
        kinds: Dimensions = LINEAR,
        sink: Sink | None = None,
    ) -> None:
        self._infer, self._settings, self._dt, self._reset_policy, self._end = infer, settings, dt, reset_policy, end
        self._kinds, self._sink = kinds, sink or Sinks()
        delay = WindowQuantile(settings.initial_delay, settings.delay_window, settings.delay_quantile)
        self._plan = unsized(delay)
        self._link = ThreadLink(self._answer, worker)
        self._conversation = Conversation(self._plan, self._link, self._sink, dt, state or (lambda _: None))
        self._size: tuple[int, int] | None = None
        self._raw: dict[int | None, Tensor] = {}
        self._last: Tensor | None = None
        self._observation: Mapping[str, Any] | None = None
        self._reset_for, self._steps, self._running = self._plan.epoch, 0, False
        self._count = dict.fromkeys(("actions", "holds"), 0)

    @property
    def ready(self) -> bool:
        """Always: what the first inference takes is waited for in the loop, holding."""
        return True

    @property
    def failed(self) -> bool:
        """Whether the policy has failed for good."""
        return self._conversation.failures >= MAX_FAILURES

    def start(self) -> None:
        """Nothing to start: the worker starts with the first inference."""

    def stop(self) -> None:
        """Take no more; an inference under way ends by itself."""
        self._running = False
        self._link.close()
        chunks = self._conversation.said.outcomes[Delivery.TAKEN]
        logger.info(
            "segue: %(actions)d actions from %(chunks)d chunks, %(holds)d steps without one",
            self._count | {"chunks": chunks},
        )

    def pause(self) -> None:
        """Answer no actions until `resume`."""
        self._running = False

    def resume(self) -> None:
        """Go on."""
        self._running = True

    def reset(self) -> None:
        """Start a new episode, of which nothing of the last one is left; chunks under way will be stale."""
        self._conversation.reset()
        self._observation = self._last = None

    def notify_observation(self, obs: Mapping[str, Any]) -> None:
        """The observation of this step."""
        self._observation = obs

    def get_action(self, obs_frame: Mapping[str, Any] | None) -> Tensor | None:
        """The action of this step, shape (action,), robot units; None for none. ``obs_frame`` is not needed.

        Raises:
            SpecError: There are kinds for another number of actions than chunks have.
            TimingError: The settings do not fit chunks of the length that they have.
        """
        if not self._running or self.failed or self._observation is None:
            return None
        self._steps += 1
        now = self._steps * self._dt
        self._fit()
        self._take(now)
        asked = self._conversation.ready(now)
        request = self._conversation.request(self._observation) if asked else None
        if self._plan.action == 0:
            return None
        tick = self._plan.tick()
        self._sink.tick(TickRecord(
            self._steps, tick, self._plan.epoch, now, 0.0, ladder=0, asked=asked, request=request, sent=tick.action,
        ))  # fmt: skip
        self._count["holds" if tick.event is Event.HELD else "actions"] += 1
        if tick.action is not None:
            self._last = torch.from_numpy(tick.action.copy())
            return self._last.clone()
        return self._kinds.held(self._last) if self._last is not None and self._kinds.moves else None

    def _answer(self, request: Request, observation: Mapping[str, Any]) -> Array:
        """In the worker: a chunk of a policy that knows nothing of the last episode."""
        if self._reset_for != request.epoch:  # if that fails, again before it is asked
            self._reset_policy()
            self._reset_for = request.epoch
        known, raw = request.continuation.known, self._raw.get(request.continues)
        leftover = None if raw is None or not known else raw[len(raw) - known :]
        made = self._infer(observation, leftover, request.continuation)
        # Which of the two is continued next is decided when this one is delivered.
        self._raw = {request.number: made.raw} | ({} if raw is None else {request.continues: raw})
        if made.actions.ndim == 2 and made.actions.size:
            self._size = made.actions.shape
        return made.actions

    def _fit(self) -> None:
        """Make the plan one for chunks like the first, before that is delivered."""
        if self._plan.action == 0 and self._size is not None:
            horizon, action = self._size
            self._kinds.check("action", [f"action {i}" for i in range(action)])
            fit(self._plan, horizon, action, self._settings.execution_horizon)

    def _take(self, now: float) -> None:
        """Take what has arrived; the last of too many failures ends the rollout."""
        before = self._conversation.failures
        self._conversation.deliver(now, after_request=False)
        if (failures := self._conversation.failures) > before:
            why = self._conversation.said.last_error
            logger.error("segue: inference failed (%d of %d): %s", failures, MAX_FAILURES, why)
            if self.failed:
                self._end()


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


def unsized(delay: WindowQuantile) -> Plan:
    """A plan for chunks whose size only the first one will say: none has no action dimension, as this one expects."""
    s = max(delay.estimate(), 1)
    return Plan(s + delay.estimate(), 0, s, delay)


def fit(plan: Plan, horizon: int, action: int, execution_horizon: int | None) -> None:
    """Give an `unsized` plan its size, and what was chosen to execute of each chunk; None for half of it.

    Raises:
        TimingError: ``d <= s <= H - d`` is violated.
    """
    plan.resize(horizon, action, max(horizon // 2, 1) if execution_horizon is None else execution_horizon)
