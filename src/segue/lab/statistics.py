"""How sure a number is, and which methods no other one dominates.

Two things could have come out differently: the training runs, and the initial states. They are crossed, as every run
meets the same states: episodes of one run share its weights, those of one state its difficulty, and neither are
independent. With G runs, E states and N = G E episodes, the variance of the mean has a part of each,

    V_g = sum_g (y_g - y)^2 / (G (G - 1))          of the runs' means
    V_e = sum_e (y_e - y)^2 / (E (E - 1))          of the states' means
    V_0 = sum (y_ge - y_g - y_e + y)^2 / ((G - 1) (E - 1) N)          of what neither explains, counted in both
    V   = max(V_g, V_0) + max(V_e - V_0, 0)

(two-way random effects without replicates; Searle, Casella and McCulloch 1992, chapter 4), and as many degrees of
freedom as a sum of variances with G - 1, E - 1 and (G - 1) (E - 1) of them has (Satterthwaite 1946). Of three runs that
differ little more is known than their three means: intervals are wide then, and should be.

NaN (undefined) episodes are left out, pairs of which one is NaN as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segue.errors import SpecError

Array = NDArray[np.float64]
Better = Literal["higher", "lower"]

CONFIDENCE = 0.95
_NORMAL = 1000
"""Degrees of freedom from which on Student's t is normal."""


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


NOTHING = Interval(float("nan"), float("nan"), float("nan"), 0, 0)


@dataclass(frozen=True)
class _Spread:
    """Of a mean over episodes.

    Attributes:
        variance: V of the module; NaN if one episode is all there is.
        degrees: Of freedom; infinite where nothing varies.
        runs: G.
        states: E.
    """

    variance: float
    degrees: float
    runs: int
    states: int


def _spread(sample: Sample) -> _Spread:
    """The spread of the mean of a sample without NaN; where episodes are missing, sums stand for means."""
    values, n = sample.values, len(sample.values)
    parts, means = [], []
    for group in (sample.training_seed, sample.seed):
        _, member, counts = np.unique(group, return_inverse=True, return_counts=True)
        sums, k = np.bincount(member, values - values.mean()), len(counts)
        parts.append((float(sums @ sums) * k / (k - 1) / n**2 if k > 1 else 0.0, k))
        means.append((sums / counts)[member])
    (of_runs, runs), (of_states, states) = parts
    left = values - values.mean() - means[0] - (means[1] if states < n else 0.0)
    freedom = n - runs - (states - 1 if states < n else 0)
    rest = float(left @ left) / freedom / n if freedom > 0 else 0.0
    if runs == 1:  # the states are all that could have been others
        variance, degrees = of_states if states > 1 else float("nan"), states - 1.0
        return _Spread(variance, degrees, runs, states)
    of_states = max(of_states - rest, 0.0) if states < n else 0.0
    variance = max(of_runs, rest) + of_states
    terms = [(of_runs, runs - 1), (of_states, states - 1), (rest, freedom)]
    uncertain = sum(part**2 / degrees for part, degrees in terms if degrees > 0)
    return _Spread(variance, variance**2 / uncertain if uncertain > 0 else float("inf"), runs, states)


def mean_interval(sample: Sample, *, confidence: float = CONFIDENCE) -> Interval:
    """Mean over episodes with the interval of Student's t for runs and states that are crossed, see the module.

    With one training run only the states vary, and the interval says nothing about another run. Its ends are NaN where
    one episode is all there is.

    Args:
        sample: Values of any unit.
        confidence: In (0, 1).
    """
    sample = sample.defined()
    if not len(sample.values):
        return NOTHING
    spread = _spread(sample)
    return _interval(sample, spread, spread.variance, confidence)


def _interval(sample: Sample, spread: _Spread, variance: float, confidence: float) -> Interval:
    mean = float(sample.values.mean())
    half = student_t(confidence, spread.degrees) * float(np.sqrt(variance))
    return Interval(mean, mean - half, mean + half, len(sample.values), spread.runs)


def student_t(confidence: float, degrees: float) -> float:
    """Two-sided quantile of Student's t: ``P(|T| < q) = confidence``; between whole degrees linear in their inverse."""
    if degrees >= _NORMAL:
        return NormalDist().inv_cdf((1 + confidence) / 2)
    below = int(max(degrees, 1.0))
    low, high = _student_t(confidence, below), _student_t(confidence, below + 1)
    share = (1 / below - 1 / max(degrees, 1.0)) / (1 / below - 1 / (below + 1))
    return low + share * (high - low)


@cache
def _student_t(confidence: float, degrees: int) -> float:
    """The same for whole degrees, to a relative error below 1e-4.

    With ``T = sqrt(degrees) tan(a)``, the angle a has a density proportional to ``cos(a)^(degrees - 1)``.
    """
    angle = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angle) ** (degrees - 1)
    cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(degrees) * np.tan(np.interp(confidence, cumulative / cumulative[-1], angle)))


def proportion_interval(sample: Sample, *, confidence: float = CONFIDENCE) -> Interval:
    """Share of ones, or mean of scores from 0 to 1, with Wilson's score interval for as many episodes as it is worth.

    Wilson (1927) keeps inside of [0, 1], and its coverage near the ends. With V and the degrees of freedom of the
    module, the mean is worth ``p (1 - p) / V`` independent successes and failures, and the quantile is Student's.
    Where all agree there is no spread to be seen: then it is worth as many as there are initial states.

    Args:
        sample: Values from 0 to 1.
        confidence: In (0, 1).

    Raises:
        SpecError: A value outside of that.
    """
    sample = sample.defined()
    n = len(sample.values)
    if n == 0:
        return NOTHING
    if sample.values.min() < 0 or sample.values.max() > 1:
        raise SpecError(
            got=f"values from {sample.values.min():g} to {sample.values.max():g}",
            expected="successes or scores, from 0 to 1",
            change="use mean_interval for other measures",
        )
    p, spread = float(sample.values.mean()), _spread(sample)
    worth, degrees = float(spread.states), float("inf")
    if spread.variance > 0:
        worth, degrees = p * (1 - p) / spread.variance, spread.degrees
    low, high = wilson(p, worth, student_t(confidence, degrees))
    return Interval(p, low, high, n, spread.runs)


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


def _differences(first: Sample, second: Sample) -> Sample:
    first, second = paired(first, second)
    return Sample(first.values - second.values, first.training_seed, first.seed)


def mean_difference(first: Sample, second: Sample, *, confidence: float = CONFIDENCE) -> Interval:
    """Mean of first - second over pairs, with the interval of `mean_interval` of the differences."""
    return mean_interval(_differences(first, second), confidence=confidence)


def proportion_difference(first: Sample, second: Sample, *, confidence: float = CONFIDENCE) -> Interval:
    """Share of ones in first minus that in second over pairs, with the interval of `mean_interval` of the differences.

    Their variance is at least that of independent pairs, half a pair being added to each way in which two can come out
    (Agresti and Min 2005): a few pairs that agree are not certain.
    """
    difference = _differences(first, second)
    n = len(difference.values)
    if n == 0:
        return NOTHING
    ahead, behind = float(np.sum(difference.values > 0)), float(np.sum(difference.values < 0))
    least = (ahead + behind + 1 - (ahead - behind) ** 2 / (n + 2)) / (n + 2) ** 2
    spread = _spread(difference)
    found = _interval(difference, spread, float(np.fmax(spread.variance, least)), confidence)
    return replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0))


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
