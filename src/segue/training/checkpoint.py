"""Checkpoints: safetensors and JSON, written aside and then renamed, so that ``last`` is complete at any moment.

run/
  000500/            one folder per checkpoint
    config.json      what the policy is, how it was trained, at which update, and the SHA-256 of the files beside it
    policy.safetensors   averaged weights, normalisation, the autoencoder if there is one: all that running needs
    resume.safetensors   raw weights and the optimiser's moments: all that resuming needs beside them
  last -> 000500
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segue.core import foreign
from segue.data.kept import hub
from segue.errors import CheckpointError
from segue.policies.families import blank, description
from segue.policies.policy import Policy
from segue.training.bounded import LARGEST_WEIGHTS, built, check_described, refusing

FORMAT = "segue/policy/2"
OLDER = ("segue/flow-policy/1", "segue/policy/1")
"""Formats that are read as well, see `migrated`: of before there were families, and of before there were units."""
_IN_UNITS = re.compile(r"^(policy\.)?((?:observation|action)\.(?:mean|scale))$")
FITTING = (
    "weights that fit the configuration beside them",
    "use a folder that this version of Segue wrote, or train again",
)
"""Expectation and advice of the error for a checkpoint whose weights do not fit."""
POLICY, RESUME = "policy.safetensors", "resume.safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Content of a checkpoint folder."""

    path: Path
    info: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    def policy(self) -> Policy:
        """The policy with its averaged weights, ready to run.

        Raises:
            CheckpointError: The weights do not fit the configuration.
        """
        with refusing(self.path, *FITTING):
            for name in ("policy", "autoencoder"):
                check_described(self.info.get(name, {}))
            return built(lambda: blank(self.info), self.weights).eval().requires_grad_(False)


def save(run: Path, update: int, policy: Policy, info: Mapping[str, Any], resume: Mapping[str, Tensor]) -> Path:
    """Write a checkpoint of a policy and point ``last`` to it, see `write`."""
    content = {"format": FORMAT, "update": update, **description(policy), **info}
    return write(run, update, policy, content, resume)


def write(run: Path, update: int, module: nn.Module, content: Mapping[str, Any], resume: Mapping[str, Tensor]) -> Path:
    """Write a checkpoint and point ``last`` to it.

    Whenever the process is killed, ``last`` is a whole checkpoint: the new one or the one before.

    Args:
        run: Folder of the checkpoints.
        update: Optimiser steps done.
        module: Whose averaged weights are kept.
        content: All of config.json; its ``format`` says what the module is.
        resume: Raw weights and moments.
    """
    run.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(run)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=run))
    try:
        tensors = {POLICY: dict(module.state_dict()), RESUME: dict(resume)}
        for name, each in tensors.items():
            save_file(each, aside / name)
        content = {**content, "sha256": {name: _digest(aside / name) for name in tensors}}
        (aside / "config.json").write_text(json.dumps(content, indent=1))
        for name in (*tensors, "config.json", "."):
            _to_disk(aside / name)
        aside.chmod(0o755)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    final = run / f"{update:06d}"
    if final.exists():
        # Folders cannot be exchanged in one step: `last` steps aside to the new one, then to the old one.
        replaced = run / f".replaced-{final.name}"
        _point_to(run, aside)
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
        _point_to(run, replaced)
    aside.rename(final)
    _point_to(run, final)
    _to_disk(run)
    _remove_leftovers(run)
    return final


