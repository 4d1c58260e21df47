"""Policies of LeRobot that do as a test says, and the plugin's engine around one."""

from types import ModuleType, SimpleNamespace
from typing import Any

from fakes import lerobot as fakes


def policy_of_theirs(kind: str, **configured: Any) -> Any:
    class Config(fakes.PreTrainedConfig):
        type = kind

    class Policy(fakes.PreTrainedPolicy):
        config_class, name = Config, kind

    settings = Config()
    vars(settings).update(configured)
    return Policy(settings)


class Processor:
    """Changes nothing."""

    steps = ()

    def __call__(self, batch: Any) -> Any:
        return batch

    def reset(self) -> None:
        """Nothing to forget."""


HARDWARE = {"observation.state": {"dtype": "float32", "shape": (2,), "names": ["x.pos", "y.pos"]}}


def engine(plugin: ModuleType, policy: Any, **settings: Any) -> Any:
    from lerobot.rollout import context  # pyright: ignore[reportMissingImports]

    return context.create_inference_engine(
        plugin.SegueInferenceConfig(**settings), policy=policy, shutdown_event=None, preprocessor=Processor(),
        postprocessor=Processor(), hw_features=HARDWARE, robot_wrapper=SimpleNamespace(robot_type="arm"), task="t",
        device=None, ordered_action_keys=["y.pos", "x.pos"], fps=50.0,
    )  # fmt: skip
