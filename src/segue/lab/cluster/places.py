"""Where cells run, by the words of `--on`."""

from collections.abc import Iterator
from contextlib import contextmanager

from segue.errors import MissingExtraError, UnknownNameError
from segue.lab.processes import Executor, executor

HERE = "here"


@contextmanager
def executor_on(place: str, workers: int) -> Iterator[Executor]:
    """Give an executor; nothing of it runs afterwards, however it ends.

    Args:
        place: ``here``; ``ray``, the cluster that $RAY_ADDRESS names or that runs on this machine; or ``ray://host:port``.
        workers: Processes, where it is this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        SpecError: The cluster cannot be used.
        UnknownNameError: No such place.
    """
    if place == HERE:
        with executor(workers) as work:
            yield work
        return
    if place != "ray" and not place.startswith("ray://"):
        raise UnknownNameError("place", place, [HERE, "ray", "ray://host:port"])
    try:
        from segue.lab.cluster.on_ray import OnRay
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray", "ray", f"--on {place}") from error
    work = OnRay(place)
    try:
        yield work
    finally:
        work.cancel()
