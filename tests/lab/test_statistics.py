import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import SpecError
from segue.lab.statistics import (
    Better,
    Interval,
    Sample,
    dominates,
    mean_difference,
    mean_interval,
    paired,
    pareto_front,
    proportion_difference,
    proportion_interval,
    student_t,
    wilson,
)

Z = 1.959963984540054


def sample(groups: list[list[float]]) -> Sample:
    """One list of values per training seed."""
    return Sample(
        values=np.array([value for group in groups for value in group], np.float64),
        training_seed=np.repeat(np.arange(len(groups)), [len(group) for group in groups]),
        seed=np.array([i for group in groups for i in range(len(group))], np.int64),
    )


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def coverage(inside: list[bool]) -> float:
    return sum(inside) / len(inside)


def test_a_pair_of_seeds_occurs_once():
    with pytest.raises(SpecError, match="several episodes"):
        Sample(np.zeros(2), np.zeros(2, np.int64), np.zeros(2, np.int64))


def test_a_sample_has_one_shape():
    with pytest.raises(SpecError, match="shapes"):
        Sample(np.zeros(3), np.zeros(2, np.int64), np.zeros(2, np.int64))


def crossed(values: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of a full table (runs, states), and its degrees of freedom, from the definitions."""
    runs, states = values.shape
    whole, of_run, of_state = values.mean(), values.mean(1), values.mean(0)
    g = sum((y - whole) ** 2 for y in of_run) / (runs * (runs - 1))
    e = sum((y - whole) ** 2 for y in of_state) / (states * (states - 1))
    left = values - of_run[:, None] - of_state[None] + whole
    freedom = (runs - 1) * (states - 1)
    rest = (left**2).sum() / freedom / values.size
    variance = max(g, rest) + max(e - rest, 0)
    degrees = g**2 / (runs - 1) + max(e - rest, 0) ** 2 / (states - 1) + rest**2 / freedom
    return variance, variance**2 / degrees


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(2, 9), st.floats(0, 2), st.floats(0, 2), st.integers(0, 99))
def test_mean_interval_is_that_of_the_crossed_table(runs, states, of_runs, of_states, seed):
    rng = np.random.default_rng(seed)
    values = (
        of_runs * rng.normal(size=(runs, 1)) + of_states * rng.normal(size=states) + rng.normal(size=(runs, states))
    )
    variance, degrees = crossed(values)
    half = student_t(0.95, degrees) * math.sqrt(variance)
    assert ends(mean_interval(sample(values.tolist()))) == pytest.approx((values.mean() - half, values.mean() + half))


def test_states_of_their_own_are_not_counted_twice():
    """Runs that share no state: the runs' means, or what varies within them if that is more."""
    values = np.random.default_rng(0).normal(size=(3, 20)) + np.array([[0.0], [1.0], [2.0]])
    nested = Sample(values.ravel(), np.repeat(np.arange(3), 20), np.arange(60))
    of_runs = values.mean(1).var(ddof=1) / 3
    rest = values.var(1, ddof=1).mean() / 60
    degrees = of_runs**2 / (of_runs**2 / 2 + rest**2 / 57)
    half = student_t(0.95, degrees) * math.sqrt(of_runs)
    assert mean_interval(nested).high == pytest.approx(values.mean() + half)


def test_runs_that_do_the_same_are_worth_one():
    values = np.random.default_rng(0).normal(size=40)
    one, three = (mean_interval(sample([values.tolist()] * runs)) for runs in (1, 3))
    assert ends(three) == pytest.approx(ends(one))


def test_missing_episodes_change_an_interval_by_little():
    values = np.random.default_rng(0).normal(size=(3, 50)) + np.array([[0.0], [0.2], [0.4]])
    some = values.copy()
    some[1, 7] = some[2, 30] = math.nan
    whole, part = (mean_interval(sample(each.tolist())) for each in (values, some))
    assert part.episodes == 148
    assert ends(part) == pytest.approx(ends(whole), abs=0.1 * (whole.high - whole.low))


def test_one_episode_has_a_value_and_no_ends():
    interval = mean_interval(sample([[2.0]]))
    assert interval.value == 2.0
    assert math.isnan(interval.low)


def test_mean_interval_counts_what_is_defined():
    interval = mean_interval(sample([[1.0, math.nan, 3.0], [math.nan, math.nan]]))
    assert (interval.value, interval.episodes, interval.training_seeds) == (2.0, 2, 1)


def test_nothing_defined_gives_an_undefined_interval():
    for interval in (mean_interval(sample([[math.nan]])), proportion_interval(sample([[math.nan]]))):
        assert math.isnan(interval.value)
        assert math.isnan(interval.low)
        assert interval.episodes == 0


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-10, 10))
def test_mean_interval_moves_and_scales_with_the_values(scale, shift):
    values = np.random.default_rng(0).normal(size=(3, 10))
    one = mean_interval(sample(values.tolist()))
    other = mean_interval(sample((scale * values + shift).tolist()))
    assert other.low == pytest.approx(scale * one.low + shift, abs=1e-9)
    assert other.high == pytest.approx(scale * one.high + shift, abs=1e-9)


