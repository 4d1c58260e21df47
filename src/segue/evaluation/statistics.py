"""How sure a number is, and which methods no other one dominates.

Episodes come in groups: those of one training seed share its weights and are not independent. Every interval here
takes the training seed as the first thing that could have come out differently and the episode as the second. NaN
(undefined) episodes are left out, pairs of which one is NaN as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segue.errors import SpecError

Array = NDArray[np.float64]
Better = Literal["higher", "lower"]

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Sample:
    """One measure over the episodes of one method. All attributes have shape (episodes,).

    Attributes:
        values: NaN where undefined.
        training_seed: The training run that an episode's weights come from.
        seed: The episode's initial state. A pair (training seed, seed) occurs once.
    """

    values: Array
    training_seed: NDArray[np.int64]
    seed: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.values.shape == self.training_seed.shape == self.seed.shape or self.values.ndim != 1:
            raise SpecError(
                got=f"shapes {self.values.shape}, {self.training_seed.shape}, {self.seed.shape}",
                expected="values, training_seed and seed of one shape (episodes,)",
                change="give one training seed and one seed per episode",
            )
        if len(set(self.keys())) != len(self.values):
            raise SpecError(
                got="several episodes with one training seed and seed",
                expected="each pair (training seed, seed) once",
                change="make one sample per method, delay and execution horizon",
            )

    def keys(self) -> list[tuple[int, int]]:
        """(training seed, seed) of each episode."""
        return list(zip(self.training_seed.tolist(), self.seed.tolist(), strict=True))

    def defined(self) -> "Sample":
        """Without the episodes whose value is NaN."""
        return self.at(np.flatnonzero(~np.isnan(self.values)))

    def at(self, episodes: NDArray[np.integer]) -> "Sample":
        """The episodes of these indices."""
        return Sample(self.values[episodes], self.training_seed[episodes], self.seed[episodes])

    def groups(self) -> list[Array]:
        """The values of each training seed, in the order of the seeds."""
        return [self.values[self.training_seed == group] for group in np.unique(self.training_seed)]


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval, in the unit of the measure; NaN when no episode defines it.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        episodes: Episodes (or pairs) that count.
        training_seeds: Training runs that they come from.
    """

    value: float
    low: float
    high: float
    episodes: int
    training_seeds: int


def _undefined() -> Interval:
    return Interval(float("nan"), float("nan"), float("nan"), 0, 0)


def mean_interval(
    sample: Sample, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean over episodes with a percentile interval of the hierarchical bootstrap (Davison & Hinkley 1997, 3.8).

    Each resample draws training seeds with replacement, then episodes within each drawn seed. With one training seed
    only episodes vary and the interval says nothing about another training run; with two or three it is too narrow
    when runs differ much, as every bootstrap of so few groups. For 0/1 values use `proportion_interval`: resampling
    twenty successes never shows a failure.

    Args:
        sample: Values of any unit.
        confidence: In (0, 1).
        resamples: Bootstrap resamples.
        seed: Of the resampling; the same seed gives the same interval.
    """
    sample = sample.defined()
    groups = sample.groups()
    if not groups:
        return _undefined()
    counts = np.array([len(group) for group in groups])
    padded = np.zeros((len(groups), counts.max()))
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = group
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(groups), size=(resamples, len(groups)))
    size = counts[drawn]
    episode = (generator.random((*drawn.shape, counts.max())) * size[..., None]).astype(np.int64)
    kept = np.arange(counts.max()) < size[..., None]
    means = np.sum(padded[drawn[..., None], episode] * kept, axis=(1, 2)) / size.sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(sample.values.mean()), float(low), float(high), len(sample.values), len(groups))


@cache
def student_t(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t: ``P(|T| < q) = confidence``, to a relative error below 1e-4.

    With ``T = sqrt(degrees) tan(a)``, the angle a has a density proportional to ``cos(a)^(degrees - 1)``.
    """
    angle = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angle) ** (degrees - 1)
    cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(degrees) * np.tan(np.interp(confidence, cumulative / cumulative[-1], angle)))


