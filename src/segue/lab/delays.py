"""Inference delays of a virtual-time evaluation, in control steps."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.errors import DataError, UnknownNameError
from segue.trace.file import is_trace, read
from segue.trace.measures import latencies


class DelayModel(Protocol):
    """Draws how many steps an inference takes."""

    @property
    def typical(self) -> int:
        """What a robot would have measured before the start [steps]."""
        ...

    def draw(self, rng: np.random.Generator) -> int:
        """Delay of the next inference [steps]."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Every inference takes the same number of steps."""

    steps: int

    @property
    def typical(self) -> int:
        """The one delay."""
        return self.steps

    def draw(self, rng: np.random.Generator) -> int:
        """Always ``steps``."""
        return self.steps


@dataclass(frozen=True)
class Jitter:
    """Uniform in ``[steps - spread, steps + spread]``, at least 0."""

    steps: int
    spread: int

    @property
    def typical(self) -> int:
        """The middle."""
        return self.steps

    def draw(self, rng: np.random.Generator) -> int:
        """Uniform integer."""
        return max(int(rng.integers(self.steps - self.spread, self.steps + self.spread + 1)), 0)


@dataclass(frozen=True)
class HeavyTail:
    """Mostly ``steps``, with geometric outliers: a busy network or a loaded machine.

    Attributes:
        steps: Usual delay.
        share: Probability of an outlier.
        mean_extra: Mean of what an outlier adds [steps].
    """

    steps: int
    share: float = 0.1
    mean_extra: float = 6.0

    @property
    def typical(self) -> int:
        """The usual delay."""
        return self.steps

    def draw(self, rng: np.random.Generator) -> int:
        """Usual delay, or an outlier."""
        outlier = rng.random() < self.share
        extra = int(rng.geometric(1 / self.mean_extra))
        return self.steps + (extra if outlier else 0)


@dataclass(frozen=True)
class Scaled:
    """Another model's delays on a machine, or under a method, that takes ``factor`` times as long; rounded.

    RTC's guided step costs about two plain ones: on the same hardware its delay is twice as long.
    """

    model: DelayModel
    factor: float

    @property
    def typical(self) -> int:
        """The other model's, scaled."""
        return round(self.model.typical * self.factor)

    def draw(self, rng: np.random.Generator) -> int:
        """The other model's, scaled."""
        return round(self.model.draw(rng) * self.factor)


@dataclass(frozen=True)
class Recorded:
    """Delays drawn from a recorded trace."""

    steps: tuple[int, ...]

    @property
    def typical(self) -> int:
        """The median."""
        return int(np.median(self.steps))

    def draw(self, rng: np.random.Generator) -> int:
        """One of the recorded delays."""
        return self.steps[int(rng.integers(len(self.steps)))]

    @classmethod
    def from_file(cls, path: Path, dt: float) -> "Recorded":
        """Read latencies as control steps (rounded up): of a trace, or in seconds, one per line."""
        if is_trace(path):
            return cls._of(_trace_latencies(path), dt)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # an empty file is refused below
                seconds = np.loadtxt(foreign.text(path).splitlines(), ndmin=1)
        except ValueError as error:
            raise DataError(
                got=f"{path}: {error}", expected="one latency in seconds per line", change="fix or replace the file"
            ) from error
        if seconds.ndim > 1 or seconds.size == 0 or not np.isfinite(seconds).all() or (seconds < 0).any():
            raise DataError(
                got=f"{path} with values of shape {seconds.shape}, or not all finite and >= 0",
                expected="one latency in seconds per line",
                change="remove what is not a latency",
            )
        return cls._of(seconds, dt)

    @classmethod
    def _of(cls, seconds: NDArray[np.float64], dt: float) -> "Recorded":
        steps = np.ceil(seconds / dt - 1e-6)  # 0.07 s at 0.01 s are 7 steps, not the 8 that rounding errors make of it
        return cls(tuple(int(value) for value in steps))


def _trace_latencies(path: Path) -> NDArray[np.float64]:
    seconds = latencies(read(path))
    if seconds.size == 0:
        raise DataError(
            got=f"{path}: a trace with no second inference that was answered",
            expected="answers after the first one, which warms up",
            change="record a longer run",
        )
    return seconds


def delay_model(kind: str, steps: int) -> DelayModel:
    """Delay model by name around a usual delay: ``fixed``, ``jitter`` (a quarter up and down), ``heavy-tail``."""
    models: dict[str, DelayModel] = {
        "fixed": Fixed(steps),
        "jitter": Jitter(steps, max(steps // 4, 1)),
        "heavy-tail": HeavyTail(steps),
    }
    if kind not in models:
        raise UnknownNameError("delay model", kind, models)
    return models[kind]


def parse_factors(text: str) -> dict[str, float]:
    """Factors on the delay per method from a list such as ``rtc=2.1,rtc:clip=10=2.1``; an empty text has none."""
    factors = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.rpartition("=")
        try:
            factors[name.strip()] = float(value)
        except ValueError:
            factors[name.strip()] = float("nan")
        if not 0 < factors[name.strip()] < float("inf"):
            raise DataError(
                got=f"{part!r} in {text!r}",
                expected="method=factor with a factor above 0, such as rtc=2.1",
                change="`make bench` prints the factors of this machine",
            )
    return factors


def parse_delays(text: str) -> Sequence[int]:
    """Delays from a comma-separated list such as ``0,4,8,12`` [steps]; a repeated one counts once.

    Raises:
        DataError: Not whole steps of at least 0.
    """
    try:
        delays = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise DataError(
            got=f"delays {text!r}", expected="whole control steps such as 0,4,8,12", change="separate with commas"
        ) from error
    if min(delays) < 0:
        raise DataError(got=f"delays {text!r}", expected="steps of at least 0", change="remove the negative ones")
    return list(dict.fromkeys(delays))
