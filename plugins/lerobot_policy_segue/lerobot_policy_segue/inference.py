"""`--inference.type=segue`: Segue's plan in the place of LeRobot's queue, for every policy of chunks.

LeRobot has no registry of engines yet: making one is a function that knows its own two. It is replaced by one that
knows ours too, in the versions in which its callers are known.
"""

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from lerobot import __version__
from lerobot.policies.rtc import reanchor_relative_rtc_prefix
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.utils import prepare_observation_for_inference
from lerobot.processor import NormalizerProcessorStep, RelativeActionsProcessorStep
from lerobot.rollout import context
from lerobot.rollout.inference import InferenceEngine, InferenceEngineConfig, factory
from lerobot.rollout.inference.rtc import supports_rtc_inference
from lerobot.utils.feature_utils import build_dataset_frame
from torch import Tensor
from typing_extensions import override

from segue.core.chunk import Continuation
from segue.errors import SpecError
from segue.integrations.lerobot.ahead import AheadInference, state_in
from segue.integrations.lerobot.commanded import commanded_state
from segue.integrations.lerobot.engine import EngineSettings, Inferred, PlanEngine, check_sees_now, kinds_of
from segue.integrations.lerobot.noise import NoiseFor, noise_shape
from segue.integrations.lerobot.policies.units import STATE
from segue.integrations.lerobot.recorded import EngineTrace
from segue.integrations.lerobot.versions import TESTED, check_version
from segue.trace.sink import Sink, Sinks


@InferenceEngineConfig.register_subclass("segue")
@dataclass
class SegueInferenceConfig(InferenceEngineConfig):
    """Chunks are joined at the action that the robot has reached.

    Attributes:
        execution_horizon: s, steps from one request to the next; None for half of the chunk.
        initial_delay: Steps of delay to plan for before any was observed.
        delay_window: Delays remembered.
        delay_quantile: Of the window that is planned for; 1 is the longest.
        noise: Where chunks start from: ``fresh``, or ``carried`` from chunk to chunk.
        noise_scale: Standard deviation of that noise, 1 as in training.
        noise_share: How much of carried noise is carried, from 0 to 1; None for all of it.
        predictor: What the policy is shown: ``none``, the state of the request, or ``commanded``, that of the takeover
            as the actions in between command it.
        targets: For the latter, names of numbers of the state by those of the actions that are targets for them; left
            out with ``displacements``: those of equal names.
        displacements: The same, of actions that are added to the number in every step.
        kinds: What actions are, by their names, such as ``{"x.vel": "velocity"}``: a hold sends zero for velocities and
            displacements, and the last target for all else. What is not named is linear.
        trace: Folder for a record of every step and chunk, for `segue report` and `segue replay`; None for none.
        rtc: Settings of LeRobot's guidance, for policies that have it.
    """

    execution_horizon: int | None = None
    initial_delay: int = 1
    delay_window: int = 10
    delay_quantile: float = 1.0
    noise: str = "fresh"
    noise_scale: float = 1.0
    noise_share: float | None = None
    predictor: str = "none"
    targets: dict[str, str] = field(default_factory=dict)
    displacements: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    trace: str | None = None
    rtc: RTCConfig = field(default_factory=RTCConfig)

    def __post_init__(self) -> None:
        check_version(__version__, "--inference.type=segue")
        if self.settings.predictor == "none" and (self.targets or self.displacements):
            raise SpecError(
                got="--inference.targets or --inference.displacements without a predictor",
                expected="the predictor that they are for",
                change="add --inference.predictor=commanded, or leave them out",
            )

    @property
    def settings(self) -> EngineSettings:
        """How chunks are executed."""
        return EngineSettings(
            self.execution_horizon, self.initial_delay, self.delay_window, self.delay_quantile, self.noise,
            self.noise_scale, self.noise_share, self.predictor,
        )  # fmt: skip


class SegueEngine(InferenceEngine):
    """Our engine as one of LeRobot's: what its base class knows and ours does not is the base class's.

    From 0.6.2 on that is the task, which may change while the robot moves, and questions to the policy, of which ours
    answers none.

    Args:
        plan: Ours.
        pipeline: Asked by it.
        sink: Closed at the end.
    """

    def __init__(self, plan: PlanEngine, pipeline: "Pipeline", sink: Sink) -> None:
        self._newer = "task" in signature(InferenceEngine.__init__).parameters
        super().__init__(**({"task": pipeline.task} if self._newer else {}))
        self.plan, self._pipeline, self._sink = plan, pipeline, sink
        if self._newer:
            pipeline.newest_task = lambda: self._take_task()[0]

    @property
    def control_thread_owns_policy(self) -> bool:
        """Whether it does: no, our worker does. Nothing calls this under 0.6.1."""
        return False

    @property
    @override
    def ready(self) -> bool:
        return self.plan.ready

    @property
    @override
    def failed(self) -> bool:
        return self.plan.failed

    @override
    def start(self) -> None:
        self.plan.start()

    @override
    def stop(self) -> None:
        self.plan.stop()
        self._sink.close()

    @override
    def pause(self) -> None:
        self.plan.pause()

    @override
    def resume(self) -> None:
        self.plan.resume()

    @override
    def reset(self) -> None:
        self.plan.reset()
        if self._newer:
            self._discard_task_change()

    @override
    def notify_observation(self, obs: dict) -> None:
        self.plan.notify_observation(obs)

    @override
    def get_action(self, obs_frame: dict | None) -> Tensor | None:
        action = self.plan.get_action(obs_frame)
        if self._newer and action is not None:
            self._set_dispatched_task(self._pipeline.task)  # of the newest chunk that was asked for
        return action


