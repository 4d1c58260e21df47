"""Checkpoints to write and to compare."""

from pathlib import Path
from typing import Any

import torch

from fakes.point_mass import policy
from segue.policies.policy import Policy
from segue.training import checkpoint

RESUME = {"raw.weight": torch.arange(3.0)}


def write(run: Path, update: int = 5, seed: int = 0, **settings: Any) -> Path:
    return checkpoint.save(run, update, policy(seed=seed, **settings), {"training": {"updates": 9}}, RESUME)


def same(one: Policy, other: Policy) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


OWNERS: dict[str, Any] = {
    "mkdtemp": checkpoint.tempfile, "save_file": checkpoint, "rmtree": checkpoint.shutil, "fsync": checkpoint.os
}  # fmt: skip
