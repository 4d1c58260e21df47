"""The methods that are compared, by name: a strategy, how its chunks take over, and which training it needs.

run/plain               method of a policy of actions
run/latent/plain        method of a policy in the latent space of
run/autoencoder         the run's autoencoder, which also refines (arXiv 2605.24931)
run/predictor           the run's predictor: chunks are made for the step at which they take over
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import partial
from typing import Any

from segue.core import plugins
from segue.errors import SpecError, UnknownNameError
from segue.methods.settings import noise_of, said, setting
from segue.plan.plan import Handover
from segue.policies.autoencoder.autoencoder import Codec, refine
from segue.policies.chunk_policy import ContinuingPolicy, ServingPolicy
from segue.policies.diffusion import Denoising
from segue.policies.latent import LatentPolicy
from segue.policies.noise import NOISES, CarriedNoise, FreshNoise, Noise
from segue.policies.policy import Policy
from segue.policies.predictors.predictor import PredictivePolicy, Predictor
from segue.policies.regression import Regression
from segue.strategies.bid import BID, OfficialBID
from segue.strategies.blend import AVERAGES, CrossFade, TemporalEnsembling, WeightedBlend
from segue.strategies.faster import FASTER, FASTERObjective
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato, LegatoObjective
from segue.strategies.literal_legato import LiteralLegato, LiteralLegatoObjective
from segue.strategies.naive import FlowMatching, Naive
from segue.strategies.objective import Objective
from segue.strategies.paint import PAINT
from segue.strategies.reuse_then_refine import Anchor, Executed, Fixed, ReuseThenRefine
from segue.strategies.rtc import RTC, identity, vjp
from segue.strategies.soft_rtc import LiteralSoftRTC, SoftRTC, SoftRTCObjective
from segue.strategies.training_time_rtc import TrainingTimeRTC, TrainingTimeRTCObjective
from segue.strategies.under_delay.remac import REMAC, REMACObjective
from segue.strategies.under_delay.vlash import VLASHObjective

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "plain": FlowMatching,
    "training-time-rtc": TrainingTimeRTCObjective,
    "soft-rtc": SoftRTCObjective,
    "faster": FASTERObjective,
    "vlash": VLASHObjective,
    "remac": REMACObjective,
    "legato": LegatoObjective,
    "literal-legato": LiteralLegatoObjective,
    "diffusion": Denoising,
    "regression": Regression,
}
"""How a policy can be trained, by name."""

AUTOENCODER = "autoencoder"
"""The autoencoder of a run."""
PREDICTOR = "predictor"
"""The predictor of a run."""
CORRECTION = "correction"
"""Folder of a run's corrections, by the policy that each belongs to."""
PREDICTED = "predicted"
"""Folder of a comparison's policies that run with a learned predictor."""
LATENT = "latent/"
"""Before the name of an objective: the policy lives in the latent space of the run's autoencoder."""


def objective(name: str) -> Objective:
    """Training objective by name, with its defaults; the same in action space and in latent space."""
    name = name.removeprefix(f"{PREDICTED}/").removeprefix(LATENT)
    if name not in OBJECTIVES:
        raise UnknownNameError("objective", name, OBJECTIVES)
    return OBJECTIVES[name]()


@dataclass(frozen=True)
class Refinement:
    """Reuse-then-Refine with the autoencoder of the run, on actions in robot units.

    Attributes:
        reuse: Steps taken from the previous chunk, as in the released code; None takes those that will have been
            executed, as in the paper.
        anchor: Factor per step on the offset that makes the last reused action exact (see `Anchor`); 0 for no offset.
    """

    reuse: int | None = None
    anchor: float = 0.0

    def strategy(self, codec: Codec) -> ReuseThenRefine:
        """For this autoencoder."""
        splice = Executed() if self.reuse is None else Fixed(self.reuse)
        return ReuseThenRefine(partial(refine, codec), splice, (Anchor(self.anchor),) if self.anchor else ())


PREDICTORS = ("none", "learned", "commanded", "oracle")
"""What may stand for the observation of the takeover: that of the request; what the run's predictor makes of it; the
same with the robot's own dimensions as commanded; what a twin of the simulator sees, which no robot has."""
CORRECTIONS = ("none", "learned")
"""What may change actions when they are due: nothing; the run's correction of the policy."""