def test_mean_interval_of_one_run_is_student_s():
    values = np.random.default_rng(0).normal(size=20)
    half = student_t(0.95, 19) * values.std(ddof=1) / math.sqrt(20)
    assert ends(mean_interval(sample([values.tolist()]))) == pytest.approx((values.mean() - half, values.mean() + half))


def test_runs_that_differ_widen_the_interval_of_the_mean():
    noise = np.random.default_rng(0).normal(size=(4, 25))
    level = noise - noise.mean(axis=1, keepdims=True)
    apart = level + np.array([[-1.0], [-0.3], [0.3], [1.0]])
    width = [one.high - one.low for one in (mean_interval(sample(each.tolist())) for each in (level, apart))]
    assert width[1] > 1.5 * width[0]


@pytest.mark.parametrize("of_runs", [0, 0.1, 0.3, 1])
@pytest.mark.parametrize("of_states", [0, 0.3, 1])
def test_mean_interval_covers(of_runs, of_states):
    """Three runs of 40 states, whatever varies: few runs make wide intervals, not wrong ones."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(600):
        state, noise = rng.normal(0, of_states, 40), rng.normal(size=(3, 40))
        interval = mean_interval(sample((rng.normal(0, of_runs, (3, 1)) + state + noise).tolist()))
        inside.append(interval.low <= 0 <= interval.high)
    assert 0.92 <= coverage(inside) <= 0.995


def test_no_difference_is_rarely_found_clear():
    """Two methods on three runs each that differ by chance alone, as trained networks do."""
    rng = np.random.default_rng(0)
    clear = []
    for _ in range(600):
        one, other = (rng.normal(size=(3, 1)) + rng.normal(size=(3, 40)) for _ in "ab")
        interval = mean_difference(sample(one.tolist()), sample(other.tolist()))
        clear.append(interval.low > 0 or interval.high < 0)
    assert coverage(clear) <= 0.07


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, math.tan(0.95 * math.pi / 2)), (2, 0.95 * math.sqrt(2 / (1 - 0.95**2))), (1e6, Z)]
)
def test_student_t_against_closed_forms(degrees, quantile):
    assert student_t(0.95, degrees) == pytest.approx(quantile, rel=1e-4)


@given(st.floats(1, 2000), st.floats(0, 5))
def test_student_t_falls_with_its_degrees(degrees, more):
    assert student_t(0.95, degrees + more) <= student_t(0.95, degrees) * (1 + 1e-4)


@settings(deadline=None)
@given(st.integers(1, 200), st.floats(0, 1))
def test_wilson_ends_solve_the_score_equation(n, p):
    for q in wilson(p, n, Z):
        if 0 < q < 1:
            assert (p - q) ** 2 == pytest.approx(Z**2 * q * (1 - q) / n, rel=1e-6, abs=1e-12)


def test_proportion_of_all_successes_is_not_certain():
    """At p = 1 the lower end of Wilson's interval is n / (n + z^2); two runs met the same 20 states."""
    interval = proportion_interval(sample([[1.0] * 20, [1.0] * 20]))
    assert ends(interval) == pytest.approx((20 / (20 + Z**2), 1.0))


