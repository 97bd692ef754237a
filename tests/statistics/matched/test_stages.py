import numpy as np
import pytest

from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.matched.stages import POINTS, at_matched_stages, at_matched_times


def trained(ends, conditions):
    """Trials whose value is the logarithm of the time, measured at 1, 10, 100 … up to an end."""
    time = np.concatenate([10.0 ** np.arange(end + 1) for end in ends])
    trial = np.repeat(np.arange(len(ends)), [end + 1 for end in ends])
    groups = Groups.of(trial.tolist(), [conditions[t] for t in trial])
    return time, np.log10(time), groups


def test_values_are_interpolated_in_the_logarithm_of_time():
    time, value, groups = trained([3, 3, 3], [0, 0, 1])
    found = at_matched_times({"value": value, "twice": 2 * value}, time, groups)
    assert found.stages == pytest.approx(np.geomspace(1, 1000, POINTS))
    np.testing.assert_allclose(found.columns["value"], np.log10(found.stages)[found.stratum])
    np.testing.assert_allclose(found.columns["twice"], 2 * found.columns["value"])
    assert np.bincount(found.stratum).tolist() == [3] * POINTS
    assert (found.groups.trials, found.groups.conditions, found.left_out) == (3, 2, 0)


def test_times_that_too_few_trials_reach_are_left_out():
    time, value, groups = trained([3, 3, 6, 6], [0, 1, 2, 2])
    found = at_matched_times({"value": value}, time, groups, points=7)
    assert found.stages == (1, 10, 100, 1000)
    assert found.left_out == 3


def test_times_of_a_single_condition_are_left_out():
    time, value, groups = trained([2, 4, 4, 4], [0, 1, 1, 1])
    found = at_matched_times({"value": value}, time, groups, points=5)
    assert found.stages == (1, 10, 100)


def test_a_trial_counts_only_where_all_columns_are_known():
    time, value, groups = trained([2, 2, 2, 2], [0, 0, 1, 1])
    other = value.copy()
    other[groups.trial == 3] = np.nan
    other[0] = np.nan  # The first trial begins later.
    found = at_matched_times({"value": value, "other": other}, time, groups, points=3)
    assert np.bincount(found.stratum).tolist() == [3, 3]
    assert found.groups.trials == 3
    assert found.left_out == 1


def test_values_measured_only_at_the_start_give_no_stages():
    groups = Groups.of([0, 1], [0, 1])
    found = at_matched_times({"value": np.ones(2)}, np.zeros(2), groups)
    assert (found.stages, len(found.stratum), found.groups.trials) == ((), 0, 0)


def test_only_equal_stages_are_compared():
    groups = Groups.of([0, 1, 2, 0, 1, 3], [0, 0, 1, 0, 0, 1])
    stage = np.array([0.5, 0.5, 0.5, 0.1, 0.1, 0.1])
    value = np.array([1, 2, 3, 4, np.nan, 6.0])
    found = at_matched_stages({"value": value}, stage, groups)
    assert found.stages == (0.5,)
    assert found.columns["value"].tolist() == [1, 2, 3]
    assert found.left_out == 1
    assert found.groups.trials == 3
