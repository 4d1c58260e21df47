"""Work for executors, in a module of its own that processes import in a moment."""

import os
import signal
import time
from pathlib import Path


def told(seconds: float) -> int:
    print(os.getpid(), flush=True)
    time.sleep(seconds)
    return os.getpid()


def doubled(number: int) -> int:
    return 2 * number


def threads(_: object) -> int:
    import torch

    return torch.get_num_threads()


def fails(error: Exception) -> None:
    raise error


class _ForeignError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fails_strangely(_: object) -> None:
    raise _ForeignError("of another", " library")


def killed_at_first(place: Path) -> int:
    """Leave a file for each time that it is begun, and survive from the second on."""
    begun = len(list(place.parent.glob(f"{place.name}-*")))
    place.with_name(f"{place.name}-{begun}").touch()
    if begun == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return begun


def killed(place: Path) -> None:
    place.with_name(f"{place.name}-{time.monotonic_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
