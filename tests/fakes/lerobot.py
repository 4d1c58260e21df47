"""What the plugin uses of LeRobot 0.6.1, and of 0.6.2 as it stands in development, written down.

The same names, calls and checks, and nothing behind them.

`make test-lerobot` runs the plugin under LeRobot itself; these keep it covered where LeRobot cannot be installed.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor, nn, zeros

PLUGIN = Path(__file__).parents[2] / "plugins" / "lerobot_policy_segue"
VERSION = "0.6.1"


class FeatureType(str, Enum):
    STATE = "STATE"
    ENV = "ENV"
    VISUAL = "VISUAL"
    ACTION = "ACTION"


class NormalizationMode(str, Enum):
    MEAN_STD = "MEAN_STD"
    IDENTITY = "IDENTITY"


@dataclass
class PolicyFeature:
    type: FeatureType
    shape: tuple[int, ...]


class Registry:
    known: ClassVar[dict[str, type]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Registry in cls.__bases__:
            cls.known = {}

    @classmethod
    def register_subclass(cls, name: str) -> Callable[[type], type]:
        def register(subclass: type) -> type:
            assert name not in cls.known, f"{name} is registered twice"
            cls.known[name] = subclass
            return subclass

        return register


@dataclass
class PreTrainedConfig(Registry):
    n_obs_steps: int = 1
    input_features: dict[str, PolicyFeature] | None = field(default_factory=dict)
    output_features: dict[str, PolicyFeature] | None = field(default_factory=dict)
    device: str | None = None
    pretrained_path: Path | None = None

    def __post_init__(self) -> None:
        self.device = self.device or "cpu"

    @property
    def image_features(self) -> dict[str, PolicyFeature]:
        return {key: each for key, each in (self.input_features or {}).items() if each.type is FeatureType.VISUAL}

    @property
    def action_feature(self) -> PolicyFeature | None:
        return (self.output_features or {}).get("action")


class PreTrainedPolicy(nn.Module):
    config_class: Any = None
    name: Any = None

    def __init__(self, config: PreTrainedConfig, *_: Any, **__: Any) -> None:
        super().__init__()
        assert isinstance(config, PreTrainedConfig)
        self.config = config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        assert cls.config_class
        assert cls.name

    def supports_rtc(self) -> bool:
        return False


@dataclass
class RTCConfig:
    enabled: bool = True
    execution_horizon: int = 10


@dataclass
class AdamWConfig:
    lr: float = 1e-3
    weight_decay: float = 1e-2


@dataclass
class CosineAnnealingWithWarmupSchedulerConfig:
    num_warmup_steps: int


@dataclass
class InferenceEngineConfig(Registry):
    pass


class InferenceEngine(ABC):
    """Of 0.6.1."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def reset(self) -> None: ...

    @abstractmethod
    def get_action(self, obs_frame: Any) -> Any: ...

    def notify_observation(self, obs: Any) -> None:  # noqa: B027
        pass

    def pause(self) -> None:  # noqa: B027
        pass

    def resume(self) -> None:  # noqa: B027
        pass

    @property
    def ready(self) -> bool:
        return True

    @property
    def failed(self) -> bool:
        return False


class NewerInferenceEngine(InferenceEngine):
    """Of 0.6.2 in development: a task that changes, and one question at a time to the policy."""

    def __init__(self, task: str = "") -> None:
        self.task, self.dispatched_task, self.changed = task, task, False
        self.pending: str | None = None

    @property
    @abstractmethod
    def control_thread_owns_policy(self) -> bool: ...

    supports_text_queries = False

    def set_task(self, task: str) -> bool:
        self.changed, self.task = task != self.task, task
        return self.changed

    def _take_task(self) -> tuple[str, bool]:
        changed, self.changed = self.changed, False
        return self.task, changed

    def _set_dispatched_task(self, task: str) -> None:
        self.dispatched_task = task

    def _discard_task_change(self) -> None:
        self.changed, self.dispatched_task = False, self.task

    def ask(self, question: str) -> bool:
        free, self.pending = self.pending is None, self.pending or question
        return free

    def drop_pending_query(self) -> str | None:
        dropped, self.pending = self.pending, None
        return dropped

    def pump_query(self, obs_processed: Any = None) -> bool:
        assert not self.control_thread_owns_policy, "would ask the policy in the control thread"
        return False


