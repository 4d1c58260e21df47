"""A pool of processes that does everything in this one, so that tests can replace what the work calls."""

from typing import Any


class PoolHere:
    """In the place of `segue.lab.processes.pool`."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.map = map

    def __enter__(self) -> "PoolHere":
        return self

    def __exit__(self, *_: object) -> None:
        pass
