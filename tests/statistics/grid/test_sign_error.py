import itertools
import math

import numpy as np
import pytest

from orchestrator.statistics.association.ranking import kendall
from orchestrator.statistics.grid.hyperparameter_grid import Grid
from orchestrator.statistics.grid.sign_error import hoeffding_weight, sign_error

BATCHES, WIDTHS, SEEDS = (16, 64, 256), (1, 2), 4
ROWS = list(itertools.product(BATCHES, WIDTHS, range(SEEDS)))
GRID = Grid.of({"batch": [row[0] for row in ROWS], "width": [row[1] for row in ROWS]})


@pytest.fixture
def measured():
    generator = np.random.default_rng(0)
    gap = 0.05 * np.log2([batch * width for batch, width, _ in ROWS])
    gap = gap + 0.02 * generator.normal(size=len(ROWS))
    return gap + 0.04 * generator.normal(size=len(ROWS)), gap


def weight_of(difference, n):
    w = max(0.0, 1 - 2 * math.exp(-2 * n * (difference / 2) ** 2)) ** 2
    return max(0.0, w - 0.5)


def by_loops(x, y, n):
    """Sign error and effective size of every environment, by axis and pair of conditions."""
    conditions = list(itertools.product(BATCHES, WIDTHS))
    found = {}
    for first, second in itertools.combinations(conditions, 2):
        differ = [place for place in range(2) if first[place] != second[place]]
        if len(differ) != 1:
            continue
        weights, errors = [], []
        for i, j in itertools.product(range(len(ROWS)), repeat=2):
            if ROWS[i][:2] == first and ROWS[j][:2] == second:
                weights.append(weight_of(y[i] - y[j], n) if n else 1.0)
                errors.append((1 - np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])) / 2)
        total = sum(weights)
        size = total**2 / sum(w * w for w in weights) if total else 0.0
        error = sum(w * e for w, e in zip(weights, errors, strict=True)) / total if total else None
        found["batch" if differ == [0] else "width", first, second] = (error, size)
    return found


@pytest.mark.parametrize("test_examples", [None, 1_000, 10_000])
def test_the_sign_error_equals_brute_force(measured, test_examples):
    x, y = measured
    expected = {
        key: value for key, value in by_loops(x, y, test_examples).items() if value[1] >= 12 - 1e-9
    }
    found = sign_error(x, y, GRID, test_examples)
    assert found.overall.environments == len(expected)
    assert found.overall.dropped == 9 - len(expected)
    got = {}
    for one in found.environments:
        (held,) = one.held.values()
        pair = [(level, held) if one.axis == "batch" else (held, level) for level in one.levels]
        got[one.axis, *sorted(pair)] = (one.error, one.effective_size)
    assert got.keys() == expected.keys()
    for key, (error, size) in expected.items():
        assert got[key] == pytest.approx((error, size), abs=1e-12)
    errors = [error for error, _ in expected.values()]
    assert found.overall.mean.value == pytest.approx(np.mean(errors))
    assert found.overall.worst.error == pytest.approx(max(errors))
    assert found.overall.quantile == pytest.approx(np.quantile(errors, 0.9))
    of_axis = {axis.axis: axis for axis in found.axes}
    for axis, one in of_axis.items():
        own = [value[0] for key, value in expected.items() if key[0] == axis]
        assert one.environments == len(own)
        if own:
            assert one.mean.value == pytest.approx(np.mean(own))
            assert one.worst.axis == axis


def test_gaps_within_sampling_noise_have_a_small_weight():
    weights = hoeffding_weight([0.015, -0.02, 0.03, 0.0], 10_000)
    assert weights == pytest.approx([0.12, 0.53192, 0.96, 0], abs=5e-3)
    assert weights[1] == pytest.approx(0.53192, abs=5e-6)


def test_the_mean_is_half_of_one_minus_tau():
    """One hyperparameter, one trial a condition: environments are the pairs of τ_a."""
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 6, (2, 12)).astype(float)
    grid = Grid.of({"batch": list(range(12))})
    found = sign_error(x, y, grid, None, fewest_effective=1)
    tau = kendall(x, y, variant="a").value
    assert found.overall.mean.value == pytest.approx((1 - tau) / 2, abs=1e-15)


def test_perfect_reversed_and_constant_measures_have_known_errors(measured):
    _, y = measured
    assert sign_error(y, y, GRID, None).overall.worst.error == 0
    assert sign_error(-y, y, GRID, None).overall.mean.value == 1
    constant = sign_error(np.ones(len(y)), y, GRID, None).overall
    assert (constant.mean.value, constant.worst.error) == (0.5, 0.5)


def test_the_interval_contains_the_mean(measured):
    mean = sign_error(*measured, GRID, None).overall.mean
    assert 0 <= mean.low < mean.value < mean.high <= 1
    assert mean.p_value is None


def test_few_seeds_leave_no_environment(measured):
    x, y = measured
    two = np.array([row[2] < 2 for row in ROWS])
    found = sign_error(x[two], y[two], GRID.select(two), 10_000)
    assert found.overall.mean.value is None
    assert "enough trials" in found.overall.mean.reason
    assert (found.overall.environments, found.overall.dropped) == (0, 9)
    assert (found.overall.worst, found.overall.quantile) == (None, None)
    assert np.isnan(found.cdf([0.5])).all()


def test_cdf_is_the_share_of_environments(measured):
    found = sign_error(*measured, GRID, None)
    errors = np.array([one.error for one in found.environments])
    points = [0.0, 0.1, 0.25, 1.0]
    assert found.cdf(points) == pytest.approx([(errors <= p).mean() for p in points])
    widths = [one.error for one in found.environments if one.axis == "width"]
    assert found.cdf([0.1], "width") == pytest.approx([np.mean(np.array(widths) <= 0.1)])


def test_nonfinite_rows_are_counted(measured):
    x, y = measured
    x[0], y[1] = np.nan, np.inf
    mean = sign_error(x, y, GRID, None, fewest_effective=1).overall.mean
    assert (mean.n_excluded, mean.n_groups) == (2, len(ROWS) - 2)


def test_invalid_lengths_and_counts_are_refused(measured):
    x, y = measured
    with pytest.raises(ValueError, match="grid rows"):
        sign_error(x[1:], y[1:], GRID, None)
    with pytest.raises(ValueError, match="at least 1"):
        sign_error(x, y, GRID, 0)
    with pytest.raises(ValueError, match="above 0, got 0"):
        sign_error(x, y, GRID, 10_000, fewest_effective=0)
