"""Policies for the policy processes of the tests, made by `segue.methods.policy_process` from their names here."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segue.core.chunk import Array, Continuation, Past
from segue.core.spec import PolicySpec
from segue.links.link import Answer, Backoff
from segue.links.process import ProcessLink
from segue.methods import policy_process
from segue.plan.plan import Handover, Request

SPEC = PolicySpec(6, 0.02, ("x", "y", "goal"), ("dx", "dy"))
CAMERAS = {"front": (3, 5), "wrist": (2, 4)}
PATIENCE = 60.0  # [s]; no test waits for it unless something is wrong


class Echo:
    """Says what it was told, and misbehaves when the first number of the observation says so."""

    def __init__(self, spec: PolicySpec = SPEC) -> None:
        self.spec, self.resets, self.closed = spec, 0, False

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        chunk = np.zeros((self.spec.horizon, 2), np.float64)
        match int(observation[0]):
            case 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case 2:
                time.sleep(PATIENCE)
            case 3:
                raise RuntimeError("no\nsuch thing")
            case 4:
                return chunk[:-1]  # type: ignore[return-value]
            case 5:
                sys.exit(7)
            case 6:
                chunk[0] = 1e300
            case _:
                chunk[0] = continuation.start, continuation.known
                chunk[1] = observation[1], continuation.delay
                chunk[2] = self.resets, -1 if continuation.previous is None else continuation.previous[0]
        return chunk  # type: ignore[return-value]

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed = True


def echo(horizon: int = 6) -> Echo:
    return Echo(PolicySpec(horizon, SPEC.dt, SPEC.observation_names, SPEC.action_names))


class Predicting(Echo):
    """Says in which episode it is and what led there, and that this is as surprising as the last number executed."""

    surprises = np.zeros(1)

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        chunk, past = super().next_chunk(observation, continuation), continuation.past
        chunk[3] = continuation.episode, -1 if past is None else len(past.executed)
        self.surprises = np.full(1, np.nan if past is None else past.executed[-1, 1])
        chunk[4:, 0] = 0 if past is None else past.state[1:]
        return chunk


def predicting() -> Predicting:
    return Predicting()


class Unfolding(Echo):
    """Says two actions first, and the others when a file is there, the last one only if nothing is to be missing."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = Path(mark)

    def parts(self, observation: Array, continuation: Continuation) -> Iterator[Array]:
        chunk = self.next_chunk(observation, continuation)
        yield chunk[:2]
        if observation[1]:  # no warm-up, which nobody waits for
            while not self.mark.exists():
                time.sleep(0.002)
        yield chunk[: -1 if observation[2] else None]


def unfolding(mark: str) -> Unfolding:
    return Unfolding(mark)


class Looking(Echo):
    """Says what it sees: the first pixel of one camera, and one pixel of the other."""

    def next_chunk(self, observation: Any, continuation: Continuation) -> Array:
        chunk = np.full((self.spec.horizon, 2), observation.pictures["front"][0, 0, 0], np.float32)
        chunk[:3, 1] = observation.pictures["wrist"][1, 2]
        return chunk


def looking() -> Looking:
    return Looking(replace(SPEC, cameras=CAMERAS))


def waiting() -> tuple[Echo, Handover]:
    return Echo(), Handover.WAIT


def broken() -> Echo:
    raise ValueError("no weights")


def mistaken() -> Echo:
    """Has a mistake of its own, which is no wrong argument."""
    return Echo(len(5))  # type: ignore[arg-type]


def lying() -> Echo:
    """Says that its chunks are longer than they are."""
    policy = Echo()
    policy.next_chunk = lambda *_: np.zeros((5, 2), np.float32)  # type: ignore[method-assign]
    return policy


def other_at_the_second_time(mark: str) -> Echo:
    """Another policy once a file exists, which the first one makes."""
    path = Path(mark)
    horizon = 7 if path.exists() else 6
    path.touch()
    return echo(horizon)


def link(target: str, **settings: object) -> ProcessLink:
    """A link to a policy of this module."""
    arguments = settings.pop("arguments", {})
    source = policy_process.imported(f"fakes.linked_policies:{target}", **arguments)  # type: ignore[arg-type]
    command = [sys.executable, "-c", _WITH_TESTS, policy_process.argv(source)[-1]]
    backoff = Backoff(first=0.01, most=0.05)
    return ProcessLink(command, **{"answer_timeout": PATIENCE, "backoff": backoff, **settings})  # type: ignore[arg-type]


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something that has to come."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError("it did not come")


@contextmanager
def running(target: str, **settings: object) -> Iterator[ProcessLink]:
    made = link(target, **settings)
    try:
        yield made
    finally:
        made.close()


def request(number: int, epoch: int = 0, known: int = 2, past: Past | None = None) -> Request:
    prefix = np.full((known, 2), 0.5, np.float32)
    previous = np.full(2, 0.25, np.float32) if known else None
    continuation = Continuation(40 + number, prefix, 1, 3, np.ones(known, np.int64), previous, epoch, past)
    return Request(epoch, number, 40 + number, continuation)


def ask(
    link: ProcessLink, number: int, behaviour: int = 0, epoch: int = 0, known: int = 2, past: Past | None = None
) -> Answer:
    link.send(request(number, epoch, known, past), np.array([behaviour, 0.125, 0], np.float32))
    return until(link.poll)


_WITH_TESTS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from segue.methods.policy_process import main
sys.exit(main())
"""
