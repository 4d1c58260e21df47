"""Policies and data sets of the Hugging Face Hub by name: `hf:USER/NAME[@REVISION][/FOLDER]`.

    hf:user/door@main --> huggingface_hub --> its cache/.../snapshots/<commit> --> read as any other folder

Only weights as safetensors, JSON, and what data sets are made of is ever downloaded: nothing that could be run. Without
a network, the copy that is there is read.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from segue.errors import DataError, MissingExtraError

PREFIX = "hf:"
POLICY, DATA = "model", "dataset"
"""What the hub calls them."""
TAKEN = {
    POLICY: ("*.json", "*.safetensors"),
    DATA: ("*.json", "*.jsonl", "*.parquet", "*.mp4", "*.npz"),
}
"""Files that are downloaded; names as the shell's."""
_NAME = re.compile(r"hf:/?/?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?(/[\w./-]+)?")


def is_name(path: str | Path) -> bool:
    """Say whether this names something of the hub, and no file."""
    return str(path).startswith(PREFIX)


def local(path: str | Path, kind: str = POLICY) -> Path:
    """Find the folder of what is named, downloaded if it is not there yet; any other path as it is.

    Raises:
        DataError: It is no name of the hub, or neither there nor in the cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    if not is_name(path):
        return Path(path)
    name, revision, folder = _parsed(path)
    hub = _huggingface_hub()
    try:
        found = hub.snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=list(TAKEN[kind]))
    except Exception as error:  # not there, not allowed, not reachable: they have no base in common
        raise DataError(
            got=f"{path}: {' '.join(str(error).split())[:200]}",
            expected=f"a {kind} of the hub, or a copy of it in the cache of huggingface_hub",
            change="check name and revision; `hf auth login` for what is private; without a network, download it first",
        ) from error
    return Path(found) / (folder or "").lstrip("/")


def pinned(path: str | Path, found: Path) -> str:
    """Name what was found with its commit, so that the same is found again; any other path as it is."""
    if not is_name(path):
        return str(path)
    name, _, folder = _parsed(path)
    commit = found.parts[found.parts.index("snapshots") + 1] if "snapshots" in found.parts else "main"
    return f"{PREFIX}{name}@{commit}{folder or ''}"


def title(path: str | Path) -> str:
    """Take the name without user, revision and folder."""
    return _parsed(path)[0].partition("/")[2]


def push(run: Path, target: str, card: str, *, private: bool = False) -> str:
    """Upload the last checkpoint of each policy of a run, weights and JSON alone, with a card; returns the pinned name.

    Args:
        run: Folder of `segue train`.
        target: hf:USER/NAME; made if it is not there.
        card: Text of its README.md.
        private: Whether others are not to see what is made.

    Raises:
        DataError: It is no name of the hub, there is no checkpoint, or the hub refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, _, folder = _parsed(target)
    if folder is not None or "@" in target:
        raise DataError(f"{target} to upload to", "hf:USER/NAME", "leave revision and folder out")
    parts = checkpoints(run)
    if not parts:
        raise DataError(f"no checkpoint in {run}", "a run of `segue train`", "pass the folder that --out named")
    hub = _huggingface_hub()
    with tempfile.TemporaryDirectory() as aside:
        for last in parts:
            there = Path(aside) / last.relative_to(run)
            there.mkdir(parents=True)
            for file in ("config.json", "policy.safetensors"):
                shutil.copyfile(last / file, there / file)
        (Path(aside) / "README.md").write_text(card, encoding="utf-8")
        try:
            hub.create_repo(name, repo_type=POLICY, private=private, exist_ok=True)
            done: Any = hub.upload_folder(repo_id=name, folder_path=aside, commit_message=f"segue push {run.name}")
        except Exception as error:  # see `local`
            raise DataError(
                got=f"{target}: {' '.join(str(error).split())[:200]}",
                expected="a name that you may write to, and a network",
                change="`hf auth login` with a token that may write, then push again",
            ) from error
    return f"{PREFIX}{name}@{done.oid}"


def checkpoints(run: Path) -> list[Path]:
    """List the last checkpoints in a run: of its policies, autoencoder and predictor."""
    found = (each.parent for each in sorted(run.glob("**/last/config.json")))
    return [each for each in found if "first-stage" not in each.parts and (each / "policy.safetensors").is_file()]


def _parsed(path: str | Path) -> tuple[str, str | None, str | None]:
    found = _NAME.fullmatch(str(path))
    if found is None:
        raise DataError(f"{path!s:.200}", "hf:USER/NAME[@REVISION][/FOLDER]", "correct the name")
    name, revision, folder = found.groups()
    if folder is not None and ".." in folder:
        raise DataError(f"{path!s:.200}", "a folder of the repository", "leave .. out")
    return name, revision, folder


def _huggingface_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "hub", "what is named hf:USER/NAME") from error
    return huggingface_hub
