import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.intervals.jackknife import jackknife_weights
from orchestrator.statistics.intervals.variance import level_codes, shares, shares_left_out

ALL = np.ones((1, 7))


def by_level(factor):
    return [np.flatnonzero(factor == level) for level in np.unique(factor)]


def test_the_share_is_that_of_the_analysis_of_variance_minus_chance():
    values = np.array([1.0, 2.0, 4.0, 3.0, 6.0, 8.0, 9.0])
    factor = level_codes(["a", "a", "a", "b", "b", "b", "b"])
    first, second = values[:3], values[3:]
    total = np.sum((values - values.mean()) ** 2)
    # Of each level's mean square, n_other / n is expected between the levels.
    chance = 4 / 7 * np.var(first, ddof=1) + 3 / 7 * np.var(second, ddof=1)
    f = stats.f_oneway(first, second).statistic
    expected = f / (f + 5) - chance / total
    assert shares(values[:, None], factor, by_level(factor), ALL)[0] == pytest.approx(expected)


def test_conditions_of_a_level_do_not_count_as_chance():
    # Two levels, two conditions each, whose seeds are equal: there is no chance at all.
    factor = level_codes([0, 0, 0, 0, 1, 1, 1, 1])
    conditions = level_codes([0, 0, 1, 1, 2, 2, 3, 3])
    values = np.array([0.0, 0, 2, 2, 1, 1, 3, 3])[:, None]
    found = shares(values, factor, by_level(conditions), np.ones((1, 8)))[0]
    assert found == pytest.approx(8 * 0.5**2 / (8 * (0.5**2 + 1)))


def test_levels_that_differ_by_chance_have_zero_share_on_average():
    generator = np.random.default_rng(0)
    factor = level_codes([0, 0, 0, 1, 1, 1])
    found = [
        shares(generator.normal(size=(6, 2)), factor, by_level(factor), np.ones((1, 6)))[0]
        for _ in range(2000)
    ]
    uncorrected = [
        shares(generator.normal(size=(6, 2)), factor, [], np.ones((1, 6)))[0] for _ in range(2000)
    ]
    assert abs(np.mean(found)) < 0.02
    assert np.mean(uncorrected) > 0.15


def test_growth_common_to_all_trials_counts_in_the_total():
    factor = level_codes(["a", "a", "b", "b"])
    step = np.array([0.0, 0.0, 2.0, 2.0])[:, None]
    once = np.ones((1, 4))
    strata = by_level(factor)
    assert shares(step + np.zeros(3), factor, strata, once)[0] == pytest.approx(1)
    # Two columns 4 apart: between 4 · 1² · 2 = 8, growth 8 · 2² = 32.
    assert shares(step + np.array([0.0, 4.0]), factor, strata, once)[0] == pytest.approx(8 / 40)


def test_weights_equal_repeated_trials():
    generator = np.random.default_rng(0)
    values, factor = generator.normal(size=(5, 3)), level_codes(["a", "a", "b", "b", "b"])
    weights = np.array([[2.0, 1.0, 0.0, 3.0, 1.0]])
    repeated = np.repeat(np.arange(5), weights[0].astype(int))
    once = np.ones((1, len(repeated)))
    np.testing.assert_allclose(
        shares(values, factor, [], weights), shares(values[repeated], factor[repeated], [], once)
    )


def test_the_share_of_constant_values_is_undefined():
    factor = level_codes([1, 1, 2, 2])
    assert np.isnan(shares(np.full((4, 1), 0.1), factor, by_level(factor), np.ones((1, 4)))[0])


def test_single_trials_leave_chance_uncorrected():
    found = shares(
        np.array([[1.0], [2.0]]), level_codes([1, 2]), by_level(np.arange(2)), ALL[:, :2]
    )
    assert found[0] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(20))
def test_shares_without_each_trial_are_those_of_jackknife_weights(seed):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(2, 6, draw.integers(1, 7))
    strata = np.split(draw.permutation(sizes.sum()), np.cumsum(sizes)[:-1])
    factor = np.zeros(sizes.sum(), dtype=np.int64)
    for members in strata:
        factor[members] = draw.integers(3)
    factor = level_codes(factor.tolist())
    values = 10.0 ** draw.integers(-3, 3) * draw.normal(size=(sizes.sum(), draw.integers(1, 5)))
    if seed % 4 == 0:
        values = np.round(values)
    if seed == 19:
        values[:] = 0.1
    weights = np.vstack([np.ones((1, len(values))), jackknife_weights(strata)])
    np.testing.assert_allclose(
        shares_left_out(values, factor, strata),
        shares(values, factor, strata, weights),
        rtol=1e-9,
        atol=1e-12,
    )