def _to_disk(path: Path) -> None:
    """Wait until a file or folder would survive a loss of power: what is renamed must be whole by then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _point_to(run: Path, folder: Path) -> None:
    """Make ``last`` another checkpoint, in one step of the file system."""
    link = run / f".last-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(run / "last")


def _remove_leftovers(run: Path) -> None:
    """Remove what was replaced, and what killed runs left behind."""
    last = (run / "last").resolve()
    for folder in [*run.glob(".writing-*"), *run.glob(".replaced-*")]:
        if folder.resolve() != last:
            shutil.rmtree(folder, ignore_errors=True)
    for link in run.glob(".last-*"):
        link.unlink(missing_ok=True)


def as_json(value: Any) -> Any:
    """Send a value through JSON and back (tuples become lists, dataclasses mappings)."""
    return json.loads(json.dumps(value, default=asdict))


def load(path: Path | str, expected: str = FORMAT) -> Checkpoint:
    """Read a checkpoint folder, or the last one of a run.

    Args:
        path: Folder; or hf:USER/NAME/POLICY, a policy of the hub.
        expected: Format that it must have.

    Raises:
        CheckpointError: Nothing there, truncated, damaged, or not written by Segue. For a run, its newest checkpoint
            that is whole is named.
    """
    path = hub.local(path)
    if path.is_symlink() and path.name == "last":
        path = path.parent
    last = path / "last"
    if not last.is_symlink():
        return _load(last if last.is_dir() else path, expected)
    try:
        return _load(last, expected)
    except CheckpointError as error:
        whole = newest_whole(path, expected)
        if whole is None:
            raise
        change = f"{whole} is whole: pass it, or go on from it after `ln -sfn {whole.name} {last}`"
        raise CheckpointError(error.got, error.expected, change) from error


def format_of(path: Path | str) -> str | None:
    """Read the format of a checkpoint folder, or of the last one of a run; None where it names none."""
    path = Path(path)
    last = path / "last"
    try:
        info = foreign.read_json((last if last.is_dir() else path) / "config.json", CheckpointError)
    except CheckpointError:
        return None
    return info.get("format") if isinstance(info, dict) else None


def started(run: Path) -> bool:
    """Say whether a run has a checkpoint, or had one: then it is to be resumed, or the reader told what is wrong."""
    return os.path.lexists(run / "last")


def newest_whole(run: Path, expected: str = FORMAT) -> Path | None:
    """The checkpoint of a run with the most updates that can be read, or None."""
    folders = [folder for folder in run.glob("[0-9]*") if folder.name.isdecimal()]
    for folder in sorted(folders, key=lambda folder: int(folder.name), reverse=True):
        try:
            load_resume(_load(folder, expected))
        except CheckpointError:
            continue
        return folder
    return None


def load_resume(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """Raw weights and optimiser moments of a checkpoint."""
    return _read_tensors(checkpoint.path / RESUME, checkpoint.info)


def _load(folder: Path, expected: str) -> Checkpoint:
    info = _read_info(folder, expected)
    checkpoint = Checkpoint(folder.resolve(), info, _read_tensors(folder / POLICY, info))
    return migrated(checkpoint) if expected == FORMAT else checkpoint


def migrated(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint of an older format as one of `FORMAT`; the numbers stay what they are.

    The family is named, the normalisation, which the policy held itself, stands under its units, what a policy does not
    say it does not have (pictures, kinds of dimensions), cameras stand beside its other names, and a diffusion policy
    says the noise.
    """
    info = {"family": "flow", **checkpoint.info, "format": FORMAT}
    if isinstance(policy := info.get("policy"), dict):
        said = {"predicts": "noise"} if info["family"] == "diffusion" else {}
        policy = {"vision": None, "cameras": {}, "action_kinds": [], "observation_kinds": [], **said, **policy}
        if isinstance(vision := policy["vision"], dict) and "cameras" in vision:
            policy |= {"cameras": vision["cameras"], "vision": {**vision}}
            del policy["vision"]["cameras"]
        info["policy"] = policy
    if checkpoint.info["format"] not in OLDER:
        return replace(checkpoint, info=info)
    weights = {_IN_UNITS.sub(r"\1units.\2", name): value for name, value in checkpoint.weights.items()}
    return replace(checkpoint, info=info, weights=weights)


def _read_info(folder: Path, expected: str) -> Mapping[str, Any]:
    file = folder / "config.json"
    if not file.exists():
        raise CheckpointError(
            got=f"no checkpoint in {folder}",
            expected="a run folder with `last` in it, or a checkpoint folder with config.json and policy.safetensors",
            change="pass the folder that `segue train --out` wrote",
        )
    info = foreign.read_json(file, CheckpointError)
    accepted = (FORMAT, *OLDER) if expected == FORMAT else (expected,)
    if not isinstance(info, dict) or info.get("format") not in accepted:
        found = info.get("format") if isinstance(info, dict) else None
        raise CheckpointError(
            got=f"{file} of format {str(found)[:80]!r}",
            expected=f"format {expected!r}",
            change="pass a checkpoint of that kind which Segue wrote; those of other libraries are not read here",
        )
    if type(info.get("update", 0)) is not int or not 0 <= info.get("update", 0) < 2**53:
        raise CheckpointError(f"{file} of update {str(info['update'])[:40]}", "a number of updates", "copy it again")
    return info


def _read_tensors(file: Path, info: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a file, if it is the one that the configuration names; older configurations name none."""
    hashes = info.get("sha256", {})
    wanted = hashes.get(file.name) if isinstance(hashes, Mapping) else ""
    try:
        foreign.regular(file, CheckpointError, LARGEST_WEIGHTS)
        if wanted is not None and _digest(file) != wanted:
            raise CheckpointError(
                got=f"{file} is truncated or damaged: it has another SHA-256 than config.json says",
                expected="the file as `segue train` wrote it, beside its own config.json",
                change="copy the folder again, or use an earlier checkpoint of the run",
            )
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            got=f"{file} cannot be read: {error}",
            expected="a whole safetensors file",
            change="the file is missing or truncated: copy it again, or use an earlier checkpoint of the run",
        ) from error
