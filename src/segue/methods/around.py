"""Methods that work around finished chunks, for policies that answer with nothing else, such as servers of openpi."""

from segue.core.chunk import ChunkPolicy
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.methods.methods import method as named
from segue.plan.plan import Handover
from segue.policies.chunk_policy import FinishedPolicy
from segue.policies.noise import FreshNoise
from segue.policies.predictors.predictor import CommandedState, PredictivePolicy
from segue.strategies.blend import AVERAGES
from segue.strategies.naive import Naive


def continued(policy: ChunkPolicy, method: str) -> tuple[ChunkPolicy, Handover]:
    """A policy that answers with finished chunks, such as a server of openpi, under a method that works around them.

    Args:
        policy: Whatever answers with chunks.
        method: ``cross-fade``, ``ensembling``, ``blend``, ``naive``, ``naive-restart`` or ``sync``, settings and
            ``predictor=commanded`` behind colons. Which number of the state an action commands is what equal names say.

    Raises:
        UnknownNameError: There is no such method or setting.
        SpecError: It needs more of a policy than its chunks, or no action commands a number of the state.
    """
    found = named(method)
    around = isinstance(found.strategy, (Naive, *AVERAGES)) and found.policy == "plain" and found.refinement is None
    around = around and found.correction == "none"
    if not around or found.noise != FreshNoise() or found.predictor not in ("none", "commanded"):
        raise SpecError(
            got=f"method {method!r} for a server that answers with finished chunks",
            expected="cross-fade, ensembling, blend, naive, naive-restart or sync, without a learned predictor",
            change="choose one of these; policies that continue by themselves are served by `segue serve`",
        )
    finishing = found.strategy if isinstance(found.strategy, AVERAGES) else None
    if found.predictor == "commanded":
        return PredictivePolicy(policy, _commanded(policy.spec), finishing=finishing), found.handover
    return (policy if finishing is None else FinishedPolicy(policy, finishing)), found.handover


def _commanded(spec: PolicySpec) -> CommandedState:
    """Targets and displacements by equal names; what velocities make of a state is left as it is seen."""
    names, seen = spec.action_names, spec.observation_names
    targets = {i: seen.index(name) for i, name in enumerate(names) if name in seen and i not in spec.action_kinds.moves}
    moved = {i: seen.index(name) for i in spec.action_kinds.named("displacement") if (name := names[i]) in seen}
    if not targets and not moved:
        raise SpecError(
            got=f"actions {', '.join(names)}, none of which is a target for one of {', '.join(seen)} by its name",
            expected="equal names of actions and of the numbers of the state that they command",
            change="name them so in the robot's specification, or run without the predictor",
        )
    return CommandedState(targets, moved, spec.observation_kinds)
