import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics import Design
from orchestrator.statistics.claims.stated_claim import (
    Compared,
    infer_statistic,
    most_that_ties_allow,
)
from orchestrator.statistics.intervals.bootstrap import Groups

GROUPS = Groups(np.arange(24), np.repeat(np.arange(8), 3))
DRAWN = Design.drawn_one_by_one(GROUPS)
PAIR = np.random.default_rng(0).normal(size=(2, 24)) + np.repeat(
    np.random.default_rng(1).normal(size=8), 3
)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("pearson", stats.pearsonr(*PAIR).statistic),
        ("spearman", stats.spearmanr(*PAIR).statistic),
        ("mean", PAIR[0].mean()),
        ("median", np.median(np.median(PAIR[0].reshape(8, 3), axis=1))),
    ],
)
def test_each_statistic_has_its_value_and_generalizes_beyond_its_conditions(statistic, expected):
    found = infer_statistic(statistic, Compared(PAIR, GROUPS), DRAWN, excluded=2)
    assert found.estimate.value == pytest.approx(expected, abs=1e-12)
    assert found.estimate.low < expected < found.estimate.high
    assert found.scope == "for conditions like these"
    assert (found.estimate.n, found.estimate.n_excluded) == (24, 2)


def test_kendall_compares_networks_of_different_conditions():
    found = infer_statistic("kendall", Compared(PAIR, GROUPS), DRAWN)
    i, j = np.triu_indices(24, 1)
    apart = GROUPS.condition[i] != GROUPS.condition[j]
    agree = np.sign(PAIR[:, i] - PAIR[:, j]).prod(axis=0)
    assert found.estimate.value == pytest.approx(agree[apart].mean())


@pytest.mark.parametrize("statistic", ["pearson", "spearman", "kendall"])
def test_given_columns_are_held_fixed(statistic):
    given = np.repeat(np.random.default_rng(1).normal(size=8), 3)[None]
    free = infer_statistic(statistic, Compared(PAIR, GROUPS), DRAWN).estimate.value
    held = infer_statistic(statistic, Compared(PAIR, GROUPS), DRAWN, given).estimate.value
    assert abs(held) < abs(free)


def test_only_rows_of_one_stratum_are_compared():
    stratum = np.arange(24) % 3
    compared = Compared(PAIR + 100 * stratum, GROUPS, stratum)
    found = infer_statistic("spearman", compared, DRAWN)
    assert abs(found.estimate.value) < 0.95
    kept = compared.select(stratum < 2)
    assert kept.table.shape == (2, 16)
    assert set(kept.stratum) == {0, 1}


@pytest.mark.parametrize(
    ("statistic", "table", "reason"),
    [
        ("mean", np.zeros((1, 0)), "no finite value"),
        ("median", np.zeros((1, 0)), "no finite value"),
        ("pearson", np.zeros((2, 2)), "2 rows; a correlation needs at least 3"),
        ("pearson", np.zeros((2, 6)), "a column is constant"),
        ("kendall", np.zeros((2, 6)), "no two networks of different conditions"),
    ],
)
def test_an_undefined_statistic_gives_a_reason(statistic, table, reason):
    groups = Groups(np.arange(table.shape[1]), np.arange(table.shape[1]) // 2)
    found = infer_statistic(statistic, Compared(table, groups), Design())
    assert found.estimate.value is None
    assert reason in found.estimate.reason


def test_a_column_of_two_values_limits_the_rank_correlation():
    x = np.repeat([0.0, 1.0], 12)
    table = np.stack([x, np.arange(24.0)])
    names = {0: "sam", 1: "margin"}
    told = most_that_ties_allow("spearman", Compared(table, GROUPS), names)
    ceiling = stats.spearmanr(*table).statistic
    assert told == (
        "With only two distinct values of sam, the correlation can only lie between "
        f"−{ceiling:.3f} and {ceiling:.3f}, for any order of the rest."
    )
    assert most_that_ties_allow("kendall", Compared(table, GROUPS), names) == ""
    assert most_that_ties_allow("pearson", Compared(PAIR, GROUPS), names) == ""