def proportion_interval(sample: Sample, *, confidence: float = CONFIDENCE) -> Interval:
    """Share of ones with Wilson's score interval, widened for episodes that share a training run.

    Wilson (1927) keeps its coverage near 0 and 1, where a bootstrap collapses to a point. Grouping enters as the design
    effect ``D = sum_g n_g (p_g - p)^2 / ((G - 1) p (1 - p))``, the between-seed variance over the binomial one:
    where D > 1 the number of episodes becomes n / D, and the quantile is Student's with G - 1 degrees of freedom,
    because D is estimated from G seeds. Where D <= 1 (also when all episodes agree, or with one training seed) the
    seeds show no spread beyond chance and this is Wilson's interval as it stands.

    Args:
        sample: Values 0 or 1.
        confidence: In (0, 1).
    """
    sample = sample.defined()
    n, groups = len(sample.values), sample.groups()
    if n == 0:
        return _undefined()
    if not np.all(np.isin(sample.values, (0, 1))):
        raise SpecError(
            got="values other than 0 and 1",
            expected="a proportion: one 0 or 1 per episode",
            change="use mean_interval for measures that are not yes or no",
        )
    p = float(sample.values.mean())
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    if len(groups) > 1 and 0 < p < 1:
        spread = sum(len(group) * (float(group.mean()) - p) ** 2 for group in groups)
        design = spread / ((len(groups) - 1) * p * (1 - p))
        if design > 1:
            n, quantile = n / design, student_t(confidence, len(groups) - 1)
    low, high = wilson(p, n, quantile)
    return Interval(p, low, high, len(sample.values), len(groups))


def wilson(p: float, n: float, quantile: float) -> tuple[float, float]:
    """Ends of Wilson's interval: all q with ``(p - q)^2 <= quantile^2 q (1 - q) / n`` (Wilson 1927)."""
    ratio = quantile**2 / n
    centre, half = p + ratio / 2, float(np.sqrt(ratio * p * (1 - p) + ratio**2 / 4))
    return max((centre - half) / (1 + ratio), 0.0), min((centre + half) / (1 + ratio), 1.0)


def paired(first: Sample, second: Sample) -> tuple[Sample, Sample]:
    """The episodes that both samples have and define, in one order: same training seed, same initial state."""
    first, second = first.defined(), second.defined()
    where = {key: i for i, key in enumerate(second.keys())}
    pairs = [(i, where[key]) for i, key in enumerate(first.keys()) if key in where]
    indices = np.array(pairs, np.int64).reshape(-1, 2)
    return first.at(indices[:, 0]), second.at(indices[:, 1])


def mean_difference(
    first: Sample, second: Sample, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of first - second over pairs, with the interval of `mean_interval` of the differences."""
    first, second = paired(first, second)
    difference = Sample(first.values - second.values, first.training_seed, first.seed)
    return mean_interval(difference, confidence=confidence, resamples=resamples, seed=seed)


def proportion_difference(first: Sample, second: Sample, *, confidence: float = CONFIDENCE) -> Interval:
    """Share of ones in first minus that in second over pairs, by squaring and adding (Newcombe 1998, paired data).

    The distances from each share to the ends of its own interval are combined as those of correlated errors; the
    correlation is that of the pairs, 0 where one side never varies. Not of zero width when all episodes agree.
    """
    first, second = paired(first, second)
    a, b = (proportion_interval(sample, confidence=confidence) for sample in (first, second))
    if a.episodes == 0:
        return a
    varies = 0 < a.value < 1 and 0 < b.value < 1
    correlation = float(np.corrcoef(first.values, second.values)[0, 1]) if varies else 0.0

    def combined(one: float, other: float) -> float:
        return float(np.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0)))

    value = a.value - b.value
    low = value - combined(a.value - a.low, b.high - b.value)
    high = value + combined(a.high - a.value, b.value - b.low)
    return Interval(value, low, high, a.episodes, a.training_seeds)


def _losses(points: Array, better: Sequence[Better]) -> Array:
    """Points with every objective turned so that lower is better. Shape of ``points``."""
    if points.shape[-1] != len(better):
        raise SpecError(
            got=f"{points.shape[-1]} objectives and {len(better)} directions",
            expected="one direction per objective",
            change="give 'higher' or 'lower' for each column",
        )
    return points * np.array([-1.0 if direction == "higher" else 1.0 for direction in better])


def dominates(first: Array, second: Array, better: Sequence[Better]) -> bool:
    """Whether first is nowhere worse than second and somewhere better. Both (objectives,); NaN never compares."""
    one, other = _losses(first, better), _losses(second, better)
    return bool(np.all(one <= other) and np.any(one < other))


def pareto_front(points: Array, better: Sequence[Better]) -> NDArray[np.bool_]:
    """Which points no other one dominates. Shape (points,); a point with a NaN is not on the front.

    Args:
        points: Shape (points, objectives).
        better: Direction of each objective.
    """
    loss = _losses(points, better)
    nowhere_worse = np.all(loss[:, None] <= loss[None], axis=-1)
    somewhere_better = np.any(loss[:, None] < loss[None], axis=-1)
    return ~np.any(nowhere_worse & somewhere_better, axis=0) & ~np.any(np.isnan(points), axis=-1)
