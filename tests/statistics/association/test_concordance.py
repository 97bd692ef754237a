import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.concordance import Compared
from orchestrator.statistics.intervals.bootstrap import Groups


def rows(seed, n=240, trials=60, conditions=15, ties=0):
    """Rows of trials, correlated within trials and conditions; some trials have no row."""
    draw = np.random.default_rng(seed)
    condition = draw.integers(0, conditions, trials)
    trial = draw.integers(0, trials, n)
    common = draw.normal(size=conditions)[condition][trial] + draw.normal(size=trials)[trial]
    columns = np.stack([common + draw.normal(size=n) for _ in range(2)])
    if ties:
        columns = np.round(columns * ties) / ties
    return columns, Groups(trial, condition), draw.integers(0, 3, n)


def brute_force(compared, weights):
    """τ from every pair of rows, one by one."""
    found = []
    groups = compared.groups
    for row in weights:
        s = u = v = 0.0
        for i, one in enumerate(groups.trial):
            for j, other in enumerate(groups.trial):
                same = groups.condition[one] == groups.condition[other]
                if i == j or compared.stratum[i] != compared.stratum[j]:
                    continue
                if compared.across and same:
                    continue
                weight = row[one] * row[other] * compared.share[one] * compared.share[other]
                sign_x = np.sign(compared.x[i] - compared.x[j])
                sign_y = np.sign(compared.y[i] - compared.y[j])
                s += weight * sign_x * sign_y
                u += weight * (1 if compared.variant == "a" else abs(sign_x))
                v += weight * (1 if compared.variant == "a" else abs(sign_y))
        found.append(s / np.sqrt(u * v) if u > 1e-9 and v > 1e-9 else np.nan)
    return np.array(found)


@pytest.mark.parametrize("variant", ["a", "b"])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("ties", [0, 2])
def test_matrices_pairs_and_sorting_give_tau_of_all_pairs(variant, across, ties, monkeypatch):
    columns, groups, stratum = rows(1, n=70, trials=24, conditions=8, ties=ties)
    share = np.random.default_rng(2).random(groups.trials)
    compared = Compared.of(
        columns, groups, stratum=stratum, share=share, across=across, variant=variant
    )
    weights = np.ones((6, groups.trials))
    weights[1, groups.condition == 3] = 0
    weights[2, 5], weights[2, 7] = 0, 2
    weights[3, groups.condition < 3] = 0
    weights[4, 2] = 0.5
    weights[5, 0] = 0
    expected = brute_force(compared, weights)
    np.testing.assert_allclose(compared.tau()(weights), expected, atol=1e-12)
    np.testing.assert_allclose(compared.tau(most_dense=0)(weights), expected, atol=1e-12)
    monkeypatch.setattr("orchestrator.statistics.association.concordance.FEW_ROWS", 0)
    np.testing.assert_allclose(compared.tau(most_dense=0)(weights), expected, atol=1e-12)


def test_tau_of_single_rows_is_scipys():
    draw = np.random.default_rng(3)
    columns = np.round(draw.normal(size=(2, 3000)) + draw.normal(size=3000), 1)
    each = np.arange(3000)
    value, _ = Compared.of(columns, Groups(each, each)).with_value()
    assert value == pytest.approx(stats.kendalltau(*columns).statistic, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0])
def test_linearized_resamples_spread_like_exact_ones(seed, strength):
    draw = np.random.default_rng([seed, int(strength)])
    trials = 800
    condition = np.arange(trials) // 4
    common = draw.normal(size=200)[condition] + draw.normal(size=trials)
    columns = np.stack([strength * common + draw.normal(size=trials) for _ in range(2)])
    groups = Groups(np.arange(trials), condition)
    weights = groups.weights(400)
    compared = Compared.of(columns, groups)
    exact, linear = compared.tau()(weights), compared.tau(most_dense=0)(weights)
    # The error of a standard deviation from 400 resamples is 3.5 %.
    assert np.std(linear) == pytest.approx(np.std(exact), rel=0.035)
    assert np.corrcoef(exact, linear)[0, 1] > 0.98


def test_without_pairs_there_is_no_tau():
    columns, groups, _ = rows(4)
    tied = columns.copy()
    tied[0] = 1.0
    alone = Groups(groups.trial, np.zeros(groups.trials, dtype=np.int64))
    weights = np.ones((2, groups.trials))
    weights[1, :40] = 2.0
    for most_dense in (0, 1000):
        assert np.isnan(Compared.of(tied, groups).tau(most_dense)(weights)).all()
        share = np.full(groups.trials, 1 / 3)
        across = Compared.of(columns, alone, share=share, across=True)
        assert np.isnan(across.tau(most_dense)(weights)).all()