@dataclass(frozen=True)
class Method:
    """One row of a comparison.

    Attributes:
        name: Key in results.
        label: For people.
        policy: Objective that its policy is trained with, in latent space if it begins with `LATENT`.
        strategy: How chunks are continued.
        handover: How chunks take over.
        citation: Paper.
        default: Whether it is the one that Segue recommends.
        refinement: What is made of its chunks, in robot units; None for nothing.
        noise: Where its chunks start from.
        predictor: Key of `PREDICTORS`.
        correction: Key of `CORRECTIONS`; other than none, it is up to who executes the chunks, see `uncorrected`.
    """

    name: str
    label: str
    policy: str
    strategy: Strategy
    citation: str
    handover: Handover = Handover.CONTINUE
    default: bool = field(default=False)
    refinement: Refinement | None = None
    noise: Noise = field(default_factory=FreshNoise)
    predictor: str = "none"
    correction: str = "none"

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise UnknownNameError("predictor", self.predictor, PREDICTORS)
        if self.correction not in CORRECTIONS:
            raise UnknownNameError("correction", self.correction, CORRECTIONS)

    @property
    def uncorrected(self) -> "Method":
        """The same without a correction: what makes its chunks, where the loop that executes them corrects them."""
        return replace(self, correction="none")

    @property
    def settings(self) -> dict[str, Any]:
        """Of strategy and refinement, and what every method has."""
        refinement = {} if self.refinement is None else asdict(self.refinement)
        noise = next(name for name, kind in NOISES.items() if isinstance(self.noise, kind))
        share = self.noise.share if isinstance(self.noise, CarriedNoise) else 0.0
        everyones = {"noise": noise, "scale": self.noise.scale, "share": share, "predictor": self.predictor}
        if self.correction != "none":  # what is written of others stays as it was before there were any
            everyones["correction"] = self.correction
        return {**asdict(self.strategy), **refinement, **everyones}  # type: ignore[call-overload]

    @property
    def refines_actions(self) -> bool:
        """Whether it refines the chunks of a policy that has no autoencoder of its own."""
        return self.refinement is not None and not self.policy.startswith(LATENT)

    def bound(
        self, policy: Policy, codec: Codec | None = None, predictor: Predictor | None = None, *, seed: int = 0
    ) -> ServingPolicy:
        """The method on a trained policy.

        Averages of chunks and refinement work on decoded actions, in robot units; refinement on whole chunks, which
        under a predictor begin with the committed actions.

        Args:
            policy: Trained as the method says.
            codec: Autoencoder of the run, for a method that `refines_actions`.
            predictor: Of the kind that the method says; not used by one without.
            seed: Of the noise.

        Raises:
            SpecError: It refines actions, and there is no autoencoder, or it predicts, and there is no predictor; or it
                corrects actions when they are due, which no chunk policy can.
        """
        if self.correction != "none":
            raise SpecError(
                got=f"method {self.name!r}, which corrects each action in the control step in which it is due",
                expected="a loop that does so: segue run with the run's folder, segue eval, segue bench",
                change="leave the correction out (correction=none), or hand it to `Executor`",
            )
        strategy, finishing = self.strategy, self._refining(policy, codec)
        if policy.units.stride > 1 and isinstance(strategy, AVERAGES):
            strategy, finishing = Naive(), strategy
        if self.predictor == "none":
            return ContinuingPolicy(policy, strategy, seed=seed, finishing=finishing, noise=self.noise)
        if predictor is None:
            raise SpecError(
                got=f"method {self.name!r} without a predictor",
                expected=f"a predictor ({self.predictor})",
                change="give the predictor of the run",
            )
        continuing = ContinuingPolicy(policy, strategy, seed=seed, noise=self.noise)
        return PredictivePolicy(continuing, predictor, finishing=finishing)

    def _refining(self, policy: Policy, codec: Codec | None) -> ReuseThenRefine | None:
        """The strategy that refines its chunks, or None."""
        if self.refinement is None:
            return None
        codec = policy.autoencoder if isinstance(policy, LatentPolicy) else codec
        if codec is None:
            raise SpecError(
                got=f"method {self.name!r} on a policy without an autoencoder",
                expected="the autoencoder that it refines with",
                change="give the autoencoder of the run",
            )
        return self.refinement.strategy(codec)

    def description(self) -> dict[str, Any]:
        """As written to results."""
        settings = {key: getattr(value, "__name__", value) for key, value in self.settings.items()}
        return {
            "name": self.name,
            "label": self.label,
            "policy": self.policy,
            "settings": {**settings, "handover": self.handover.value},
            "citation": self.citation,
            "default": self.default,
        }


