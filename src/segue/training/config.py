"""How long and how a policy is trained."""

from dataclasses import dataclass
from typing import Protocol

from segue.errors import SpecError


class Schedule(Protocol):
    """The part of a configuration that the learning rate depends on."""

    @property
    def updates(self) -> int:
        """Optimiser steps."""
        ...

    @property
    def learning_rate(self) -> float:
        """Peak of the cosine."""
        ...

    @property
    def warmup(self) -> int:
        """Updates of linear warm-up."""
        ...


def own_elapsed(execution_horizon: int) -> tuple[int, int]:
    """How old own chunks are in training for a robot that executes so many steps of each: as old, or younger, too."""
    return 4, max(16, execution_horizon)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one stage of training; plain JSON.

    Attributes:
        updates: Optimiser steps.
        batch: Chunks per step, over all processes together.
        learning_rate: Peak of the cosine.
        warmup: Updates of linear warm-up.
        weight_decay: Of AdamW.
        ema: Limit of the decay of the weights' moving average, which is what the policy runs with.
        observation_noise: Standard deviation of the noise on encoded observations: normalised states, and what is made
            of pictures.
        own_refresh: Updates between renewals of the policy's own chunks (self-conditioning).
        own_steps: Solver steps for the policy's own chunks.
        own_elapsed: Fewest and most steps that an own chunk is old.
        checkpoint_every: Updates between checkpoints, a multiple of ``own_refresh``.
        seed: Of every random number of the stage. Numbers depend on the seed and the update only, so that a resumed
            run goes on exactly as it would have.
    """

    updates: int = 4000
    batch: int = 256
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-3
    ema: float = 0.999
    observation_noise: float = 0.02
    own_refresh: int = 500
    own_steps: int = 3
    own_elapsed: tuple[int, int] = (4, 16)
    checkpoint_every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "own_refresh", "own_steps", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SpecError(got=f"{name} = {getattr(self, name)}", expected="at least 1", change=f"raise {name}")
        if self.checkpoint_every % self.own_refresh:
            raise SpecError(
                got=f"checkpoint_every = {self.checkpoint_every}, own_refresh = {self.own_refresh}",
                expected="checkpoints where the policy's own chunks are renewed, so that resuming is exact",
                change=f"set checkpoint_every to a multiple of {self.own_refresh}",
            )