class Pipeline:
    """From an observation of the robot to a chunk, through LeRobot's processors.

    Args:
        policy: Of LeRobot.
        preprocessor: Before it.
        postprocessor: After it.
        hw_features: Of the robot.
        robot_type: Its name.
        task: In words.
        device: Of the policy.
        noise: What chunks start from; None leaves it to the policy.
    """

    def __init__(
        self, policy: Any, preprocessor: Any, postprocessor: Any, hw_features: dict, robot_type: str, task: str,
        device: str | None, noise: NoiseFor | None = None,
    ) -> None:  # fmt: skip
        self.noise = noise
        self.policy, self.preprocessor, self.postprocessor = policy, preprocessor, postprocessor
        self.hw_features, self.robot_type, self.task = hw_features, robot_type, task
        self.newest_task: Callable[[], str] = lambda: self.task
        self.device = torch.device(device or "cpu")
        self.continues = supports_rtc_inference(policy)
        steps = preprocessor.steps
        self._relative = next((s for s in steps if isinstance(s, RelativeActionsProcessorStep) and s.enabled), None)
        self._normalizer = next((s for s in steps if isinstance(s, NormalizerProcessorStep)), None)

    def reset(self) -> None:
        """Start a new episode."""
        for each in (self.policy, self.preprocessor, self.postprocessor):
            each.reset()

    @torch.no_grad()
    def infer(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        """A chunk for an observation, see `segue.integrations.lerobot.engine`."""
        self.task = self.newest_task()
        frame = build_dataset_frame(self.hw_features, dict(observation), prefix="observation")
        batch = prepare_observation_for_inference(frame, self.device, self.task, self.robot_type)
        batch["task"] = [self.task]
        batch = self.preprocessor(batch)
        known: dict[str, Any] = {}
        if self.continues:
            known = {
                "inference_delay": continuation.delay,
                "prev_chunk_left_over": self._anchored(leftover, continuation),
            }
        if self.noise is not None:
            known["noise"] = self.noise.draw(continuation, self.device)
        chunk = self.policy.predict_action_chunk(batch, **known)
        raw = chunk.squeeze(0).clone()
        return Inferred(raw, self.postprocessor(chunk).squeeze(0).float().cpu().numpy())

    def _anchored(self, leftover: Tensor | None, continuation: Continuation) -> Tensor | None:
        """The leftover relative to the state of now, where actions are relative to it."""
        if leftover is None or self._relative is None:
            return leftover
        return reanchor_relative_rtc_prefix(
            prev_actions_absolute=torch.from_numpy(continuation.prefix),
            current_state=self._relative.get_cached_state(),
            relative_step=self._relative,
            normalizer_step=self._normalizer,
            policy_device=self.device,
        )


_lerobot_s_own = factory.create_inference_engine


def create_inference_engine(config: InferenceEngineConfig, **parts: Any) -> InferenceEngine:
    """LeRobot's function, and one engine more. Arguments are LeRobot's.

    Raises:
        SpecError: The policy looks back at more than the observation of now, or takes no noise of ours, or nothing says
            which action commands which number of the state.
    """
    if not isinstance(config, SegueInferenceConfig):
        return _lerobot_s_own(config, **parts)
    policy, shutdown, settings = parts["policy"], parts["shutdown_event"], config.settings
    check_sees_now(policy.name, policy.config.n_obs_steps)
    noise = settings.given_noise
    pipeline = Pipeline(
        policy, parts["preprocessor"], parts["postprocessor"], parts["hw_features"],
        parts["robot_wrapper"].robot_type, parts["task"], parts["device"],
        None if noise is None else NoiseFor(noise, noise_shape(policy)),
    )  # fmt: skip
    if pipeline.continues:
        policy.config.rtc_config = config.rtc
        if hasattr(policy, "init_rtc_processor"):
            policy.init_rtc_processor()
    infer, state = pipeline.infer, None
    if settings.predictor == "commanded":
        names = parts["hw_features"].get(STATE, {}).get("names", [])
        commanded = commanded_state(
            names, parts["ordered_action_keys"], targets=config.targets or None,
            displacements=config.displacements or None,
        )  # fmt: skip
        infer, state = AheadInference(infer, commanded, names), partial(state_in, names=names)
    actions = parts["ordered_action_keys"]
    kinds = kinds_of(config.kinds, actions)
    sink = Sinks() if config.trace is None else EngineTrace(
        path=Path(config.trace), robot=parts["robot_wrapper"].robot_type, rate=parts["fps"], settings=settings,
        names=actions, kinds=kinds,
    )  # fmt: skip
    plan = PlanEngine(
        infer,
        settings,
        dt=1 / parts["fps"],
        reset_policy=pipeline.reset,
        end=(lambda: None) if shutdown is None else shutdown.set,
        state=state,
        kinds=kinds,
        sink=sink,
    )
    return SegueEngine(plan, pipeline, sink)


if __version__ in TESTED:
    factory.create_inference_engine = context.create_inference_engine = create_inference_engine