_LATENT_ACTIONS = "arXiv 2605.24931"
_ALL = (
    Method(
        "predictive",
        "Predictive",
        "plain",
        RTC(vjp, clip=2.0, ramp_seconds=1.2),
        "Smith 1957; arXiv 2506.07339",
        default=True,
        noise=CarriedNoise(scale=0.7, share=0.5),
        predictor="learned",
    ),
    Method("sync", "Synchronous", "plain", Naive(), "", Handover.WAIT),
    Method("naive", "Naive async", "plain", Naive(), ""),
    Method("naive-restart", "Naive async, nothing skipped", "plain", Naive(), "", Handover.RESTART),
    Method("ensembling", "Temporal ensembling", "plain", TemporalEnsembling(), "arXiv 2304.13705"),
    Method("blend", "Weighted blend 0.3/0.7", "plain", WeightedBlend(), "arXiv 2506.01844"),
    Method("cross-fade", "Linear cross-fade", "plain", CrossFade(), ""),
    Method("rtc", "RTC", "plain", RTC(vjp), "arXiv 2506.07339"),
    Method("rtc-identity", "RTC, identity Jacobian", "plain", RTC(identity), "arXiv 2506.07339; LeRobot"),
    Method("training-time-rtc", "Training-time RTC", "training-time-rtc", TrainingTimeRTC(), "arXiv 2512.05964"),
    Method("soft-rtc", "Soft RTC", "soft-rtc", SoftRTC(), "arXiv 2605.25537"),
    Method("literal-soft-rtc", "Soft RTC as published", "soft-rtc", LiteralSoftRTC(), "arXiv 2605.25537"),
    Method("faster", "FASTER, first actions first", "faster", FASTER(), "arXiv 2603.19199"),
    Method("vlash", "VLASH", "vlash", Naive(), "arXiv 2512.01031", predictor="commanded"),
    Method("future-rtc", "FutureRTC", "plain", Naive(), "arXiv 2607.24008", predictor="learned"),
    Method("remac", "REMAC", "remac", REMAC(), "arXiv 2601.20130"),
    Method("a2c2", "A2C2", "plain", Naive(), "arXiv 2509.23224", correction="learned"),
    Method("bid", "BID", "plain", BID(), "arXiv 2408.17355"),
    Method("official-bid", "BID, official form", "plain", OfficialBID(), "arXiv 2408.17355"),
    Method("paint", "PAINT", "plain", PAINT(), "arXiv 2606.19774"),
    Method("literal-legato", "Legato as published", "literal-legato", LiteralLegato(5), "arXiv 2602.12978"),
    Method("legato", "Legato", "legato", Legato(), "arXiv 2602.12978"),
    Method(
        "predictive-legato",
        "Predictive Legato",
        "legato",
        Legato(ramp=8),
        "arXiv 2602.12978",
        noise=CarriedNoise(scale=0.7, share=0.5),
        predictor="learned",
    ),
    Method("legato-free", "Legato's policy, w = 0", "legato", Naive(), "arXiv 2602.12978"),
    Method("rtr", "Reuse-then-Refine", "plain", Naive(), _LATENT_ACTIONS, refinement=Refinement()),
    Method("latent-naive", "Latent, naive async", "latent/plain", Naive(), _LATENT_ACTIONS),
    Method("latent-rtc", "Latent, RTC", "latent/plain", RTC(vjp), "arXiv 2506.07339"),
    Method("latent-rtc-identity", "Latent, RTC, identity Jacobian", "latent/plain", RTC(identity), "arXiv 2506.07339"),
    Method(
        "latent-rtr", "Latent, Reuse-then-Refine", "latent/plain", Naive(), _LATENT_ACTIONS, refinement=Refinement()
    ),
    Method("latent-legato", "Latent, Legato", "latent/legato", Legato(), "arXiv 2602.12978"),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}
