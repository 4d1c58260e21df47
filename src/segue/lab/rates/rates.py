"""The rates protocol: one task at a high and a low action rate, in action space and in latent space.

    trained on          positions    served at the high rate
    high   a[k]         H            direct
    low    A[j]         H / f        held | linear | cubic          segue.policies.low_rate
    latent z[j]         H / f        decoded | refined | continued  arXiv 2605.24931

Every row runs in the same simulator at the high rate, under the same delay in seconds, with the same number of updates
of the same batch. The low rate and the latent space have the same number of positions per chunk, so that what a latent
is worth beyond being shorter shows.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from segue.core.chunk import check_timing
from segue.core.dimensions import Dimensions
from segue.data.resample import Interpolation, cubic, held, linear
from segue.errors import SpecError, UnknownNameError
from segue.lab.results import NotApplicable
from segue.lab.tasks.tasks import Task
from segue.policies.autoencoder.autoencoder import refine
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy, ServingPolicy
from segue.policies.latent import LatentPolicy
from segue.policies.low_rate import ExpandedPolicy
from segue.policies.policy import Policy
from segue.policies.regression import RegressionPolicy
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.reuse_then_refine import ReuseThenRefine

LONG = 400
"""Episodes of more steps than this are those of contact tasks, whose simulators are ten times as slow [steps]."""
MOST_SCORES = 16_384
"""Scores of bins per chunk; with more of them, the last layer would be nearly all of a network."""


@dataclass(frozen=True)
class Learner:
    """How the policies of a family are made; plain JSON.

    Attributes:
        family: Family of policies, see `segue.training.recipe`.
        network: Name of the network.
        network_settings: Its settings.
        family_settings: Settings of the policy itself.
        learning_rate: Peak, chosen on the door (docs/latent.md); bins have none there, and are given flow's.
    """

    family: str
    network: str
    network_settings: Mapping[str, Any]
    family_settings: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 2e-3


LEARNERS: Mapping[str, Learner] = {
    "flow": Learner("flow", "mlp", {"width": 512}),
    "diffusion": Learner("diffusion", "unet", {"width": 32, "levels": 2, "condition_width": 64}, learning_rate=4e-3),
    "regression": Learner("regression", "mlp", {"width": 512}, learning_rate=4e-3),
    "bins": Learner("regression", "mlp", {"width": 512}, {"head": "bins", "head_settings": {"bins": 64}}),
}
"""Families of the protocol; bins are a regression with another head."""
WIDE = Learner("flow", "mlp", {"width": 1024, "depth": 2})
"""Of the rows with a wide network."""
FAMILIES = tuple(LEARNERS)
CONTINUOUS = ("flow", "diffusion", "regression")


@dataclass(frozen=True)
class Rates:
    """Settings of the protocol; plain JSON.

    Attributes:
        task: Name.
        factor: f, high over low rate, and control steps per latent position.
        horizon: H [high-rate steps].
        execution_horizon: s [high-rate steps].
        delay: d [high-rate steps], whole periods of the low rate.
        latent: d_z, numbers per latent position.
        updates: Optimiser steps of every policy.
        autoencoder_updates: Optimiser steps of the autoencoder, which all latent rows share.
        batch: Chunks per step of every policy.
        episodes: Per cell.
        training_seeds: Policies of each kind.
        held_out_every: k: every k-th episode trains nothing.
        families: Those of `FAMILIES` that are compared.
        learners: Of each family; all rows of a family have the same, but for the wide one.
        wide: Of the rows with a wide network.
    """

    task: str
    factor: int = 4
    horizon: int = 32
    execution_horizon: int = 8
    delay: int = 8
    latent: int = 16
    updates: int = 1600
    autoencoder_updates: int = 2400
    batch: int = 128
    episodes: int = 50
    training_seeds: int = 1
    held_out_every: int = 5
    families: tuple[str, ...] = FAMILIES
    learners: Mapping[str, Learner] = field(default_factory=lambda: LEARNERS)
    wide: Learner = WIDE

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FAMILIES:
                raise UnknownNameError("family of the rates protocol", family, FAMILIES)
        for name in ("horizon", "delay"):
            if getattr(self, name) % self.factor:
                raise SpecError(
                    got=f"{name} {getattr(self, name)} at a factor of {self.factor}",
                    expected="whole periods of the low rate",
                    change=f"take a multiple of {self.factor}",
                )
        check_timing(self.horizon, self.delay, self.execution_horizon)

    @property
    def bins(self) -> int:
        """Of the discretised head, per dimension."""
        return self.learners["bins"].family_settings["head_settings"]["bins"]

    @property
    def synchronous_horizon(self) -> int:
        """Steps executed from a chunk when the robot waits for the next one: half of it.

        With the s of asynchronous execution it would stand still for as long as it moves.
        """
        return max(self.execution_horizon, self.horizon // 2)


def rates_for(settings: Task, actions: int, *, delay: float) -> Rates:
    """The protocol for a task.

    Args:
        settings: The task, at its high rate.
        actions: Number of action dimensions.
        delay: Inference delay [s]; rounded to whole periods of the low rate, at least one.
    """
    factor = 4
    periods = max(round(delay / (factor * settings.dt)), 1)
    return Rates(
        task=settings.name,
        factor=factor,
        horizon=settings.horizon,
        execution_horizon=max(settings.execution_horizon, periods * factor),
        delay=periods * factor,
        latent=min(16, 2 * actions),
        episodes=50 if settings.max_steps <= LONG else 16,
    )


def quick(rates: Rates) -> Rates:
    """The same in minutes: what comes out says whether everything runs, not what is better."""
    return replace(rates, updates=120, autoencoder_updates=240, batch=64, episodes=rates.episodes // 8)


Serve = Callable[[Policy, Rates, Dimensions], ServingPolicy]


def _plain(policy: Policy, rates: Rates, kinds: Dimensions) -> ServingPolicy:
    return ContinuingPolicy(policy, Naive())


def _expanded(interpolation: Interpolation) -> Serve:
    def serve(policy: Policy, rates: Rates, kinds: Dimensions) -> ServingPolicy:
        return ExpandedPolicy(_plain(policy, rates, kinds), rates.factor, interpolation, kinds=kinds)

    return serve


def _refined(policy: Policy, rates: Rates, kinds: Dimensions) -> ServingPolicy:
    assert isinstance(policy, LatentPolicy)
    return FinishedPolicy(_plain(policy, rates, kinds), ReuseThenRefine(partial(refine, policy.autoencoder)))


def _continued(policy: Policy, rates: Rates, kinds: Dimensions) -> ServingPolicy:
    return ContinuingPolicy(policy, Legato())


def _rounded(policy: Policy, rates: Rates, kinds: Dimensions) -> ServingPolicy:
    return _plain(in_bfloat16(policy), rates, kinds)


def in_bfloat16(policy: Policy) -> Policy:
    """The same regression policy, in action or latent space, its chunks rounded as a half-precision head does."""
    policy = copy.deepcopy(policy)
    inner = policy.policy if isinstance(policy, LatentPolicy) else policy
    assert isinstance(inner, RegressionPolicy)
    inner.config = replace(inner.config, output_dtype="bfloat16")
    return policy


@dataclass(frozen=True)
class Form:
    """What is trained, and how it is served.

    Attributes:
        name: Part of the row's name.
        label: For people.
        space: What is trained: ``high``, ``wide``, ``low`` or ``latent``.
        serve: How chunks of the high rate come of it.
        families: Which have this row.
        objective: What the policy is trained with; None for its family's plain one.
        asynchronous_only: Why it is not measured synchronously, too; empty where it is.
    """

    name: str
    label: str
    space: str
    serve: Serve = _plain
    families: tuple[str, ...] = CONTINUOUS
    objective: str | None = None
    asynchronous_only: str = ""


_CONTINUES = "the robot waits at the end of a chunk, so that there is nothing left to continue"
_VARIANT = "measured for the row that this one is a variant of"
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("direct", "high rate", "high", families=FAMILIES),
        Form("direct-wide", "high rate, wide network", "wide", families=("flow",), asynchronous_only=_VARIANT),
        Form("held", "low rate, held", "low", _expanded(held), families=FAMILIES),
        Form("linear", "low rate, linear", "low", _expanded(linear)),
        Form("cubic", "low rate, cubic", "low", _expanded(cubic), asynchronous_only=_VARIANT),
        Form("latent", "latent", "latent", families=FAMILIES),
        Form("latent-rtr", "latent, Reuse-then-Refine", "latent", _refined, asynchronous_only=_CONTINUES),
        Form("latent-legato", "latent, Legato", "latent", _continued, objective="legato", asynchronous_only=_CONTINUES),
        Form("direct-bfloat16", "high rate, bfloat16 head", "high", _rounded, ("regression",), None, _VARIANT),
        Form("latent-bfloat16", "latent, bfloat16 head", "latent", _rounded, ("regression",), None, _VARIANT),
    )
}


@dataclass(frozen=True)
class Row:
    """A family in one form.

    Attributes:
        family: One of `FAMILIES`.
        form: Key of `FORMS`.
    """

    family: str
    form: str

    @property
    def name(self) -> str:
        """Key in results."""
        return f"{self.family}-{self.form}"

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.family}: {FORMS[self.form].label}"

    @property
    def objective(self) -> str:
        """Name of the training objective."""
        return FORMS[self.form].objective or ("plain" if self.family == "flow" else LEARNERS[self.family].family)

    @property
    def space(self) -> str:
        """What is trained; the run of the policy is ``<family>-<space>``."""
        return FORMS[self.form].space

    def updates(self, rates: Rates) -> tuple[int, int]:
        """Optimiser steps of the policy, and of the autoencoder below it."""
        return rates.updates, rates.autoencoder_updates if self.space == "latent" else 0


def rows(rates: Rates, actions: int, kinds: Dimensions) -> tuple[list[Row], list[NotApplicable]]:
    """The rows of a task, and what is left out.

    Args:
        rates: Settings.
        actions: Number of action dimensions.
        kinds: What each action dimension is.
    """
    found: list[Row] = []
    missing: list[NotApplicable] = []
    for family in rates.families:
        for form in FORMS.values():
            row = Row(family, form.name)
            why = _why_not(row, form, rates, actions, kinds)
            if family not in form.families:
                continue
            if why:
                missing.append(NotApplicable(row.label, why))
                continue
            found.append(row)
            if form.asynchronous_only:
                missing.append(NotApplicable(row.label, f"synchronous: {form.asynchronous_only}"))
    return found, missing


def _why_not(row: Row, form: Form, rates: Rates, actions: int, kinds: Dimensions) -> str | None:
    if form.objective == "legato" and row.family != "flow":
        return "Legato steers a velocity field, which only flow policies have"
    if form.name == "linear" and kinds.moves:
        return "a straight path is the held displacement: see that row"
    scores = rates.horizon * actions * rates.bins
    if row.family == "bins" and scores > MOST_SCORES:
        return f"a chunk of the high rate would be {scores:,} scores of bins, nearly all of the network"
    width = rates.learners["flow"].network_settings.get("width", 0)
    if form.space == "wide" and width >= rates.horizon * actions:
        return f"the network of every row has a width of {width}, and a chunk {rates.horizon * actions} numbers"
    return None
