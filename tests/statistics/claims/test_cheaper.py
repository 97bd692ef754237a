import numpy as np
import pytest

from orchestrator.statistics import Design
from orchestrator.statistics.claims import margin_is_cheaper
from orchestrator.statistics.intervals.bootstrap import Groups


def groups(conditions):
    condition, seed, _ = (a.ravel() for a in np.indices((conditions, 3, 8)))
    return Groups.of((condition * 3 + seed).tolist(), condition.tolist())


@pytest.mark.parametrize(("ratio", "verdict"), [(60, "holds"), (10.3, "unclear"), (2, "fails")])
def test_the_verdict_follows_the_ratio_of_costs(ratio, verdict):
    generator = np.random.default_rng(0)
    margin = np.exp(generator.normal(size=96) * 0.2) * 0.01
    trace = margin * ratio * np.exp(generator.normal(size=96) * 0.3)
    claim = margin_is_cheaper(trace, margin, groups(4), ["exact"] * 90 + ["hutchinson"] * 6)
    other = margin_is_cheaper(trace, margin, groups(4), ["control_variate"] * 96)
    assert (claim.verdict, claim.scope) == (verdict, "in this grid")
    assert claim.estimate.value == pytest.approx(ratio, rel=0.15)
    of_conditions = np.median((trace / margin).reshape(4, 24), axis=1)
    assert claim.estimate.value == pytest.approx(np.median(of_conditions))
    assert "exact on 90 snapshots and estimated by Hutchinson's method on 6" in claim.explanation
    told = "was exact except for a remainder estimated by Hutchinson's method on 96"
    assert told in other.explanation


def test_randomly_drawn_conditions_have_an_interval_of_order_statistics():
    generator = np.random.default_rng(0)
    ratio = np.repeat(20 * np.exp(generator.normal(size=6) * 0.1), 24)
    claim = margin_is_cheaper(
        ratio, np.ones(144), groups(6), ["exact"] * 144, design=Design.drawn_one_by_one(groups(6))
    )
    assert (claim.estimate.low, claim.estimate.high) == (ratio.min(), ratio.max())
    assert claim.reads == "holds for conditions like these"
    assert claim.p_value == pytest.approx(2 / 64)


def test_a_median_over_a_grid_is_in_the_scope_of_this_grid():
    ratio = np.repeat(np.linspace(20, 30, 6), 24)
    levels = {"width": groups(6).condition[groups(6).trial].tolist()}
    design = Design.of(levels, groups(6))
    claim = margin_is_cheaper(ratio, np.ones(144), groups(6), ["exact"] * 144, design=design)
    assert claim.reads == "holds in this grid"


def test_margin_is_cheaper_without_data_is_unclear():
    nothing = np.array([])
    claim = margin_is_cheaper(nothing, nothing, Groups.of([], []), [])
    assert claim.verdict == "unclear"
    assert "No snapshot has both measures." in claim.explanation
    zero = margin_is_cheaper(np.ones(3), np.zeros(3), Groups.of("abc", "ccc"), ["exact"] * 3)
    assert "3 seconds missing or zero" in zero.explanation
