"""What demonstrations by scripted experts have in common: only successes are kept, and they are made once.

Each attempt draws from a random generator of its own, so that the same arguments give the same frames.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Outcome, RobotSpec
from segue.data.episodes import Episodes, load, save
from segue.errors import DataError

DEMONSTRATION = 1
"""First word of the random seed of an attempt; a simulator's ``reset`` takes another one."""

Frames = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Observations (frames, observation), each as seen when its action was chosen, and clean actions (frames, action)."""


class Stage(Protocol):
    """The part of a simulator that an expert's attempt is judged by."""

    @property
    def spec(self) -> RobotSpec:
        """The robot."""
        ...

    def start(self, generator: np.random.Generator) -> None:
        """Draw an initial state."""
        ...

    def outcome(self) -> Outcome:
        """How the attempt went."""
        ...


def cached(place: str, make: Callable[[], Episodes]) -> Episodes:
    """Demonstrations from ``$SEGUE_CACHE / place``, or ``~/.cache/segue / place``; made and put there when missing."""
    path = Path(os.environ.get("SEGUE_CACHE") or Path.home() / ".cache" / "segue") / place
    if path.is_file():
        return load(path)
    made = make()
    save(made, path)
    return made


def successes(
    stage: Stage,
    attempt: Callable[[np.random.Generator], Frames],
    *,
    episodes: int,
    attempts: int,
    seed: int,
    state_of_action: tuple[int | None, ...],
    source: str,
    change: str,
) -> Episodes:
    """The first successes of an expert.

    Args:
        stage: Started before each attempt.
        attempt: One episode from the stage's present state.
        episodes: How many successes.
        attempts: After so many, the expert fails too often.
        seed: Another one gives other episodes.
        state_of_action: Of the episodes.
        source: Of the episodes.
        change: What to do about an expert that fails.

    Raises:
        DataError: The expert fails too often.
    """
    found: list[Frames] = []
    for number in range(attempts):
        generator = np.random.default_rng([DEMONSTRATION, seed, number])
        stage.start(generator)
        frames = attempt(generator)
        if stage.outcome().success:
            found.append(frames)
        if len(found) == episodes:
            break
    else:
        raise DataError(
            f"{len(found)} successes of the scripted expert in {attempts} episodes of {stage.spec.name}",
            f"{episodes}",
            change,
        )
    return Episodes(
        observation=np.concatenate([observation for observation, _ in found]),
        action=np.concatenate([action for _, action in found]),
        ends=np.cumsum([len(action) for _, action in found], dtype=np.int64),
        dt=stage.spec.dt,
        observation_names=stage.spec.observation_names,
        action_names=stage.spec.action_names,
        state_of_action=state_of_action,
        source=source,
    )
