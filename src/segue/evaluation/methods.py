"""The methods that are compared, by name: a strategy, how its chunks take over, and which training it needs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from segue.errors import SpecError, UnknownNameError
from segue.policies.diffusion import Denoising
from segue.policies.regression import Regression
from segue.runtime.plan import Handover
from segue.strategies.blend import CrossFade, TemporalEnsembling, WeightedBlend
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato, LegatoObjective
from segue.strategies.literal_legato import LiteralLegato, LiteralLegatoObjective
from segue.strategies.naive import FlowMatching, Naive
from segue.strategies.objective import Objective
from segue.strategies.rtc import RTC, identity, vjp
from segue.strategies.training_time_rtc import TrainingTimeRTC, TrainingTimeRTCObjective

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "plain": FlowMatching,
    "training-time-rtc": TrainingTimeRTCObjective,
    "legato": LegatoObjective,
    "literal-legato": LiteralLegatoObjective,
    "diffusion": Denoising,
    "regression": Regression,
}
"""How a policy can be trained, by name."""


def objective(name: str) -> Objective:
    """Training objective by name, with its defaults."""
    if name not in OBJECTIVES:
        raise UnknownNameError("objective", name, OBJECTIVES)
    return OBJECTIVES[name]()


@dataclass(frozen=True)
class Method:
    """One row of a comparison.

    Attributes:
        name: Key in results.
        label: For people.
        policy: Objective that its policy is trained with.
        strategy: How chunks are continued.
        handover: How chunks take over.
        citation: Paper.
        default: Whether it is the one that Segue recommends.
    """

    name: str
    label: str
    policy: str
    strategy: Strategy
    citation: str
    handover: Handover = Handover.CONTINUE
    default: bool = field(default=False)

    def description(self) -> dict[str, Any]:
        """As written to results."""
        settings = {
            key: getattr(value, "__name__", value)
            for key, value in asdict(self.strategy).items()  # type: ignore[call-overload]
        }
        return {
            "name": self.name,
            "label": self.label,
            "policy": self.policy,
            "settings": {**settings, "handover": self.handover.value},
            "citation": self.citation,
            "default": self.default,
        }


_ALL = (
    Method("sync", "Synchronous", "plain", Naive(), "", Handover.WAIT),
    Method("naive", "Naive async", "plain", Naive(), ""),
    Method("naive-restart", "Naive async, nothing skipped", "plain", Naive(), "", Handover.RESTART),
    Method("ensembling", "Temporal ensembling", "plain", TemporalEnsembling(), "arXiv 2304.13705"),
    Method("blend", "Weighted blend 0.3/0.7", "plain", WeightedBlend(), "arXiv 2506.01844"),
    Method("cross-fade", "Linear cross-fade", "plain", CrossFade(), ""),
    Method("rtc", "RTC", "plain", RTC(vjp), "arXiv 2506.07339"),
    Method("rtc-identity", "RTC, identity Jacobian", "plain", RTC(identity), "arXiv 2506.07339; LeRobot"),
    Method("training-time-rtc", "Training-time RTC", "training-time-rtc", TrainingTimeRTC(), "arXiv 2512.05964"),
    Method("literal-legato", "Legato as published", "literal-legato", LiteralLegato(5), "arXiv 2602.12978"),
    Method("legato", "Legato", "legato", Legato(), "arXiv 2602.12978", default=True),
    Method("legato-free", "Legato's policy, w = 0", "legato", Naive(), "arXiv 2602.12978"),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}
"""All methods by name, in the order of reports."""


def method(name: str) -> Method:
    """Method by name, with settings of its strategy behind colons where they are to differ: ``legato:gain=1:fade=0``.

    ``policy`` takes a policy that was trained with another objective, so that strategies meet other families:
    ``ensembling:policy=diffusion``.

    Raises:
        UnknownNameError: There is no such method or setting; the message lists what exists.
        SpecError: A setting has a value of another type.
    """
    base, *settings = name.split(":")
    if base not in METHODS:
        raise UnknownNameError("method", base, METHODS)
    found = METHODS[base]
    if not settings:
        return found
    changes = dict(_setting(found, text) for text in settings)
    policy = str(changes.pop("policy", found.policy))
    if policy not in OBJECTIVES:
        raise UnknownNameError("objective", policy, OBJECTIVES)
    label = f"{found.label} ({', '.join(settings)})"
    strategy = replace(found.strategy, **changes)  # type: ignore[type-var]
    return replace(found, name=name, label=label, policy=policy, strategy=strategy, default=False)


def _setting(found: Method, text: str) -> tuple[str, float | int | str]:
    """One setting, read as the type that it has now (an integer where it has none)."""
    key, _, given = text.partition("=")
    current: dict[str, Any] = asdict(found.strategy)  # type: ignore[call-overload]
    known = {each: value for each, value in current.items() if value is None or isinstance(value, float | int | str)}
    known["policy"] = found.policy
    if key not in known:
        raise UnknownNameError(f"setting of method {found.name}", key, known)
    now = known[key]
    kind: type[int] | type[float] | type[str] = int if now is None else type(now)
    try:
        return key, kind(given)
    except ValueError as error:
        raise SpecError(
            got=f"{text!r} for method {found.name}",
            expected=f"{key}=<{kind.__name__}>, such as {key}={8 if now is None else now}",
            change="correct the value",
        ) from error
