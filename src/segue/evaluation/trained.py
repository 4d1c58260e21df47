"""A trained policy under a method, as the chunk policy that a robot or a server runs."""

from pathlib import Path

import torch

from segue.errors import SpecError
from segue.evaluation.methods import method
from segue.evaluation.sweep import policies_of
from segue.policies.chunk_policy import ContinuingPolicy
from segue.runtime.plan import Handover
from segue.training import checkpoint


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
    policy = checkpoint.load(policies_of(run, [found])[found.policy]).policy()
    try:
        policy = policy.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"device {device!r} ({reason})", "a device of this machine", "use --device cpu") from error
    return ContinuingPolicy(policy, found.strategy, seed=seed), found.handover
