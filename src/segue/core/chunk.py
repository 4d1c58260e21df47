"""Chunks at absolute control steps, and what continues them.

    new chunk index   0            d              known             H
                      | committed  |   overlap    |      free       |
    robot executes    the old chunk|<-- the new chunk ...

A chunk knows its ``start``; the action of step k is ``actions[k - start]``, so that the prefix of the next chunk is
a slice and the real inference delay a difference of two integers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Array
from segue.core.spec import PolicySpec
from segue.errors import SpecError, TimingError


@dataclass(frozen=True, eq=False)
class Chunk:
    """Actions of consecutive control steps.

    Attributes:
        actions: Shape (horizon, action), robot units.
        start: Absolute control step of ``actions[0]``.
    """

    actions: Array
    start: int

    def __post_init__(self) -> None:
        if self.actions.ndim != 2:
            raise SpecError(
                got=f"chunk of shape {self.actions.shape}",
                expected="two axes (horizon, action)",
                change="return one action vector per control step from the policy",
            )

    @property
    def end(self) -> int:
        """First absolute step behind the chunk."""
        return self.start + len(self.actions)

    def covers(self, step: int) -> bool:
        """Tell whether the chunk has an action for the absolute control step."""
        return self.start <= step < self.end

    def since(self, step: int) -> Array:
        """Return the actions from an absolute step on, re-indexed to it. Shape (known, action)."""
        return self.actions[max(step - self.start, 0) :] if step < self.end else self.actions[:0]


@dataclass(frozen=True, eq=False)
class Past:
    """The state at the last request and the actions since: they show how well this robot is predicted.

    Attributes:
        state: Shape (observation,), robot units.
        executed: Shape (steps, action), robot units: the plan's actions, before limits, of all steps from that request
            to this one, at most as many as a chunk has. The next prediction is made with the plan's actions, too.
    """

    state: Array
    executed: Array


@dataclass(frozen=True, eq=False)
class Continuation:
    """Tells a policy about the chunk that it is to continue.

    Attributes:
        start: Absolute control step of the new chunk's position 0.
        prefix: Shape (known, action), robot units: the executing chunk's actions from ``start`` on. Empty when there
            is nothing to continue (first chunk, after a reset).
        delay: d, the positions that will have been executed from the prefix when the new chunk takes over [steps].
        execution_horizon: s, steps executed from a chunk before the next takes over, at least d [steps].
        votes: Shape (known,): how many chunks have already spoken about each position of the prefix.
        previous: Shape (action,), robot units: the last action executed before ``start``, after limits; None at the
            start of an episode, or where it is not known.
        episode: Number of the episode: noise that is carried on through one episode begins anew in the next.
        past: What led here from the last request; None for a first one, after a pause, or where it is not known.
    """

    start: int
    prefix: Array
    delay: int
    execution_horizon: int
    votes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    previous: Array | None = None
    episode: int = 0
    past: Past | None = None

    @property
    def known(self) -> int:
        """Positions of the new chunk for which the previous chunk has an action."""
        return len(self.prefix)

    @property
    def committed(self) -> int:
        """Positions of the prefix that will have been executed when the new chunk takes over."""
        return min(self.delay, self.known)

    def ahead(self, steps: int) -> "Continuation":
        """Return the same continuation some steps of the prefix later, at most `known` steps."""
        if steps == 0:
            return self
        return replace(
            self,
            start=self.start + steps,
            prefix=self.prefix[steps:],
            delay=max(self.delay - steps, 0),
            votes=self.votes[steps:],
            previous=self.prefix[steps - 1],
            past=None,
        )


def nothing_to_continue(start: int, action: int, execution_horizon: int) -> Continuation:
    """Return the continuation of an episode's first chunk."""
    return Continuation(start, np.zeros((0, action), np.float32), 0, execution_horizon)


class ChunkPolicy(Protocol):
    """Anything that answers an observation with a chunk: a bound strategy, a server, a recording, an expert."""

    @property
    def spec(self) -> PolicySpec:
        """Says what it sees and answers."""
        ...

    def next_chunk(self, observation: Any, continuation: Continuation) -> Array:
        """Answer with actions in robot units. Shape (horizon, action).

        Args:
            observation: `Observed`: the state, shape (observation,), or for a policy with cameras an `Observation`.
            continuation: The chunk before, and how it is to be continued.
        """
        ...

    def reset(self) -> None:
        """Forget the episode."""
        ...

    def close(self) -> None:
        """Release processes, connections and files."""
        ...


