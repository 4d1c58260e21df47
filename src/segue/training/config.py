"""Settings of trainings: length, learning rate, averaging, checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from segue.errors import SpecError, UnknownNameError

PRECISIONS = ("float32", "bf16")
TRACKERS = ("tensorboard", "wandb")
"""Names of accelerate's trackers that are told the curve; each is a package, and an extra of the same name."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Number and size of the optimiser steps, which every training's settings have; plain JSON.

    A training derives from it, sets the defaults, and adds what is its own.

    Attributes:
        updates: Optimiser steps.
        learning_rate: Peak of the cosine.
        warmup: Updates of linear warm-up.
        weight_decay: Of AdamW.
        seed: Of every random number. Numbers depend on the seed and the update only, so that a resumed run goes on
            exactly as it would have.
    """

    updates: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float
    seed: int = 0

    least: ClassVar[Mapping[str, int]] = {}
    """The smallest values that settings may have."""

    def __post_init__(self) -> None:
        for name, least in self.least.items():
            if getattr(self, name) < least:
                raise SpecError(f"{name} = {getattr(self, name)}", f"at least {least}", f"raise {name}")


@dataclass(frozen=True, kw_only=True)
class KeptSchedule(Schedule):
    """The schedule of a training that draws its own batches, averages the weights and keeps checkpoints.

    Attributes:
        batch: Samples per step, over all processes together: chunks, or frames.
        ema: Limit of the decay of the weights' moving average, which is what runs.
        checkpoint_every: Updates between checkpoints.
    """

    batch: int
    ema: float
    checkpoint_every: int


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How a training is carried out and watched, beside its settings; what is not as here is noted in checkpoints.

    Attributes:
        held_out: Share of the episodes that are measured and never learned from; 0 for none.
        accumulate: Parts that each batch is learned in, one after the other; each takes so much less memory.
        precision: ``float32``, or ``bf16``: what is multiplied is rounded to bfloat16, the weights are not.
        device: As torch names it; None for the GPU of the process, or the processor.
        track: Name of one of accelerate's trackers, ``tensorboard`` or ``wandb``, that is told the curve.
    """

    held_out: float = 0.0
    accumulate: int = 1
    precision: str = "float32"
    device: str | None = None
    track: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise SpecError(f"held_out = {self.held_out}", "a share from 0, below 1", "hold out 0.1, or 0 for none")
        if self.accumulate < 1:
            raise SpecError(f"accumulate = {self.accumulate}", "at least 1", "raise accumulate")
        if self.precision not in PRECISIONS:
            raise UnknownNameError("precision", self.precision, PRECISIONS)
        if self.track not in (None, *TRACKERS):
            raise UnknownNameError("tracker", str(self.track), TRACKERS)

    @property
    def noted(self) -> Mapping[str, Any] | None:
        """What decides the weights and is not as usual; None where all is."""
        usual = Conduct()
        said = {name: getattr(self, name) for name in ("held_out", "accumulate", "precision")}
        return {name: value for name, value in said.items() if value != getattr(usual, name)} or None


def own_elapsed(execution_horizon: int) -> tuple[int, int]:
    """Choose ages of own chunks in training for a robot that executes so many steps of each: as old, and younger."""
    return 4, max(16, execution_horizon)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(KeptSchedule):
    """Settings of one stage of a policy's training; checkpoints are a multiple of ``own_refresh`` updates apart.

    Attributes:
        draws: Training pairs of each observation in a batch, each with a noise and a flow time of its own. Pictures
            are encoded once for all of them.
        observation_noise: Standard deviation of the noise on encoded observations: normalised states, and what is made
            of pictures.
        own_refresh: Updates between renewals of the policy's own chunks (self-conditioning).
        own_steps: Solver steps for the policy's own chunks.
        own_elapsed: Fewest and most steps that an own chunk is old.
    """

    updates: int = 4000
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    ema: float = 0.999
    draws: int = 1
    observation_noise: float = 0.02
    own_refresh: int = 500
    own_steps: int = 3
    own_elapsed: tuple[int, int] = (4, 16)
    checkpoint_every: int = 1000

    least: ClassVar = dict.fromkeys(("updates", "batch", "draws", "own_refresh", "own_steps", "checkpoint_every"), 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.checkpoint_every % self.own_refresh:
            raise SpecError(
                got=f"checkpoint_every = {self.checkpoint_every}, own_refresh = {self.own_refresh}",
                expected="checkpoints where the policy's own chunks are renewed, so that resuming is exact",
                change=f"set checkpoint_every to a multiple of {self.own_refresh}",
            )
