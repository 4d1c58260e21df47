"""Segue: action-chunking robot policies that continue without a seam.

    policy = segue.load("runs/adroit-door/seed-0/legato").policy()
    robot = segue.ContinuingPolicy(policy, segue.Legato())
    actions = robot.next_chunk(observation, continuation)      # (horizon, action), robot units

The names below are imported when they are first used, so that a control process never loads torch. Each wing has a door
of its own: `segue.robot` (NumPy only), `segue.learn` (torch), `segue.lab` (simulators, comparisons). Deeper modules are
internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.core.chunk import Continuation, nothing_to_continue
    from segue.core.observation import Observation
    from segue.core.spec import PolicySpec
    from segue.errors import DataError, SegueError, SpecError
    from segue.lab.tasks.tasks import task
    from segue.plan.delay import WindowQuantile
    from segue.plan.plan import Handover, Plan
    from segue.policies.chunk_policy import ContinuingPolicy
    from segue.policies.flow import FlowPolicy
    from segue.policies.noise import CarriedNoise, FreshNoise
    from segue.policies.predictors.predictor import PredictivePolicy
    from segue.strategies.blend import TemporalEnsembling
    from segue.strategies.legato import Legato
    from segue.strategies.naive import Naive
    from segue.strategies.rtc import RTC
    from segue.strategies.training_time_rtc import TrainingTimeRTC
    from segue.training.checkpoint import load
    from segue.training.predictor import load_predictor

    __version__: str

__all__ = [
    "RTC",
    "CarriedNoise",
    "Continuation",
    "ContinuingPolicy",
    "DataError",
    "FlowPolicy",
    "FreshNoise",
    "Handover",
    "Legato",
    "Naive",
    "Observation",
    "Plan",
    "PolicySpec",
    "PredictivePolicy",
    "SegueError",
    "SpecError",
    "TemporalEnsembling",
    "TrainingTimeRTC",
    "WindowQuantile",
    "__version__",
    "load",
    "load_predictor",
    "nothing_to_continue",
    "task",
]

_HOME = {
    "RTC": "strategies.rtc",
    "CarriedNoise": "policies.noise",
    "Continuation": "core.chunk",
    "ContinuingPolicy": "policies.chunk_policy",
    "DataError": "errors",
    "FlowPolicy": "policies.flow",
    "FreshNoise": "policies.noise",
    "Handover": "plan.plan",
    "Legato": "strategies.legato",
    "Naive": "strategies.naive",
    "Plan": "plan.plan",
    "Observation": "core.observation",
    "PolicySpec": "core.spec",
    "SegueError": "errors",
    "SpecError": "errors",
    "nothing_to_continue": "core.chunk",
    "PredictivePolicy": "policies.predictors.predictor",
    "TemporalEnsembling": "strategies.blend",
    "TrainingTimeRTC": "strategies.training_time_rtc",
    "WindowQuantile": "plan.delay",
    "load": "training.checkpoint",
    "load_predictor": "training.predictor",
    "task": "lab.tasks.tasks",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("segue")
    elif name in _HOME:
        from segue.errors import said_what_to_install

        with said_what_to_install(f"segue.{name}"):
            value = getattr(import_module(f"segue.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
