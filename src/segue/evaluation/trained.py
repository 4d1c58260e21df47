"""A trained policy under a method, as the chunk policy that a robot or a server runs."""

from pathlib import Path

import torch

from segue.errors import SpecError
from segue.evaluation.methods import AUTOENCODER, method
from segue.evaluation.sweep import policies_of
from segue.policies.chunk_policy import ContinuingPolicy
from segue.runtime.plan import Handover
from segue.training import checkpoint
from segue.training.autoencoder import load_autoencoder


def chunk_policy(run: Path, name: str, *, seed: int = 0, device: str = "cpu") -> tuple[ContinuingPolicy, Handover]:
    """The policy that a method needs, from a run of `segue train`, and how its chunks take over.

    Args:
        run: Folder of the run.
        name: Of the method, see `segue.evaluation.methods.method`.
        seed: Of the noise.
        device: As torch names it.

    Raises:
        CheckpointError: The method's policy is not in the run, or damaged.
        UnknownNameError: No such method.
        SpecError: No such device.
    """
    found = method(name)
    paths = policies_of(run, [found])
    policy = checkpoint.load(paths[found.policy]).policy()
    codec = load_autoencoder(paths[AUTOENCODER])[0] if AUTOENCODER in paths else None
    try:
        policy = policy.to(torch.device(device))
        codec = None if codec is None else codec.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"device {device!r} ({reason})", "a device of this machine", "use --device cpu") from error
    return found.bound(policy, codec, seed=seed), found.handover
