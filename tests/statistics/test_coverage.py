"""95 % intervals over trials cover the truth of simulated studies; intervals over rows do not.

A study: six conditions, four seeds each, four snapshots a trial. Trials differ by much, snapshots
of a trial by little, as in real ones. The truth is that of studies with very many seeds.
"""

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import partial_pearson, pearson
from orchestrator.statistics.association.partial import partial_correlation
from orchestrator.statistics.association.ranking import kendall
from orchestrator.statistics.grid.interventions import compare_interventions
from orchestrator.statistics.grid.predictor_comparison import compare_predictors
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.mean import mean
from orchestrator.statistics.intervals.resampling import Resampling
from tests.binomial import assert_below, assert_covers, with_simulations

SEEDS, CONDITIONS, SNAPSHOTS = 4, 6, 4
FOLLOWED, OTHER = np.linspace(0, 2, CONDITIONS), np.tile([0.0, 1.0], 3)


class Study:
    """Columns of one row a snapshot: two measures x and z, the gap y, and the loss they follow."""

    def __init__(self, generator, seeds=SEEDS):
        shape = CONDITIONS, seeds
        of_trial, noise_y, noise_z, noise_loss = generator.normal(size=(4, *shape))
        condition = FOLLOWED[:, None]
        loss = condition + 0.5 * of_trial + 0.5 * noise_loss
        x = condition + of_trial
        y = 0.6 * of_trial - 0.5 * condition + 0.5 * loss + 0.7 * noise_y
        z = x + 0.8 * noise_z + OTHER[:, None]
        self.x, self.y, self.z, self.loss = (
            (one[..., None] + 0.2 * generator.normal(size=(*shape, SNAPSHOTS))).ravel()
            for one in (x, y, z, loss)
        )
        trial = np.repeat(np.arange(CONDITIONS * seeds), SNAPSHOTS)
        self.groups = Groups(trial, np.repeat(np.arange(CONDITIONS), seeds))
        self.way = np.array(["usual", "sam", "decay"])[self.groups.condition[trial] // 2]


def partial_truth(study):
    left = [
        column - np.polyval(np.polyfit(study.loss, column, 1), study.loss)
        for column in (study.x, study.y)
    ]
    return np.corrcoef(*left)[0, 1]


def advantage_truth(study):
    first, second = (stats.kendalltau(one, study.y).statistic for one in (study.x, study.z))
    return abs(first) - abs(second)


def weakening_truth(study):
    usual = study.way == "usual"
    inside = np.corrcoef(study.x[usual], study.y[usual])[0, 1]
    return abs(inside) - abs(np.corrcoef(study.x, study.y)[0, 1])


def pearson_of(study, resampling):
    return pearson(study.x, study.y, study.groups, resampling)


def kendall_of(study, resampling):
    return kendall(study.x, study.y, study.groups, resampling)


def partial_of(study, resampling):
    return partial_pearson(study.x, study.y, [study.loss], study.groups, resampling)


def mean_of(study, resampling):
    return mean(study.y, study.groups, resampling)


def advantage_of(study, resampling):
    return compare_predictors(study.x, study.z, study.y, study.groups, resampling).advantage


def weakening_of(study, resampling):
    ways = study.way.tolist()
    return compare_interventions(
        study.x, study.y, ways, "usual", study.groups, resampling
    ).weakening


@pytest.fixture(scope="module")
def with_many_seeds():
    return Study(np.random.default_rng(7), seeds=2000)


def covered_by(interval, truth, studies, seed=0):
    generator = np.random.default_rng(seed)
    covered = 0
    for number in range(studies):
        estimate = interval(Study(generator), Resampling(resamples=200, seed=number))
        covered += estimate.low <= truth <= estimate.high
    return covered


@with_simulations(100, 4000)
@pytest.mark.parametrize(
    ("interval", "truth"),
    [
        (pearson_of, lambda study: np.corrcoef(study.x, study.y)[0, 1]),
        (kendall_of, lambda study: stats.kendalltau(study.x, study.y).statistic),
        (partial_of, partial_truth),
        (mean_of, lambda study: np.mean(study.y)),
        (advantage_of, advantage_truth),
        (weakening_of, weakening_truth),
    ],
)
def test_intervals_over_trials_cover_the_truth(with_many_seeds, interval, truth, simulations):
    assert_covers(covered_by(interval, truth(with_many_seeds), simulations), simulations)


def rows_resampled(statistic):
    """The percentile interval of a bootstrap over rows, as if snapshots were independent."""

    def interval(study, resampling):
        generator = np.random.default_rng(resampling.seed)
        drawn = generator.integers(len(study.x), size=(resampling.resamples, len(study.x)))
        low, high = np.quantile(statistic(study.x[drawn], study.y[drawn]), [0.025, 0.975])
        return NaiveInterval(low, high)

    return interval


class NaiveInterval:
    def __init__(self, low, high):
        self.low, self.high = low, high


def row_correlations(x, y):
    x, y = (column - column.mean(axis=1, keepdims=True) for column in (x, y))
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


@pytest.mark.parametrize(
    ("statistic", "truth"),
    [
        (row_correlations, lambda study: np.corrcoef(study.x, study.y)[0, 1]),
        (lambda x, y: y.mean(axis=1), lambda study: np.mean(study.y)),
    ],
)
def test_a_bootstrap_over_rows_does_not_cover_the_truth(with_many_seeds, statistic, truth):
    assert_below(0.8, covered_by(rows_resampled(statistic), truth(with_many_seeds), 200), 200)


def test_fishers_interval_of_independent_rows_does_not_cover_the_truth(with_many_seeds):
    def interval(study, _):
        return partial_correlation(study.x, study.y, {"loss": study.loss}).independent

    assert_below(0.8, covered_by(interval, partial_truth(with_many_seeds), 200), 200)
