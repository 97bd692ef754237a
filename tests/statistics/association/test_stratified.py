import itertools

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import pearson
from orchestrator.statistics.association.ranking import kendall
from orchestrator.statistics.association.stratified import stratified_correlation
from orchestrator.statistics.intervals.bootstrap import Groups

TRIALS, STAGES = 9, 4


@pytest.fixture
def along():
    """Both columns grow along training; inside a stage they are opposed."""
    generator = np.random.default_rng(3)
    quality = generator.normal(size=TRIALS)
    stage = np.tile(np.arange(STAGES), TRIALS)
    trial = np.repeat(np.arange(TRIALS), STAGES)
    noise = generator.normal(size=(2, TRIALS * STAGES)) * 0.2
    x = 10.0 * stage + quality[trial] + noise[0]
    y = 10.0 * stage - quality[trial] + noise[1]
    return x, y, stage, Groups.of(trial.tolist(), (trial // 3).tolist())


@pytest.mark.parametrize("statistic", ["pearson", "spearman", "kendall"])
def test_a_trend_along_training_creates_no_correlation(along, statistic):
    x, y, stage, groups = along
    assert pearson(x, y, groups).value > 0.9
    found = stratified_correlation(x, y, stage, groups, statistic)
    assert found.value < -0.6
    assert found.low < found.value < found.high < 0
    assert (found.n, found.n_groups, found.n_excluded) == (len(x), TRIALS, 0)


def test_kendall_counts_the_pairs_within_each_stratum(along):
    x, y, stage, groups = along
    x, y = x.round(), y.round()  # ties
    pairs = [(i, j) for i, j in itertools.combinations(range(len(x)), 2) if stage[i] == stage[j]]
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    expected = sum(a * b for a, b in signs) / np.sqrt(
        sum(abs(a) for a, _ in signs) * sum(abs(b) for _, b in signs)
    )
    found = stratified_correlation(x, y, stage, groups, "kendall")
    assert found.value == pytest.approx(expected, abs=1e-15)


def test_one_stratum_gives_the_plain_statistic(along):
    x, y, _, groups = along
    one = np.zeros(len(x), dtype=np.int64)
    for statistic, plain in (("pearson", pearson), ("kendall", kendall)):
        found = stratified_correlation(x, y, one, groups, statistic)
        expected = plain(x, y, groups)
        assert found.value == pytest.approx(expected.value, abs=1e-12)
        assert found.low == pytest.approx(expected.low, abs=1e-9)
    ranked = stratified_correlation(x, y, one, groups, "spearman")
    assert ranked.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_pearson_removes_the_mean_of_each_stratum(along):
    x, y, stage, groups = along
    left = [c - np.array([c[stage == s].mean() for s in stage]) for c in (x, y)]
    found = stratified_correlation(x, y, stage, groups, "pearson")
    assert found.value == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-12)


def test_single_and_nonfinite_rows_are_counted(along):
    x, y, stage, groups = along
    stage = stage.copy()
    stage[0], x[1], y[2] = 99, np.nan, np.inf
    found = stratified_correlation(x, y, stage, groups)
    assert (found.n, found.n_excluded) == (len(x) - 3, 3)


def test_strata_without_pairs_give_a_reason():
    groups = Groups.of(range(4), [0, 0, 1, 1])
    for statistic in ("pearson", "spearman", "kendall"):
        found = stratified_correlation([1, 2, 3, 4], [1, 2, 3, 4], np.arange(4), groups, statistic)
        assert found.value is None
        assert found.n_excluded == 4
        assert "at least" in found.reason


def test_a_column_constant_within_strata_has_no_correlation():
    stratum = np.repeat([0, 1], 3)
    groups = Groups.of(range(6), [0, 0, 1, 1, 2, 2])
    x, y = np.repeat([1.0, 2.0], 3), np.arange(6.0)
    for statistic in ("pearson", "spearman", "kendall"):
        found = stratified_correlation(x, y, stratum, groups, statistic)
        assert found.value is None
        assert found.reason
