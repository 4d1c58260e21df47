"""Jobs as tasks of a Ray cluster, each with one core.

item --> its checkpoints as bytes in Ray's object store, once each --> a task on some node --> the item, with the
folders of that node --> what the job came to

Functions, items and results are pickled by Ray, whose processes run whatever they are sent: its cluster has to be one
that strangers cannot reach, or whose token they do not have.
"""

import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import ray  # type: ignore[import-not-found]
from ray.exceptions import RayError, RayTaskError  # type: ignore[import-not-found]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # type: ignore[import-not-found]
from typing_extensions import override

from segue.errors import SpecError, WorkerError
from segue.lab import cells
from segue.lab.cluster.carried import packed, unpacked
from segue.lab.processes import Answer, Done, Executor, attempted

AGAIN = 3
"""How often a job is begun once more whose process or node is lost."""
PATIENCE = 300
"""For the first answer of a node [s]."""
_INHERITED = ("MUJOCO_GL", "PYOPENGL_PLATFORM")
"""Variables that processes of the cluster get as they are here, before they start."""


class OnRay(Executor):
    """A cluster that runs already; as many jobs at a time as it has cores.

    Args:
        place: ``ray``, the cluster that $RAY_ADDRESS names or that runs on this machine; or ``ray://host:port``.

    Raises:
        SpecError: There is none; it has no token and is not of this machine alone; or a node of it would compute
            otherwise.
    """

    def __init__(self, place: str) -> None:
        self._running: dict[Any, int] = {}
        self._carried: dict[Path, Any] = {}
        variables = {"OMP_NUM_THREADS": "1", **{name: os.environ[name] for name in _INHERITED if name in os.environ}}
        try:
            _check_reached(place)
            ray.init(
                "auto" if place == "ray" else place, runtime_env={"env_vars": variables}, log_to_driver=False,
                logging_level="ERROR",
            )  # fmt: skip
        except (OSError, RayError, RuntimeError, ValueError) as error:
            raise SpecError(
                got=f"--on {place}: {(str(error) or type(error).__name__).splitlines()[0]}",
                expected="a Ray cluster that runs there, with the token of this account, if it has one",
                change="start one with RAY_AUTH_MODE=token, `ray start --head`, or leave --on out: docs/scale.md",
            ) from error
        try:
            _check_nodes(place)
            self._facts = ray.put(_facts())
        except BaseException:
            ray.shutdown()
            raise
        self._task = ray.remote(num_cpus=1, max_retries=AGAIN)(_carried_out)

    @override
    def submit(self, key: int, function: Callable[[Any], Any], item: Any) -> None:
        fields = vars(item).items() if is_dataclass(item) else ()
        folders = {name: value for name, value in fields if isinstance(value, Path)}
        for path in folders.values():
            if path not in self._carried:
                self._carried[path] = ray.put(packed(path))
        contents = [self._carried[path] for path in folders.values()]
        self._running[self._task.remote(function, item, self._facts, tuple(folders), *contents)] = key

    @override
    def done(self) -> Iterator[Done]:
        while self._running:
            for ended in ray.wait(list(self._running), num_returns=1, timeout=1)[0]:  # or Ctrl-C would wait for it
                yield _outcome(self._running.pop(ended), ended)

    @override
    def cancel(self) -> None:
        try:
            for each in self._running:
                ray.cancel(each, force=True)
        finally:
            self._running, self._carried = {}, {}
            ray.shutdown()


def _outcome(key: int, ended: Any) -> Done:
    try:
        result, error, told = ray.get(ended)
    except RayTaskError as error:  # what could not be unpickled there, such as a module of the user's own
        return Done(key, None, RuntimeError(f"on another machine: {error.cause}"))
    except RayError as error:
        return Done(key, None, WorkerError(
            got=f"work whose process or node was lost {AGAIN + 1} times ({str(error).splitlines()[0]})",
            expected="nodes that live until it is done, and have the memory for it",
            change="fewer --episodes, or nodes with more memory per core",
        ))  # fmt: skip
    if error is not None:
        error.__cause__ = RuntimeError(f"on another machine\n{told}")
    return Done(key, result, error)


def _facts() -> dict[str, str]:
    """What a job's numbers depend on, and where it runs."""
    return {"Python": platform.python_version(), **cells.numerics()}


def _carried_out(
    function: Callable[[Any], Any],
    item: Any,
    facts: Mapping[str, str],
    names: tuple[str, ...],
    *contents: dict[str, bytes],
) -> Answer:
    """Do a job, on a node."""

    def job(item: Any) -> Any:
        _check_alike("a node that came later", _facts(), facts)
        folders = {name: unpacked(content) for name, content in zip(names, contents, strict=True)}
        return function(replace(item, **folders) if folders else item)

    return attempted(job, item)


def _check_reached(place: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself tries for minutes."""
    address = os.environ.get("RAY_ADDRESS", "") if place == "ray" else place
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _node() -> tuple[bool, dict[str, str]]:
    """Whether strangers are kept out of a node, and what its numbers depend on."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token", _facts()


def _check_nodes(place: str) -> None:
    """Raise `SpecError` for a cluster that is open to strangers, or has a node that would compute otherwise."""
    alive = {each["NodeID"]: each["NodeManagerAddress"] for each in ray.nodes() if each["Alive"]}
    asked = [
        ray.remote(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))(_node).remote()
        for node in alive
    ]
    try:
        answers = ray.get(asked, timeout=PATIENCE)
    except RayError as error:
        raise SpecError(
            got=f"--on {place}: {(str(error) or type(error).__name__).splitlines()[-1]}",
            expected="nodes that have this version of Segue, and answer",
            change="install the same packages on every node, in the environment in which `ray start` ran",
        ) from error
    ours = _facts()
    for address, (closed, theirs) in zip(alive.values(), answers, strict=True):
        if not closed and not _is_here(address):
            raise SpecError(
                got=f"--on {place}: node {address} runs without a token, so that whoever reaches it can run anything",
                expected="RAY_AUTH_MODE=token in the environment of `ray start` on every node, or this machine alone",
                change="start the cluster again with it: docs/scale.md",
            )
        _check_alike(f"node {address}", theirs, ours)


def _check_alike(what: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    differing = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    if differing:
        raise SpecError(
            got=f"{what} with " + ", ".join(f"{name} {theirs.get(name, 'none')[:12]}" for name in differing),
            expected=", ".join(f"{name} {ours.get(name, 'none')[:12]}" for name in differing) + ", as here",
            change="install the same packages on every node",
        )


def _is_here(address: str) -> bool:
    """Whether an address is one of this machine."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