"""All methods by name, in the order of reports."""


GROUP = "segue.methods"
"""Entry points with which a package adds methods."""


def _own(base: str) -> Method:
    """A method of somebody's own: `Method`, a strategy, or a class or a function that makes one of them.

    Raises:
        SpecError: It is none of them, cannot be made, or its settings cannot be read.
        UnknownNameError: Its module has no such name, or its objective does not exist.
    """
    found = plugins.named(GROUP, base, f"the method {base!r}")
    if isinstance(found, type) or not (isinstance(found, Method) or hasattr(found, "hooks")):
        found = plugins.made(found, base, "method") if callable(found) else found
    if not isinstance(found, Method) and callable(getattr(found, "hooks", None)):
        if not is_dataclass(found):
            raise SpecError(
                got=f"the method {base!r}, an object of {type(found).__name__}",
                expected="a strategy that is a dataclass: its fields are the settings, and are written to results",
                change="put @dataclass(frozen=True) above its class",
            )
        found = Method(base, base.rpartition(":")[2], "plain", found, citation="")  # type: ignore[arg-type]
    if not isinstance(found, Method):
        raise SpecError(
            got=f"the method {base!r}, which is {type(found).__name__}",
            expected="a Method, a strategy with `hooks(prefix)`, or a class or function that makes one of them",
            change="name another object of the module",
        )
    objective(found.policy)  # raises for one that does not exist
    return replace(found, name=base, default=False)


def _base(name: str) -> tuple[Method, list[str]]:
    """The method that a name begins with, and its settings."""
    base, *settings = name.split(":")
    if base in METHODS:
        return METHODS[base], settings
    if base in plugins.installed(GROUP):
        return _own(base), settings
    if settings and "=" not in settings[0]:
        return _own(f"{base}:{settings[0]}"), settings[1:]
    known = {*METHODS, *plugins.installed(GROUP)}
    raise UnknownNameError("method", base, known, "my_module:Name, in the current folder or installed", "`segue list`")


def method(name: str) -> Method:
    """Method by name, with settings of its strategy behind colons where they are to differ: ``legato:gain=1:fade=0``.

    ``my_module:Name`` is one of the user's own: a `Method`, a strategy, or a class or a function that makes one of them
    without arguments; its settings stand behind it in the same way. Packages that are installed may give theirs short
    names (`segue.core.plugins`).

    ``policy`` takes a policy that was trained with another objective, so that strategies meet other families:
    ``ensembling:policy=diffusion``, ``ensembling:policy=latent/plain``. ``predictor``, ``noise``, ``scale`` and
    ``correction`` belong to every method: ``naive:predictor=learned:noise=carried:scale=0.7``.

    Raises:
        UnknownNameError: There is no such method or setting; the message lists what exists.
        SpecError: A setting has a value of another type, or the user's own is no method.
    """
    found, settings = _base(name)
    if not settings:
        return found
    changes = dict(setting(found, text) for text in settings)
    policy = str(changes.pop("policy", found.policy))
    objective(policy)  # raises for one that does not exist
    everyones = {key: changes[key] for key in ("predictor", "noise", "scale", "share", "correction") if key in changes}
    own = [text for text in settings if text.partition("=")[0] not in everyones]
    label = ", ".join([found.label + (f" ({', '.join(own)})" if own else ""), *said(everyones)])
    noise = noise_of(found, {key: changes.pop(key) for key in ("noise", "scale", "share") if key in changes})
    predictor = str(changes.pop("predictor", found.predictor))
    correction = str(changes.pop("correction", found.correction))
    refinement = found.refinement
    if refinement is not None:
        refined = {key: changes.pop(key) for key in asdict(refinement).keys() & changes.keys()}
        refinement = replace(refinement, **refined)  # type: ignore[arg-type]
    strategy = replace(found.strategy, **changes)  # type: ignore[type-var]
    return replace(
        found, name=name, label=label, policy=policy, strategy=strategy, refinement=refinement, default=False,
        noise=noise, predictor=predictor, correction=correction,
    )  # fmt: skip


def methods(names: str) -> list[Method]:
    """Methods by their names, separated by commas, none twice."""
    return [method(name) for name in dict.fromkeys(part.strip() for part in names.split(","))]
