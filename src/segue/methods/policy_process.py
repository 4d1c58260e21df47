"""The policy process of `segue run`: python -m segue.methods.policy_process SOURCE MEMORY STATUS.

SOURCE says in JSON which policy to build; the two descriptors come from `segue.links.process`:

    {"kind": "local", "run": "runs/adroit-door/seed-0", "method": "legato", "seed": 0, "device": "cpu", "threads": 1}
    {"kind": "remote", "url": "ws://127.0.0.1:8000"}        its token is the environment variable SEGUE_TOKEN
    {"kind": "openpi", "url": "ws://127.0.0.1:8000", "layout": "aloha", "robot": {...}, "method": "cross-fade",
     "prompt": "..."}                                       what a server of openpi does not say; its token as above
    {"kind": "import", "target": "my_package.policies:make", "arguments": {...}}

An imported target is called with the arguments; it returns a chunk policy, or a chunk policy and a `Handover`.
"""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from segue.core.chunk import ChunkPolicy
from segue.core.correction import Correction
from segue.core.robot import RobotSpec
from segue.core.spec import PolicySpec
from segue.errors import SpecError, said_what_to_install
from segue.links.layouts import layout as laid_out
from segue.links.process import ANSWER_TIMEOUT
from segue.links.worker import work
from segue.plan.plan import Handover

Source = dict[str, Any]
TOKEN = "SEGUE_TOKEN"
"""Environment variable of a server's token."""
WITHOUT_TORCH: Final = {"naive": Handover.CONTINUE, "naive-restart": Handover.RESTART, "sync": Handover.WAIT}
"""Methods that leave finished chunks as they are, and how these take over."""
CORRECTED: Final = ("a2c2",)
"""Methods that correct actions when they are due; others do where they are told to."""
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


def remote(url: str, prompt: str = "") -> Source:
    """A policy that a server runs, told what to do; the environment variable `TOKEN` has its token."""
    return {"kind": "remote", "url": url} | ({"prompt": prompt} if prompt else {})


def openpi(url: str, layout: str, robot: PolicySpec, method: str, prompt: str = "") -> Source:
    """A policy that a server of openpi runs, for what this robot sees and takes; its token as for `remote`."""
    return {
        "kind": "openpi", "url": url, "layout": layout, "robot": robot.said(), "method": method, "prompt": prompt,
    }  # fmt: skip


def source_for(robot: RobotSpec, dt: float, url: str, arrangement: str, method: str, prompt: str) -> Source:
    """What the policy process is told to build.

    Args:
        robot: Is driven.
        dt: Control period of the run [s].
        url: Of the server.
        arrangement: Name or file of a layout.
        method: Works around finished chunks.
        prompt: What is to be done.

    Raises:
        SpecError: There is no such layout, or it is not for this robot.
    """
    sees = sees_and_takes(robot, dt)
    laid_out(arrangement).check(sees)
    return openpi(url, arrangement, sees, method, prompt)


def sees_and_takes(robot: RobotSpec, dt: float) -> PolicySpec:
    """A policy for a robot, of chunks of one action: its server will say how long they are."""
    return PolicySpec(
        1, dt, robot.observation_names, robot.action_names, robot.cameras, robot.kinds, robot.observation_kinds
    )


def imported(target: str, **arguments: Any) -> Source:
    """A policy that a function of somebody's package makes."""
    return {"kind": "import", "target": target, "arguments": arguments}


def argv(source: Source) -> list[str]:
    """Command of the process, for `ProcessLink`."""
    return [sys.executable, "-m", "segue.methods.policy_process", json.dumps(source)]


def without_correction(source: Source) -> tuple[Source, Correction | None]:
    """Take the correction out of a source: the control loop applies it, and a process with torch has loaded it.

    Raises:
        CheckpointError: The method's policy or its correction is not in the run, or damaged.
        UnknownNameError: No such method.
    """
    method = str(source.get("method", ""))
    if source["kind"] != "local" or not (method.split(":")[0] in CORRECTED or ":correction=learned" in method):
        return source, None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        correction = apart.submit(_correction, source["run"], method).result()
    return {**source, "method": f"{method}:correction=none"}, correction


def _correction(run: str, method: str) -> Correction | None:
    with said_what_to_install("a correction"):
        from segue.methods.load import correction_of
    return correction_of(Path(run), method)


def build(source: Source) -> tuple[ChunkPolicy, Handover]:
    """The policy that a source describes, and how its chunks take over.

    Raises:
        SpecError: It describes none.
        CheckpointError: Nothing of the kind was trained.
    """
    kinds = {"local": _local, "remote": _remote, "openpi": _openpi, "import": _imported}
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


def _remote(url: str, prompt: str = "") -> tuple[ChunkPolicy, Handover]:
    from segue.links.client import RemotePolicy

    policy = RemotePolicy(url, token=os.environ.get(TOKEN), deadline=_DEADLINE, prompt=prompt)
    assert policy.card is not None  # nobody has told what another server serves
    return policy, policy.card.handover


def _openpi(url: str, layout: str, robot: Source, method: str, prompt: str) -> tuple[ChunkPolicy, Handover]:
    from segue.links.openpi import openpi_policy

    policy = openpi_policy(
        url, laid_out(layout), PolicySpec.of(robot), prompt=prompt, token=os.environ.get(TOKEN),
        deadline=_DEADLINE,
    )  # fmt: skip
    if method in WITHOUT_TORCH:
        return policy, WITHOUT_TORCH[method]
    with said_what_to_install(f"method {method!r}"):
        from segue.methods.around import continued
    return continued(policy, method)


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
