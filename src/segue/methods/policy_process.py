"""The policy process of `segue run`: python -m segue.methods.policy_process SOURCE MEMORY STATUS.

SOURCE says in JSON which policy to build; the two descriptors come from `segue.links.process`:

    {"kind": "local", "run": "runs/adroit-door/seed-0", "method": "legato", "seed": 0, "device": "cpu", "threads": 1}
    {"kind": "remote", "url": "ws://127.0.0.1:8000"}        its token is the environment variable SEGUE_TOKEN
    {"kind": "import", "target": "my_package.policies:make", "arguments": {...}}

An imported target is called with the arguments; it returns a chunk policy, or a chunk policy and a `Handover`.
"""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from segue.core.chunk import ChunkPolicy
from segue.errors import SpecError, said_what_to_install
from segue.links.process import ANSWER_TIMEOUT
from segue.links.worker import work
from segue.plan.plan import Handover

Source = dict[str, Any]
TOKEN = "SEGUE_TOKEN"
"""Environment variable of a server's token."""
_DEADLINE: Final = 0.75 * ANSWER_TIMEOUT
"""For answers of a server [s]: when it hangs, that is said, and not that the policy process hangs."""


def local(run: Path, method: str, *, seed: int = 0, device: str = "cpu", threads: int = 1) -> Source:
    """A trained policy in a run folder, under a method's strategy."""
    return {
        "kind": "local",
        "run": str(run.resolve()),
        "method": method,
        "seed": seed,
        "device": device,
        "threads": threads,
    }


def remote(url: str) -> Source:
    """A policy that a server runs; the environment variable `TOKEN` has its token."""
    return {"kind": "remote", "url": url}


def imported(target: str, **arguments: Any) -> Source:
    """A policy that a function of somebody's package makes."""
    return {"kind": "import", "target": target, "arguments": arguments}


def argv(source: Source) -> list[str]:
    """Command of the process, for `ProcessLink`."""
    return [sys.executable, "-m", "segue.methods.policy_process", json.dumps(source)]


def build(source: Source) -> tuple[ChunkPolicy, Handover]:
    """The policy that a source describes, and how its chunks take over.

    Raises:
        SpecError: It describes none.
        CheckpointError: Nothing of the kind was trained.
    """
    kinds = {"local": _local, "remote": _remote, "import": _imported}
    kind = source.get("kind")
    if kind not in kinds:
        raise SpecError(f"a policy of kind {kind!r}", f"one of {', '.join(kinds)}", "correct the description")
    fields = {key: value for key, value in source.items() if key != "kind"}
    _check_arguments(f"a {kind} policy", kinds[kind], fields)
    return kinds[kind](**fields)


def _check_arguments(what: str, make: Callable[..., Any], arguments: Any) -> None:
    """Compare arguments with what a function takes. That it is called later leaves its own mistakes their traceback."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # written in C, and silent about what it takes
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        expected = f"its arguments, {signature}"
        raise SpecError(f"{what} that cannot be made ({error})", expected, "correct them") from error


def _local(run: str, method: str, seed: int, device: str, threads: int) -> tuple[ChunkPolicy, Handover]:
    with said_what_to_install("a trained policy"):
        import torch

        from segue.methods.load import chunk_policy

    torch.set_num_threads(threads)
    return chunk_policy(Path(run), method, seed=seed, device=device)


def _remote(url: str) -> tuple[ChunkPolicy, Handover]:
    from segue.links.client import RemotePolicy

    policy = RemotePolicy(url, token=os.environ.get(TOKEN), deadline=_DEADLINE)
    assert policy.card is not None  # nobody has told what another server serves
    return policy, policy.card.handover


def _imported(target: str, arguments: dict[str, Any]) -> tuple[ChunkPolicy, Handover]:
    module, _, name = target.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(f"{target!r} ({error})", "package.module:function", "correct the target") from error
    _check_arguments(f"{target!r}", make, arguments)
    made = make(**arguments)
    return made if isinstance(made, tuple) else (made, Handover.CONTINUE)


def main() -> int:
    """Entry point of the process."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    source, memory, status = sys.argv[1:]
    return work(lambda: build(json.loads(source)), int(memory), int(status))


if __name__ == "__main__":
    sys.exit(main())