@runtime_checkable
class Predicting(Protocol):
    """A chunk policy that says how well the robot does what was predicted of it."""

    @property
    def surprises(self) -> NDArray[np.float64]:
        """Surprise of each robot at the last call: above 1, nothing was predicted; NaN: nothing to compare with."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A chunk policy that says whether it has a memory; one that does not say it is taken to have one."""

    @property
    def stateless(self) -> bool:
        """Tells whether answers depend on nothing but the question, so that many robots may share it."""
        ...


@runtime_checkable
class Gathering(Protocol):
    """A chunk policy that answers several robots in one call."""

    def chunks(self, observations: Sequence[Any], continuations: Sequence[Continuation]) -> Array:
        """Answer one robot after the other with actions in robot units. Shape (robots, horizon, action).

        Args:
            observations: One for each robot, as `ChunkPolicy.next_chunk` is shown; of cameras, with the same prompt.
            continuations: One for each robot.
        """
        ...


@runtime_checkable
class Unfolding(Protocol):
    """A chunk policy that may say the first actions of a chunk before the last ones are made."""

    def parts(self, observation: Any, continuation: Continuation) -> Iterator[Array]:
        """Yield the leading actions whenever more are finished, shape (finished, action), last what `next_chunk` is.

        Args:
            observation: As `ChunkPolicy.next_chunk` is shown.
            continuation: As there.
        """
        ...


def is_stateless(policy: ChunkPolicy) -> bool:
    """Tell whether a policy says that it has no memory, see `Remembering`."""
    return isinstance(policy, Remembering) and policy.stateless is True


def surprises_of(policy: ChunkPolicy, robots: int) -> NDArray[np.float64]:
    """Return the surprise of each robot of the last call, see `Predicting`. Shape (robots,).

    NaN where the policy predicts nothing or says something else than so many numbers: the answer is worth more.
    """
    surprises = np.asarray(policy.surprises, np.float64) if isinstance(policy, Predicting) else np.zeros(0)
    return surprises if surprises.shape == (robots,) else np.full(robots, np.nan)


def surprise_of(policy: ChunkPolicy) -> float:
    """Return the surprise of the one robot of the last call, see `surprises_of`."""
    return float(surprises_of(policy, 1)[0])


def hold_last(prefix: Array, horizon: int) -> Array:
    """Extend a prefix to all positions by holding its last action. Shape (horizon, action).

    Beyond the prefix the weight is 0, so the padding steers nothing; holding rather than zeros keeps it in
    distribution (a zero in normalised units is the mean action: a kick).
    """
    if len(prefix) == 0:
        return np.zeros((horizon, prefix.shape[1]), np.float32)
    padding = np.repeat(prefix[-1:], max(horizon - len(prefix), 0), axis=0)
    return np.concatenate([prefix[:horizon], padding])


def are_real(actions: Any) -> bool:
    """Tell whether all of these are real numbers, and not words, complex numbers or objects."""
    return np.asarray(actions).dtype.kind in "fiub"


def check_whole(name: str, steps: Any) -> None:
    """Raise `SpecError` unless this is a whole number, of any size."""
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool):
        raise SpecError(f"{name} {steps!r}", "a whole number", "count in whole control steps")


def check_timing(horizon: int, delay: int, execution_horizon: int) -> None:
    """Raise `TimingError` unless ``0 <= d <= s <= H - d`` and ``s >= 1`` (arXiv 2506.07339, section 4)."""
    d, s, h = delay, execution_horizon, horizon
    if d < 0 or s < 1:
        raise TimingError(
            got=f"delay {d}, execution horizon {s}",
            expected="delay >= 0 and execution horizon >= 1",
            change="count both in whole control steps",
        )
    if d > s:
        raise TimingError(
            got=f"delay {d} > execution horizon {s}",
            expected="d <= s: a chunk must arrive before the next one is asked for",
            change=f"execute at least {d} steps of each chunk, or make inference faster",
        )
    if s > h - d:
        raise TimingError(
            got=f"execution horizon {s} > horizon {h} - delay {d}",
            expected="s <= H - d: while the next chunk is inferred, the executing one must still have actions",
            change=(f"execute at most {h - d} steps of each chunk, or " if h - d >= max(d, 1) else "")
            + f"train with a horizon of at least {s + d}",
        )
