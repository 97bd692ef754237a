import numpy as np
import pytest

from orchestrator.statistics.matched.curves import Curves, log_spaced

CURVES = Curves(
    np.array([0, 0, 0, 1, 1, 1, 2]),
    np.array([0.0, 1.0, 100.0, 10.0, 1000.0, 50.0, 5.0]),
    np.array([9.0, 0.0, 2.0, 5.0, 7.0, np.nan, 1.0]),
)


def test_interpolation_is_linear_in_the_logarithm_of_time():
    table = CURVES.at(np.array([1.0, 10.0, 100.0, 1000.0]), np.array([0, 1]))
    np.testing.assert_allclose(table[0, :3], [0, 1, 2])
    np.testing.assert_allclose(table[1, 1:], [5, 6, 7])
    assert np.isnan(table[0, 3])
    assert np.isnan(table[1, 0])


def test_the_common_range_reaches_from_the_latest_start_to_the_earliest_end():
    assert CURVES.covered(np.array([0, 1])) == (10, 100)
    assert CURVES.covered(np.array([0])) == (1, 100)
    assert CURVES.covered(np.array([1, 2])) is None
    assert CURVES.covered(np.array([3])) is None
    assert CURVES.covered(np.array([], dtype=int)) is None


def test_log_spaced_times_end_exactly_at_the_limits():
    points = log_spaced(3.0, 1000.0, 7)
    assert (points[0], points[-1]) == (3.0, 1000.0)
    assert np.ptp(np.diff(np.log(points))) == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(log_spaced(4.0, 4.0, 7), [4.0])


def test_each_trial_has_its_rows_in_order_of_time():
    draw = np.random.default_rng(0)
    trial, time = draw.integers(0, 9, 200), draw.integers(0, 12, 200).astype(float)
    value = np.where(draw.random(200) < 0.2, np.nan, draw.normal(size=200))
    trial[trial == 4] = 5  # A trial without rows.
    curves = Curves(trial, time, value)
    for one in range(10):
        rows = [row for row in range(200) if trial[row] == one and time[row] > 0]
        first = {}
        for row in rows:
            if np.isfinite(value[row]):
                first.setdefault(time[row], value[row])
        times, values = curves.of(one)
        assert dict(zip(times.tolist(), values.tolist(), strict=True)) == first
        assert (np.diff(times) > 0).all()


def test_all_trials_are_interpolated_as_each_alone():
    draw = np.random.default_rng(1)
    for _ in range(50):
        size = draw.integers(1, 60)
        time = np.round(4 * draw.uniform(0, 8, size)) / 4
        value = np.where(draw.random(size) < 0.1, np.nan, draw.normal(size=size))
        curves = Curves(draw.integers(0, 6, size), time, value)
        points = np.sort(np.concatenate([draw.uniform(0.1, 9, 4), draw.integers(1, 36, 4) / 4]))
        trials = draw.permutation(8)
        expected = np.full((8, 8), np.nan)
        for row, trial in enumerate(trials):
            own, of_own = curves.of(int(trial))
            if len(own):
                inside = (points >= own[0]) & (points <= own[-1])
                expected[row, inside] = np.interp(np.log(points[inside]), np.log(own), of_own)
        np.testing.assert_allclose(curves.at(points, trials), expected, rtol=1e-12, atol=1e-14)
