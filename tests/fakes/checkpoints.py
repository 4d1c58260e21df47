"""Checkpoints to write and to compare."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

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


def trust(folder: Path) -> None:
    """Leave the hashes out, as in a checkpoint of before there were any."""
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]
    (folder / "config.json").write_text(json.dumps(config))


def as_written_before(folder: Path, layout: str) -> None:
    """Make a checkpoint one of an older layout.

    What is looked at held the cameras, and kinds were said only where there were any; before the second layout policies
    held their normalisation themselves.
    """
    file = folder / "policy.safetensors"
    if layout != "segue/policy/2":
        save_file({name.replace("units.", ""): value for name, value in load_file(file).items()}, file)
    trust(folder)
    content = json.loads((folder / "config.json").read_text()) | {"format": layout}
    if layout == "segue/flow-policy/1":
        del content["family"]
    cameras = content["policy"].pop("cameras")
    for name in ("action_kinds", "observation_kinds"):
        if not content["policy"][name]:
            del content["policy"][name]
    if content["policy"]["vision"] is not None:
        content["policy"]["vision"]["cameras"] = cameras
    (folder / "config.json").write_text(json.dumps(content))
