"""A trained policy under a method, as the chunk policy that a robot or a server runs."""

from pathlib import Path

import torch

from segue.core.correction import Correction
from segue.errors import SpecError
from segue.methods.methods import Method, method
from segue.methods.parts import parts_of, predictor_of
from segue.plan.plan import Handover
from segue.policies.chunk_policy import ServingPolicy
from segue.training import checkpoint
from segue.training.autoencoder import load_autoencoder
from segue.training.correction.residual import load_correction


def chunk_policy(
    run: Path, name: str | Method, *, seed: int = 0, device: str = "cpu"
) -> tuple[ServingPolicy, Handover]:
    """The policy that a method needs, from a run of `segue train`, and how its chunks take over.

    Args:
        run: Folder of the run.
        name: Of the method, see `segue.methods.methods.method`; or the method itself.
        seed: Of the noise.
        device: As torch names it.

    Raises:
        CheckpointError: The method's policy is not in the run, or damaged.
        UnknownNameError: No such method.
        SpecError: No such device.
    """
    found = method(name) if isinstance(name, str) else name
    parts = parts_of(run, [found])[found.name]
    policy = checkpoint.load(parts.policy).policy()
    codec = None if parts.autoencoder is None else load_autoencoder(parts.autoencoder)[0]
    try:
        policy = policy.to(torch.device(device))
        codec = None if codec is None else codec.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"device {device!r} ({reason})", "a device of this machine", "use --device cpu") from error
    predictor = predictor_of(found.predictor, policy, parts.predictor)
    return found.bound(policy, codec, predictor, seed=seed), found.handover


def correction_of(run: Path, name: str) -> Correction | None:
    """What corrects the actions of a method when they are due, from a run of `segue train`; None for one without.

    Raises:
        CheckpointError: Its policy or its correction is not in the run, or damaged.
        UnknownNameError: No such method.
    """
    found = method(name)
    parts = parts_of(run, [found])[found.name]
    return (
        None if parts.correction is None else load_correction(parts.correction, checkpoint.load(parts.policy).policy())
    )