def create_inference_engine(config: Any, **_: Any) -> Any:
    raise ValueError(f"Unknown inference engine type: {type(config).__name__}")


class ActionQueue:
    """The chunk in execution; the first ``real_delay`` actions of a new one are left out."""

    def __init__(self, cfg: RTCConfig) -> None:
        self.original_queue: Tensor | None = None
        self.last_index = 0

    def get(self) -> Tensor | None:
        if self.original_queue is None or self.last_index >= len(self.original_queue):
            return None
        self.last_index += 1
        return self.original_queue[self.last_index - 1].clone()

    def get_left_over(self) -> Tensor | None:
        return None if self.original_queue is None else self.original_queue[self.last_index :].clone()

    def merge(self, original: Tensor, processed: Tensor, real_delay: int, index: int | None = None) -> None:
        self.original_queue, self.last_index = original[real_delay:].clone(), 0


def cut_or_padded(prev_actions: Tensor, target_steps: int) -> Tensor:
    """What the engine makes of a leftover before the policy sees it."""
    padded = zeros(target_steps, prev_actions.shape[1])
    padded[: len(prev_actions)] = prev_actions[:target_steps]
    return padded


def _modules(version: str) -> dict[str, dict[str, Any]]:
    nothing: dict[str, Any] = {}
    return {
        "lerobot": {"__version__": VERSION},
        "lerobot.configs": {
            "FeatureType": FeatureType,
            "NormalizationMode": NormalizationMode,
            "PreTrainedConfig": PreTrainedConfig,
        },
        "lerobot.optim": {"AdamWConfig": AdamWConfig},
        "lerobot.optim.schedulers": {
            "CosineAnnealingWithWarmupSchedulerConfig": CosineAnnealingWithWarmupSchedulerConfig
        },
        "lerobot.policies": {"get_policy_class": None},
        "lerobot.policies.pretrained": {"PreTrainedPolicy": PreTrainedPolicy},
        "lerobot.policies.rtc": {"reanchor_relative_rtc_prefix": None},
        "lerobot.policies.rtc.configuration_rtc": {"RTCConfig": RTCConfig},
        "lerobot.policies.utils": {"prepare_observation_for_inference": lambda frame, device, task, robot: frame},
        "lerobot.processor": {
            "NormalizerProcessorStep": type("NormalizerProcessorStep", (), {}),
            "RelativeActionsProcessorStep": type("RelativeActionsProcessorStep", (), {"enabled": True}),
            "make_default_pre_post_processors": None,
        },
        "lerobot.rollout": nothing,
        "lerobot.rollout.context": {"create_inference_engine": create_inference_engine},
        "lerobot.rollout.inference": {
            "InferenceEngine": InferenceEngine if version == VERSION else NewerInferenceEngine,
            "InferenceEngineConfig": InferenceEngineConfig,
        },
        "lerobot.rollout.inference.factory": {"create_inference_engine": create_inference_engine},
        "lerobot.rollout.inference.rtc": {"supports_rtc_inference": lambda policy: policy.supports_rtc()},
        "lerobot.utils": nothing,
        "lerobot.utils.feature_utils": {"build_dataset_frame": lambda features, observation, prefix: observation},
    }


@contextmanager
def installed(version: str = VERSION) -> Iterator[None]:
    """The fakes in the place of LeRobot, and the plugin found beside them."""
    before = {name: each for name, each in sys.modules.items() if _ours(name)}
    known = {config: dict(config.known) for config in (PreTrainedConfig, InferenceEngineConfig)}
    for config in known:
        config.known.clear()
    for name in before:
        del sys.modules[name]
    for name, content in _modules(version).items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    vars(sys.modules["lerobot"])["__version__"] = version
    sys.path.insert(0, str(PLUGIN))
    try:
        yield
    finally:
        sys.path.remove(str(PLUGIN))
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        for config, registered in known.items():
            config.known = registered


def _ours(module: str) -> bool:
    return module.split(".")[0] in ("lerobot", "lerobot_policy_segue")
