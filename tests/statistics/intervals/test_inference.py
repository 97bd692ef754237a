import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.inference import CORRELATIONS, infer
from orchestrator.statistics.intervals.over_conditions import correlation, mean_over
from orchestrator.statistics.study_design import Design


def study(conditions, seeds=3):
    generator = np.random.default_rng(0)
    condition = np.repeat(np.arange(conditions), seeds)
    values = generator.normal(size=conditions)[condition] + generator.normal(size=len(condition))
    return values, Groups(np.arange(len(condition)), condition)


def test_enough_conditions_widen_the_scope_beyond_them():
    values, groups = study(8)
    found = infer(mean_over(values, groups), groups, Design.drawn_one_by_one(groups), rows=24)
    expected = stats.ttest_1samp(values.reshape(8, 3).mean(axis=1), 0)
    assert found.scope == "for conditions like these"
    ends = found.estimate.low, found.estimate.high
    assert ends == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.estimate.p_value == pytest.approx(expected.pvalue)
    means = values.reshape(8, 3).mean(axis=1)
    extremes = [(means.sum() - one) / 7 for one in (means.max(), means.min())]
    assert found.without == pytest.approx(extremes)
    # These conditions alone, with other seeds, vary less.
    assert found.here.high - found.here.low < ends[1] - ends[0]


def test_few_conditions_limit_the_scope_to_this_grid():
    values, groups = study(4)
    found = infer(mean_over(values, groups), groups, Design.drawn_one_by_one(groups))
    assert found.scope == "in this grid"
    assert found.here is None
    of_condition = values.reshape(4, 3)
    error = np.sqrt(np.sum(of_condition.var(axis=1, ddof=1) / 3)) / 4
    assert found.spread.error == pytest.approx(error)
    assert found.without[0] < found.estimate.value < found.without[1]


def test_the_interval_stays_within_the_limits():
    values, groups = study(4)
    found = infer(mean_over(values, groups), groups, Design(), limits=(-0.1, 0.1))
    assert (found.estimate.low, found.estimate.high) == (-0.1, 0.1)


@pytest.mark.parametrize(
    ("conditions", "seeds", "reason"),
    [
        (0, 3, "undefined"),
        (1, 2, "no interval from 2 trials"),
        (2, 1, "no interval from 2 trials"),
    ],
)
def test_too_few_trials_give_a_reason(conditions, seeds, reason):
    values, groups = study(conditions, seeds)
    found = infer(mean_over(values, groups), groups, Design(), undefined="undefined")
    assert found.estimate.reason == reason
    assert (found.p_below(0), found.p_above(0)) == (1.0, 1.0)


def test_a_perfect_correlation_has_no_interval():
    values, groups = study(8)
    perfect = correlation(np.stack([values, -values]), groups)
    for design in (Design(), Design.drawn_one_by_one(groups)):
        found = infer(perfect, groups, design, CORRELATIONS)
        assert found.estimate.value == pytest.approx(-1)
        assert "no interval" in found.estimate.reason


def test_single_trials_are_pooled_with_the_smallest_condition():
    groups = Groups(np.arange(6), np.array([0, 0, 0, 1, 1, 2]))
    values = np.array([1.0, 2, 3, 5, 7, 9])
    found = infer(mean_over(values, groups), groups, Design())
    pooled = np.array([5.0, 7, 9])
    assert found.estimate.low < found.estimate.value < found.estimate.high
    assert found.spread.error > np.sqrt(np.var(values[:3], ddof=1) / 3) / 3
    assert found.spread.freedom < 2 + len(pooled) - 1