def test_proportion_of_all_failures_mirrors_that_of_all_successes():
    groups = [[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]
    one = proportion_interval(sample(groups))
    other = proportion_interval(sample([[1 - value for value in group] for group in groups]))
    assert ends(other) == pytest.approx((1 - one.high, 1 - one.low))


def test_runs_that_differ_are_the_unit_of_the_proportion():
    """Two runs of 20, all ones and all zeros: V = 1 / 4, one effective episode and t with 1 degree."""
    interval = proportion_interval(sample([[1.0] * 20, [0.0] * 20]))
    assert ends(interval) == pytest.approx(wilson(0.5, 1, math.tan(0.95 * math.pi / 2)), rel=1e-4)


def test_three_runs_that_solve_the_same_states_are_worth_one():
    solved = [1.0, 0.0] * 50
    assert ends(proportion_interval(sample([solved] * 3))) == pytest.approx(wilson(0.5, 99, student_t(0.95, 99)))


def test_one_success_more_changes_an_interval_by_little():
    """No threshold decides whether runs count as different."""
    solved = [np.arange(100) < n for n in (80, 76, 84)]
    lows = []
    for less in range(3):
        solved[1] = np.arange(100) < 76 - less
        rng = np.random.default_rng(0)
        lows.append(proportion_interval(sample([rng.permutation(each).astype(float).tolist() for each in solved])).low)
    assert np.abs(np.diff(lows)).max() < 0.03


def test_proportion_refuses_other_values():
    with pytest.raises(SpecError, match="0 to 1"):
        proportion_interval(sample([[0.5, 1.1]]))


def test_scores_have_an_interval_inside_of_their_range_and_near_that_of_the_mean():
    scores = np.random.default_rng(0).beta(4, 3, (3, 100))
    one, other = (of(sample(scores.tolist())) for of in (proportion_interval, mean_interval))
    assert ends(one) == pytest.approx(ends(other), abs=0.01)
    far = np.concatenate([scores[:2], 0.05 * scores[2:]])
    assert mean_interval(sample(far.tolist())).low < 0 < proportion_interval(sample(far.tolist())).low


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
@pytest.mark.parametrize(("groups", "correlation"), [(1, 0.0), (3, 0.0), (5, 0.0), (5, 0.03)])
def test_proportion_interval_covers(p, groups, correlation):
    """Binomial episodes whose probability varies between runs (a beta distribution) by an intraclass correlation."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        strength = 1 / correlation - 1 if correlation else math.inf
        own = rng.beta(p * strength, (1 - p) * strength, groups) if correlation else np.full(groups, p)
        interval = proportion_interval(sample((rng.random((groups, 20)) < own[:, None]).astype(float).tolist()))
        inside.append(interval.low <= p <= interval.high)
    assert coverage(inside) >= 0.92


def test_pairing_removes_what_runs_share():
    """Three policies of very different quality under two methods: one method solves ten states more with each."""
    shares = np.array([[90], [60], [30]])
    one, other = (np.arange(100) < shares - less for less in (0, 10))
    interval = proportion_difference(sample(one.astype(float).tolist()), sample(other.astype(float).tolist()))
    assert interval.value == pytest.approx(0.1)
    assert interval.low > 0.05


def test_pairs_are_matched_by_both_seeds_and_left_out_when_one_is_undefined():
    first = Sample(np.array([1.0, 2.0, 3.0, math.nan]), np.array([0, 0, 1, 1]), np.array([5, 6, 5, 6]))
    second = Sample(np.array([40.0, 30.0, 20.0, 10.0]), np.array([1, 1, 0, 2]), np.array([6, 5, 6, 5]))
    one, other = paired(first, second)
    assert one.keys() == other.keys() == [(0, 6), (1, 5)]
    np.testing.assert_array_equal(other.values - one.values, [18.0, 27.0])


def test_difference_of_shared_noise_is_certain():
    noise = np.random.default_rng(0).normal(size=(3, 10))
    interval = mean_difference(sample((noise + 0.5).tolist()), sample(noise.tolist()))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))
    assert (interval.episodes, interval.training_seeds) == (30, 3)


def test_difference_changes_sign_with_its_order():
    rng = np.random.default_rng(0)
    a, b = (sample((rng.random((3, 15)) < p).astype(float).tolist()) for p in (0.5, 0.9))
    one, other = proportion_difference(a, b), proportion_difference(b, a)
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))


def test_difference_of_two_perfect_methods_is_not_certain():
    """Half a pair is added to each way in which two episodes can come out: a variance of 1 / (n + 2)^2."""
    perfect = sample([[1.0] * 20])
    assert ends(proportion_difference(perfect, perfect)) == pytest.approx((-Z / 22, Z / 22), rel=0.1)


def test_differences_without_common_episodes_are_undefined():
    first = Sample(np.ones(2), np.zeros(2, np.int64), np.arange(2))
    second = Sample(np.ones(2), np.ones(2, np.int64), np.arange(2))
    assert math.isnan(mean_difference(first, second).value)
    assert math.isnan(proportion_difference(first, second).value)


def test_pairing_narrows_the_difference_of_correlated_proportions():
    truth = np.random.default_rng(0).random(60) < 0.5
    flipped = truth ^ (np.arange(60) % 20 == 0)
    shuffled = np.random.default_rng(1).permutation(flipped)
    first = sample([truth.astype(float).tolist()])
    width = [
        interval.high - interval.low
        for interval in (
            proportion_difference(first, sample([other.astype(float).tolist()])) for other in (flipped, shuffled)
        )
    ]
    assert width[0] < 0.6 * width[1]


def test_proportion_difference_covers():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        luck = rng.random((3, 20))
        a = (luck < 0.95).astype(float)
        b = (0.7 * luck + 0.3 * rng.random((3, 20)) < 0.8).astype(float)
        truth = 0.95 - _share_below(0.8)
        interval = proportion_difference(sample(a.tolist()), sample(b.tolist()))
        inside.append(interval.low <= truth <= interval.high)
    assert coverage(inside) >= 0.92


def _share_below(level: float) -> float:
    """P(0.7 U + 0.3 V < level) for uniform U, V and level in [0.7, 1]: one less the corner triangle."""
    return 1 - (1 - level) ** 2 / (2 * 0.7 * 0.3)


def test_pareto_front_of_a_known_set():
    points = np.array([[0.9, 3.0], [0.9, 2.0], [0.5, 1.0], [0.4, 1.0], [1.0, 5.0], [math.nan, 0.0]])
    front = pareto_front(points, ["higher", "lower"])
    np.testing.assert_array_equal(front, [False, True, True, False, True, False])


def test_equal_points_share_the_front():
    np.testing.assert_array_equal(pareto_front(np.ones((3, 2)), ["lower", "lower"]), [True] * 3)


def test_objectives_and_directions_match():
    with pytest.raises(SpecError, match="2 objectives and 1"):
        pareto_front(np.ones((3, 2)), ["lower"])


points = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12).map(lambda rows: np.array(rows, float))


@settings(deadline=None)
@given(points)
def test_the_front_is_what_nothing_dominates(rows):
    better: list[Better] = ["lower", "higher", "lower"]
    expected = [not any(dominates(other, row, better) for other in rows) for row in rows]
    np.testing.assert_array_equal(pareto_front(rows, better), expected)
    assert any(expected)


@settings(deadline=None)
@given(points)
def test_dominance_is_asymmetric_and_follows_the_direction(rows):
    better: list[Better] = ["lower"] * 3
    opposite: list[Better] = ["higher"] * 3
    first, second = rows[0], rows[-1]
    assert not (dominates(first, second, better) and dominates(second, first, better))
    assert dominates(first, second, better) == dominates(second, first, opposite)
    assert not dominates(first, first, better)
