"""Statistics of weighted trials against brute force over the rows that are kept."""

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.intervals import over_conditions
from orchestrator.statistics.intervals.bootstrap import Groups

SIZES = [2, 3, 1, 4, 2]
CONDITION = np.repeat(np.arange(5), SIZES)
EVERYTHING = np.ones((1, len(CONDITION)))
WITHOUT = (np.arange(5)[:, None] != CONDITION).astype(float)


@pytest.fixture
def study():
    """Five conditions of 1 to 4 trials of 1 to 4 rows; three columns; two strata."""
    generator = np.random.default_rng(0)
    trial = np.repeat(np.arange(12), generator.integers(1, 5, size=12))
    columns = generator.normal(size=(3, len(trial))) + generator.normal(size=(3, 12))[:, trial]
    stratum = generator.integers(0, 2, size=len(trial))
    return columns, Groups(trial, CONDITION), stratum


def shares(groups):
    return np.array(
        [
            1 / np.sum(groups.trial == trial) / SIZES[groups.condition[trial]]
            for trial in groups.trial
        ]
    )


def residual(column, controls, weight):
    root = np.sqrt(weight)
    design = np.stack(controls, axis=1) * root[:, None]
    fit = np.linalg.lstsq(design, column * root, rcond=None)[0]
    return column - np.stack(controls, axis=1) @ fit


@pytest.mark.parametrize("by_stratum", [False, True])
@pytest.mark.parametrize("controls", [0, 1])
def test_correlation_equals_weighted_least_squares(study, by_stratum, controls):
    columns, groups, stratum = study
    given = columns[: 2 + controls]
    found = over_conditions.correlation(given, groups, stratum if by_stratum else None)(
        np.concatenate([EVERYTHING, WITHOUT])
    )
    weight = shares(groups)
    for value, left_out in zip(found, [None, *range(5)], strict=True):
        kept = CONDITION[groups.trial] != left_out
        w = weight[kept]
        levels = [stratum[kept] == one for one in (0, 1)] if by_stratum else [np.ones(kept.sum())]
        held = [np.asarray(one, dtype=float) for one in levels] + [c[kept] for c in given[2:]]
        x, y = (residual(column[kept], held, w) for column in given[:2])
        expected = np.sum(w * x * y) / np.sqrt(np.sum(w * x * x) * np.sum(w * y * y))
        assert value == pytest.approx(expected, abs=1e-12)


def test_correlation_of_balanced_rows_equals_scipy():
    x, y = np.random.default_rng(1).normal(size=(2, 24))
    groups = Groups(np.repeat(np.arange(12), 2), np.repeat(np.arange(4), 3))
    found = over_conditions.correlation(np.stack([x, y]), groups)(np.ones((1, 12)))
    assert found[0] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    ranked = over_conditions.rank_correlation(np.stack([x, y]), groups)(np.ones((1, 12)))
    assert ranked[0] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_within_conditions_trial_means_are_correlated(study):
    columns, groups, _ = study
    found = over_conditions.correlation_within(columns[:2], groups)(
        np.concatenate([EVERYTHING, WITHOUT])
    )
    means = np.array([columns[:2, groups.trial == one].mean(axis=1) for one in range(12)]).T
    left = means - np.array([[m[c == CONDITION].mean() for c in CONDITION] for m in means])
    for value, left_out in zip(found, [None, *range(5)], strict=True):
        x, y = left[:, left_out != CONDITION]
        assert value == pytest.approx(x @ y / np.sqrt(x @ x * (y @ y)), abs=1e-12)


@pytest.mark.parametrize("by_stratum", [False, True])
def test_tau_compares_all_pairs_of_different_conditions(study, by_stratum):
    columns, groups, stratum = study
    x, y = np.round(columns[:2])  # With ties.
    found = over_conditions.tau(x, y, groups, stratum if by_stratum else None)(
        np.concatenate([EVERYTHING, WITHOUT])
    )
    weight, condition = shares(groups), CONDITION[groups.trial]
    for value, left_out in zip(found, [None, *range(5)], strict=True):
        agreement = untied_x = untied_y = 0.0
        rows = np.flatnonzero(condition != left_out)
        for i in rows:
            for j in rows:
                if condition[i] == condition[j] or (by_stratum and stratum[i] != stratum[j]):
                    continue
                s, t = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
                both = weight[i] * weight[j]
                agreement += both * s * t
                untied_x += both * abs(s)
                untied_y += both * abs(t)
        assert value == pytest.approx(agreement / np.sqrt(untied_x * untied_y), abs=1e-12)


def test_tau_of_single_networks_is_kendalls():
    x, y = np.round(np.random.default_rng(1).normal(size=(2, 20)), 1)
    groups = Groups(np.arange(20), np.arange(20))
    found = over_conditions.tau(x, y, groups)(np.ones((1, 20)))
    assert found[0] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("by_stratum", [False, True])
def test_weighted_ranks_equal_those_of_repeated_rows(by_stratum):
    """A trial that counts three times ranks as three equal rows do."""
    generator = np.random.default_rng(2)
    table, stratum = np.round(generator.normal(size=(2, 10)), 1), np.arange(10) % 2
    groups = Groups(np.arange(10), np.zeros(10, dtype=int))
    times = np.array([1, 2, 0, 3, 1, 1, 4, 0, 2, 1])
    rows = np.repeat(np.arange(10), times)
    inside = stratum if by_stratum else np.zeros(10, dtype=int)
    left = []
    for column in table[:, rows]:
        ranks = np.zeros(len(rows))
        for one in set(inside):
            there = inside[rows] == one
            ranks[there] = (stats.rankdata(column[there]) - 0.5) / there.sum()
            ranks[there] -= ranks[there].mean()
        left.append(ranks)
    found = over_conditions.rank_correlation(table, groups, stratum if by_stratum else None)(
        times[None].astype(float)
    )
    expected = left[0] @ left[1] / np.sqrt(left[0] @ left[0] * (left[1] @ left[1]))
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_means_of_conditions_have_equal_weights(study):
    columns, groups, _ = study
    found = over_conditions.mean_over(1e9 + columns[0], groups)(
        np.concatenate([EVERYTHING, WITHOUT])
    )
    of_trial = np.array([columns[0, groups.trial == one].mean() for one in range(12)])
    of_condition = np.array([of_trial[one == CONDITION].mean() for one in range(5)])
    expected = [np.delete(of_condition, left_out).mean() for left_out in range(5)]
    np.testing.assert_allclose(found - 1e9, [of_condition.mean(), *expected], atol=1e-6)


def test_statistics_of_constant_columns_are_undefined():
    groups = Groups(np.arange(6), np.arange(6) // 2)
    table = np.stack([np.ones(6), np.arange(6.0)])
    weights = np.ones((1, 6))
    for function in ("correlation", "correlation_within", "rank_correlation"):
        assert np.isnan(getattr(over_conditions, function)(table, groups)(weights)[0])
    assert np.isnan(over_conditions.tau(*table, groups)(weights)[0])
    assert np.isnan(over_conditions.mean_over(table[0], groups)(np.zeros((1, 6)))[0])
