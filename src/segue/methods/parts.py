"""The checkpoints in a run that a method needs: its policy, its autoencoder, its predictor, its correction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segue.errors import CheckpointError, SpecError
from segue.methods.methods import AUTOENCODER, CORRECTION, LATENT, PREDICTED, PREDICTOR, Method
from segue.policies.policy import Policy
from segue.policies.predictors.predictor import CommandedState, Predictor
from segue.training import checkpoint
from segue.training.context_predictor import learned_predictor


@dataclass(frozen=True)
class Parts:
    """Checkpoints in a run that a method needs.

    Attributes:
        policy: Its policy.
        autoencoder: What it refines the chunks of a policy of actions with; None for other methods.
        predictor: What it predicts with; None for other methods.
        correction: What corrects its actions when they are due; None for other methods.
    """

    policy: Path
    autoencoder: Path | None = None
    predictor: Path | None = None
    correction: Path | None = None


def parts_of(run: Path, methods: Sequence[Method]) -> Mapping[str, Parts]:
    """What each method needs, by its name, from a run of `train_policy` or a training seed of a comparison.

    Raises:
        CheckpointError: Something is missing.
    """
    return {each.name: _parts(run, each, methods) for each in methods}


def home_of(run: Path, method: Method) -> Path:
    """Where a method's checkpoints are in a run.

    A comparison trains the policies of methods with a learned predictor apart, for so many updates fewer as the
    predictor costs; elsewhere they are those of all methods.
    """
    apart = run / PREDICTED
    return apart if method.predictor == "learned" and apart.is_dir() else run


def predictor_home(home: Path, policy: str) -> Path:
    """Where a policy's predictor lies beside it: one of its contexts in a folder of its own, else that of all."""
    own = home / PREDICTOR / policy
    return own if checkpoint.started(own) else home / PREDICTOR


def _parts(run: Path, method: Method, methods: Sequence[Method]) -> Parts:
    home, name = home_of(run, method), method.policy
    if not checkpoint.started(home / name):
        wanting = ", ".join(each.name for each in methods if each.policy == name)
        raise CheckpointError(
            got=f"no policy {name!r} in {home}",
            expected=f"a policy trained with objective {name!r}, which these methods run: {wanting}",
            change=_training(home, name) + ", or leave these methods out",
        )
    if method.refines_actions and not checkpoint.started(run / AUTOENCODER):
        refining = ", ".join(each.name for each in methods if each.refines_actions)
        raise CheckpointError(
            got=f"no {AUTOENCODER} in {run}",
            expected=f"one, which these methods refine with: {refining}",
            change=f"segue train-autoencoder TASK --out {run / AUTOENCODER}, or leave these methods out",
        )
    predictor = predictor_home(home, name)
    if method.predictor == "learned" and not checkpoint.started(predictor):
        predicting = ", ".join(each.name for each in methods if each.predictor == "learned")
        raise CheckpointError(
            got=f"no {PREDICTOR} in {home}",
            expected=f"one, which these methods predict with: {predicting}",
            change=f"segue train-predictor TASK --out {home / PREDICTOR}, or leave these methods out",
        )
    correction = home / CORRECTION / name
    if method.correction == "learned" and not checkpoint.started(correction):
        raise CheckpointError(
            got=f"no {CORRECTION} of the policy {name!r} in {home}",
            expected=f"one, which these methods correct with: "
            f"{', '.join(each.name for each in methods if each.correction == 'learned')}",
            change=f"segue train-correction TASK --run {home} --policy {name}, or leave these methods out",
        )
    return Parts(
        policy=home / name,
        autoencoder=run / AUTOENCODER if method.refines_actions else None,
        predictor=predictor if method.predictor == "learned" else None,
        correction=correction if method.correction == "learned" else None,
    )


def _training(run: Path, policy: str) -> str:
    """The command that trains a policy."""
    name = policy.removeprefix(LATENT)
    where = f" --autoencoder {run / AUTOENCODER} --out {run / LATENT}" if name != policy else ""
    return f"segue train TASK --objective {name}{where}"


def predictor_of(kind: str, policy: Policy, path: Path | None) -> Predictor | None:
    """A predictor that needs no simulator; None where nothing is predicted.

    Args:
        kind: ``none``, ``learned`` or ``commanded``.
        policy: Whose observations are predicted.
        path: Of the learned predictor.

    Raises:
        SpecError: There is none of this kind here, or the policy does not say which observation its actions command.
    """
    match kind:
        case "none":
            return None
        case "learned" if path is not None:
            return learned_predictor(path, policy)
        case "commanded":
            return CommandedState.of(policy)
    raise SpecError(
        got=f"the predictor {kind!r}",
        expected="learned, with the predictor of a run, or commanded",
        change="an oracle needs a simulator: `segue eval`, `segue bench`",
    )
