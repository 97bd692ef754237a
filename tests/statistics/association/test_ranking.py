import itertools

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.ranking import (
    kendall,
    linear_spearman,
    spearman,
    weighted_ranks,
)
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.resampling import Resampling
from tests.statistics.references import tau_a


def test_kendalls_tau_b_corrects_for_ties():
    assert kendall([1, 1, 2, 3], [1, 2, 2, 3]).value == pytest.approx(0.8, abs=1e-15)


def test_a_tie_counts_as_zero_in_tau_a():
    assert kendall([1, 1, 2, 3], [1, 2, 2, 3], variant="a").value == pytest.approx(2 / 3)
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 4, (2, 30)).astype(float)
    assert kendall(x, y, variant="a").value == pytest.approx(tau_a(x, y), abs=1e-15)
    x, y = generator.normal(size=(2, 30))
    assert kendall(x, y, variant="a").value == pytest.approx(kendall(x, y).value, abs=1e-15)


def test_a_trial_drawn_twice_does_not_tie_with_its_copy():
    """Resamples of untied rows have equal τ_a and τ_b, so their intervals are equal."""
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(2, 12))
    groups = Groups.of(range(12), np.repeat(range(4), 3).tolist())
    with_a, with_b = (kendall(x, y, groups, variant=variant) for variant in "ab")
    assert (with_a.low, with_a.high) == pytest.approx((with_b.low, with_b.high), abs=1e-12)


@pytest.mark.parametrize("function", [kendall, spearman])
def test_rank_correlations_with_ties_equal_scipy(function):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 9, 700).astype(float)
    y = x + generator.integers(0, 9, 700)
    reference = {kendall: stats.kendalltau, spearman: stats.spearmanr}[function]
    assert function(x, y).value == pytest.approx(reference(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("function", [kendall, spearman])
def test_intervals_equal_those_of_repeated_rows(function):
    """A trial drawn twice counts as its rows written down twice."""
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 5, (2, 12)).astype(float)
    trial = np.repeat(np.arange(4), 3)
    groups = Groups.of(trial.tolist(), [0] * 12)
    reference = {kendall: stats.kendalltau, spearman: stats.spearmanr}[function]
    expected = []
    for drawn in itertools.product(range(4), repeat=3):  # k − 1 draws of k trials
        rows = np.concatenate([np.flatnonzero(trial == one) for one in drawn])
        expected.append(reference(x[rows], y[rows]).statistic)
    finest = {kendall: 2 / (12 * 11), spearman: 6 / (12 * 143)}[function]
    spread = np.std(np.arctanh(np.clip(expected, -1 + finest, 1 - finest)))
    estimate = function(x, y, groups, Resampling(resamples=20_000))
    half_width = np.arctanh(estimate.high) - np.arctanh(estimate.value)
    assert half_width == pytest.approx(stats.t.ppf(0.975, 3) * spread, rel=0.02)


def test_kendall_of_more_rows_than_one_block_equals_scipy():
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(2, 600))
    groups = Groups.of([row // 50 for row in range(600)], [row // 200 for row in range(600)])
    assert kendall(x, y, groups).value == pytest.approx(stats.kendalltau(x, y).statistic)


def test_intervals_of_independent_rows_equal_the_formulas():
    x, y = [1, 2, 3, 4, 5, 6, 7], [1, 3, 2, 4, 5, 7, 6]
    rho, tau = spearman(x, y), kendall(x, y)
    error = np.sqrt((1 + rho.value**2 / 2) / 4)
    assert np.arctanh(rho.high) == pytest.approx(np.arctanh(rho.value) + 1.959964 * error, abs=1e-5)
    error = np.sqrt(0.437 / 3)
    assert np.arctanh(tau.low) == pytest.approx(np.arctanh(tau.value) - 1.959964 * error, abs=1e-5)


@pytest.mark.parametrize("function", [kendall, spearman])
def test_constant_columns_have_no_rank_correlation(function):
    assert function([1, 1, 1], [1, 2, 3]).reason == "a column is constant"


def exact_rho(columns, weights):
    """ρ from the mid-ranks under each row of weights."""
    found = []
    for weight in weights:
        ranks = [weighted_ranks(column, weight[None])[0] for column in columns]
        products = np.cov(ranks, aweights=weight)
        found.append(products[0, 1] / np.sqrt(products[0, 0] * products[1, 1]))
    return np.array(found)


@pytest.mark.parametrize("digits", [0, 9])
@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0])
def test_linearized_spearman_spreads_like_the_exact_one(strength, digits):
    draw = np.random.default_rng([int(strength), digits])
    condition, trial = np.arange(800) // 4, np.repeat(np.arange(800), 3)
    common = (draw.normal(size=200)[condition] + draw.normal(size=800))[trial]
    columns = np.stack([strength * common + draw.normal(size=2400) for _ in range(2)]).round(digits)
    groups = Groups(trial, condition)
    weights = groups.weights(400)
    value, linear = linear_spearman(columns, groups)
    assert value == pytest.approx(stats.spearmanr(*columns).statistic, abs=1e-12)
    exact = exact_rho(columns, weights[:, trial])
    # The error of a standard deviation from 400 resamples is 3.5 %.
    assert np.std(linear(weights)) == pytest.approx(np.std(exact), rel=0.035)
    assert np.corrcoef(exact, linear(weights))[0, 1] > 0.98


def test_linearized_spearman_has_the_slope_of_the_exact_one():
    draw = np.random.default_rng(0)
    columns = draw.integers(0, 5, (2, 40)).astype(float)
    trial = np.repeat(np.arange(10), 4)
    value, linear = linear_spearman(columns, Groups(trial, np.zeros(10, dtype=np.int64)))
    weights = 1 + 1e-6 * np.eye(10)
    slope = (exact_rho(columns, weights[:, trial]) - value) / 1e-6
    np.testing.assert_allclose((linear(weights) - value) / 1e-6, slope, atol=1e-6)


def test_linearized_spearman_of_a_constant_is_undefined():
    columns = np.stack([np.ones(6), np.arange(6.0)])
    value, linear = linear_spearman(columns, Groups.of(range(6), [0] * 6))
    assert np.isnan(value)
    assert np.isnan(linear(np.ones((2, 6)))).all()


def test_the_interval_of_many_trials_is_that_of_exact_resamples(monkeypatch):
    draw = np.random.default_rng(4)
    x = draw.normal(size=1200)
    y, groups = x + draw.normal(size=1200), Groups.of(range(1200), (np.arange(1200) // 3).tolist())
    linear = spearman(x, y, groups)
    monkeypatch.setattr("orchestrator.statistics.association.ranking.MOST_DENSE", 1200)
    exact = spearman(x, y, groups)
    assert linear.value == pytest.approx(exact.value, abs=1e-12)
    widths = [np.arctanh(one.high) - np.arctanh(one.low) for one in (linear, exact)]
    assert widths[0] == pytest.approx(widths[1], rel=0.022)
    assert linear.low != exact.low
