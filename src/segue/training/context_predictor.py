r"""Training of predictors in the context of a policy that has been trained already.

frames -- the policy's units, middle of the pictures --> contexts -- as states, `segue.training.predictor` --> predictor

The policy is trained on all demonstrations, its predictor on all but the held-out ones: the encoder has seen these, the
network that predicts has not. Errors are in standard deviations of each number of the context, beside those of assuming
that nothing changes.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console

from segue.data.episodes import Episodes
from segue.errors import CheckpointError
from segue.policies.observation import on_device
from segue.policies.policy import Policy, fingerprint
from segue.policies.predictors.context import ContextPredictor, context_names, predictable
from segue.policies.predictors.state import StatePredictor
from segue.training import checkpoint
from segue.training.fit import Run
from segue.training.predictor import PredictionError, PredictorTraining, learn, load_predictor, predictor_in

FORMAT = "segue/context-predictor/1"
BATCH = 256
"""Frames that are encoded at a time."""


@torch.no_grad()
def encoded(episodes: Episodes, policy: Policy) -> Episodes:
    """Episodes with the policy's contexts for observations, and no pictures.

    Raises:
        SpecError: The policy's context cannot be predicted, or the demonstrations do not fit it.
    """
    units = predictable(policy.eval())
    frames = torch.arange(episodes.frames).split(BATCH)
    parts = [units.encode(on_device(episodes.observed(part.numpy()), units.device)).cpu() for part in frames]
    contexts = torch.cat(parts)
    names = context_names(tuple(episodes.observation_names), contexts.shape[1])
    return replace(
        episodes, observation=contexts.numpy(), observation_names=names, observation_kinds=units.context_kinds,
        state_of_action=(None,) * len(episodes.action_names), pictures={},
    )  # fmt: skip


def train_context_predictor(
    episodes: Episodes,
    policy: Policy,
    training: PredictorTraining | None = None,
    *,
    run: Path,
    width: int = 256,
    task: str = "",
    resume: bool = False,
    console: Console | None = None,
) -> ContextPredictor:
    """Train a predictor for one policy, on all but every k-th episode; returns it with averaged weights.

    Args:
        episodes: Demonstrations, the same that the policy has learned from.
        policy: Trained; its encoder stays what it is.
        training: Length and settings, as for predictors of states.
        run: Folder of the checkpoints; it and the other arguments are as in `train_predictor`.
        width: Hidden units per layer.
        task: Noted in the checkpoints.
        resume: A run that has all updates is loaded, and no picture is looked at again.
        console: Where progress is shown.

    Raises:
        CheckpointError: The run to resume was started for another policy, with other settings or on other
            demonstrations.
        DataError: There is only one episode, or none with a second frame.
        TrainingError: The loss is not finite.
        SpecError: The policy's context cannot be predicted.
    """
    units, training = predictable(policy), training or PredictorTraining()
    noted = {"task": task, "policy": fingerprint(policy)}
    if resume and checkpoint.started(run):
        saved = checkpoint.load(run, FORMAT)
        _check_policy(saved, policy)
        asked = checkpoint.as_json({"training": asdict(training), "update": training.updates})
        if saved.info.items() >= asked.items() and saved.info["predictor"]["width"] == width:
            return ContextPredictor(predictor_in(saved)[0].to(units.device), units)
    network = learn(encoded(episodes, policy), training, width, Run(run, "predictor", noted, FORMAT, resume, console))
    return ContextPredictor(network.to(units.device), units)


def load_context_predictor(path: Path | str, policy: Policy) -> tuple[ContextPredictor, PredictionError]:
    """The predictor of a policy with its averaged weights, and its error on the held-out episodes.

    Raises:
        CheckpointError: Nothing there, truncated, no predictor of contexts, or that of another policy.
        SpecError: The policy's context cannot be predicted.
    """
    units, saved = predictable(policy), checkpoint.load(path, FORMAT)
    _check_policy(saved, policy)
    network, error = predictor_in(saved)
    return ContextPredictor(network.to(units.device), units), error


def learned_predictor(path: Path | str, policy: Policy) -> StatePredictor | ContextPredictor:
    """The predictor in a folder, of states or of this policy's contexts, on the device of the policy.

    Raises:
        CheckpointError: Nothing there, truncated, no predictor, or that of another policy.
    """
    if checkpoint.format_of(path) == FORMAT:
        return load_context_predictor(path, policy)[0]
    return load_predictor(path)[0].to(policy.units.device)


def _check_policy(saved: checkpoint.Checkpoint, policy: Policy) -> None:
    expected, got = saved.info.get("policy"), fingerprint(policy)
    if got != expected:
        raise CheckpointError(
            got=f"a policy with other weights ({got[:12]}) than the one that {saved.path} belongs to "
            f"({str(expected)[:12]})",
            expected="the policy whose contexts the predictor has learned from",
            change="train the predictor for this policy, `train_context_predictor`, in a folder of its own",
        )
