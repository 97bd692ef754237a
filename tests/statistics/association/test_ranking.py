import itertools

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.ranking import kendall, spearman
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
