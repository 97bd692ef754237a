import math

import numpy as np
import pytest

from orchestrator.statistics.association.correlation import pearson, within_pearson
from orchestrator.statistics.grid.noise_ceiling import noise_ceiling
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.magnitude import back, power_of_two, usual
from orchestrator.statistics.intervals.mean import mean
from orchestrator.statistics.intervals.median import median

EXTREMES = (2.0**1010, 2.0**-1000)


def test_ordinary_numbers_are_left_unchanged():
    values = np.array([1e-30, -3.0, 1e30])
    assert power_of_two(values) == 0
    assert usual(values) is not values
    np.testing.assert_array_equal(usual(values), values)
    assert power_of_two(np.zeros(3)) == power_of_two(np.zeros(0)) == 0


@pytest.mark.parametrize("factor", EXTREMES)
def test_extreme_numbers_are_scaled_near_1_without_rounding(factor):
    values = np.array([0.3, -7.0]) * factor
    scaled, power = usual(values), power_of_two(values)
    assert 0.5 <= np.abs(scaled).max() < 1
    assert [back(float(one), power) for one in scaled] == values.tolist()


def test_numbers_beyond_the_range_become_infinite():
    assert back(2.0, 1024) == math.inf
    assert back(-2.0, 1024) == -math.inf
    assert back(None, 3) is None


@pytest.fixture
def groups():
    return Groups.of([f"t{n}" for n in range(12)], [n // 3 for n in range(12)])


@pytest.mark.parametrize("factor", EXTREMES)
def test_statistics_do_not_depend_on_the_unit(factor, groups):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 12))
    for one, other in (
        (pearson(factor * x, y, groups), pearson(x, y, groups)),
        (within_pearson(factor * x, y, groups), within_pearson(x, y, groups)),
    ):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    conditions = groups.condition.tolist()
    ceilings = [noise_ceiling(unit * x, conditions) for unit in (factor, 1.0)]
    one, other = (c.reliability for c in ceilings)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    for statistic in (mean, median):
        one, other = statistic(factor * x, groups), statistic(x, groups)
        found = [end / factor for end in (one.value, one.low, one.high)]
        assert found == pytest.approx([other.value, other.low, other.high])
