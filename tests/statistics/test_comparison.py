import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.bootstrap import Groups
from orchestrator.statistics.comparison import (
    compare_predictors,
    margin_predicts_gap_at_least_as_well,
)

N = 40
GROUPS = Groups.of(range(N), np.repeat(range(10), 4).tolist())


@pytest.fixture
def networks():
    generator = np.random.default_rng(2)
    gap = generator.normal(size=N)
    good = -gap + 0.3 * generator.normal(size=N)
    bad = generator.normal(size=N)
    return good, bad, gap


def test_compares_sizes_whatever_the_signs(networks):
    good, bad, gap = networks
    found = compare_predictors(good, bad, gap, GROUPS)
    first, second = (stats.kendalltau(measure, gap).statistic for measure in (good, bad))
    assert found.first.value == pytest.approx(first)
    assert found.advantage.value == pytest.approx(abs(first) - abs(second))
    assert 0 < found.advantage.low < found.advantage.value < found.advantage.high <= 1


def test_a_measure_and_its_copy_differ_by_nothing(networks):
    good, _, gap = networks
    found = compare_predictors(good, -2 * good + 1, gap, GROUPS).advantage
    assert found.value == pytest.approx(0, abs=1e-15)
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)


def test_measures_that_err_together_are_told_apart(networks):
    """The difference is known better than the two intervals, taken apart, would say."""
    good, _, gap = networks
    noise = np.random.default_rng(4).normal(size=N)
    found = compare_predictors(good, good + 0.1 * noise, gap, GROUPS)
    widths = [one.high - one.low for one in (found.first, found.second)]
    assert found.advantage.high - found.advantage.low < 0.6 * min(widths)


def test_rows_that_are_not_finite_are_left_out_of_both(networks):
    good, bad, gap = networks
    good, bad, gap = good.copy(), bad.copy(), gap.copy()
    good[0], bad[1], gap[2] = np.nan, np.inf, np.nan
    found = compare_predictors(good, bad, gap, GROUPS)
    assert (found.advantage.n, found.advantage.n_excluded, found.first.n) == (N - 3, 3, N - 3)


@pytest.mark.parametrize(
    ("rows", "constant", "reason"),
    [(3, False, "at least 4"), (N, True, "constant")],
)
def test_says_why_there_is_no_comparison(networks, rows, constant, reason):
    good, bad, gap = (column[:rows] for column in networks)
    bad = np.zeros(rows) if constant else bad
    groups = GROUPS.select(np.arange(N) < rows)
    found = compare_predictors(good, bad, gap, groups).advantage
    assert found.value is None
    assert reason in found.reason


def test_the_claim_needs_every_gap(networks):
    good, bad, gap = networks
    judge = margin_predicts_gap_at_least_as_well
    both = judge(good, bad, {"loss gap": gap, "error gap": gap}, GROUPS)
    assert both.verdict == "holds"
    assert judge(bad, good, {"loss gap": gap, "error gap": gap}, GROUPS).verdict == "fails"
    one = judge(good, bad, {"loss gap": gap, "error gap": bad}, GROUPS)
    assert one.verdict == "fails"
    assert one.estimate.value < 0
    assert "with the loss gap τ is" in one.explanation
    assert "with the error gap τ is" in one.explanation


def test_equal_measures_are_at_least_as_good(networks):
    good, _, gap = networks
    claim = margin_predicts_gap_at_least_as_well(good, good, {"error gap": gap}, GROUPS)
    assert (claim.verdict, claim.estimate.value) == ("holds", 0)


def test_without_values_it_is_unclear():
    nothing = np.full(N, np.nan)
    claim = margin_predicts_gap_at_least_as_well(
        nothing, nothing, {"loss gap": nothing, "error gap": nothing}, GROUPS
    )
    assert claim.verdict == "unclear"
    assert "No verdict: 0 networks" in claim.explanation
