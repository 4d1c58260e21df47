"""Checkpoints as bytes, for machines that do not see the folder in which they lie.

folder of a policy --> what running it needs --> a folder named by the SHA-256 of that, in the cache of another machine
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from segue.core import foreign
from segue.errors import CheckpointError
from segue.training.bounded import LARGEST_WEIGHTS
from segue.training.checkpoint import POLICY

CONFIGURATION = "config.json"


def packed(path: Path) -> dict[str, bytes]:
    """Read what running a checkpoint, or the last one of a run, needs; what resuming needs is far larger.

    Raises:
        CheckpointError: It is missing.
    """
    folder = path / "last" if (path / "last").exists() else path
    for name in (CONFIGURATION, POLICY):
        foreign.regular(folder / name, CheckpointError, LARGEST_WEIGHTS)
    return {name: (folder / name).read_bytes() for name in (CONFIGURATION, POLICY)}


def unpacked(content: Mapping[str, bytes]) -> Path:
    """Put a checkpoint in the cache of this machine, if it is not there, and return its folder."""
    digest = hashlib.sha256()
    for name in (CONFIGURATION, POLICY):
        digest.update(hashlib.sha256(content[name]).digest())
    home = Path(os.environ.get("SEGUE_CACHE") or Path.home() / ".cache" / "segue") / "policies"
    folder = home / digest.hexdigest()
    if _whole(folder, content):
        return folder
    home.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
    try:
        for name in (CONFIGURATION, POLICY):
            (aside / name).write_bytes(content[name])
        if folder.exists() and not _whole(folder, content):
            shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except OSError:
        if not _whole(folder, content):  # else another process was faster
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _whole(folder: Path, content: Mapping[str, bytes]) -> bool:
    try:
        return packed(folder) == content
    except (CheckpointError, OSError):
        return False
