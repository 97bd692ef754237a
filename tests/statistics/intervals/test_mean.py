import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.mean import mean


def test_the_interval_agrees_with_students_if_rows_are_trials():
    generator = np.random.default_rng(0)
    values = 1e6 + generator.normal(size=40)
    found = mean(values, Groups.of(range(40), [0] * 40))
    expected = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert found.value == pytest.approx(values.mean(), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.05)


def test_snapshots_of_a_trial_do_not_count_as_independent():
    generator = np.random.default_rng(1)
    of_trial = generator.normal(size=10)
    once = mean(of_trial, Groups.of(range(10), [0] * 10))
    copied = mean(np.repeat(of_trial, 20), Groups.of(np.repeat(range(10), 20).tolist(), [0] * 200))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-12)
    assert copied.n == 200


def test_nonfinite_values_are_counted():
    groups = Groups.of(range(4), [0] * 4)
    found = mean([1, np.nan, np.inf, 3], groups)
    assert (found.n, found.n_excluded, found.value) == (2, 2, 2)
    assert found.reason == "no interval from 2 trials"
    assert mean([np.nan] * 4, groups).reason == "no finite value"
