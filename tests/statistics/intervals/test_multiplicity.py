import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.statistics.intervals.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_equals_the_values_worked_out_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_published_example_of_benjamini_and_hochberg_is_reproduced():
    """Fifteen endpoints of a trial (1995, section 4): Bonferroni finds three, theirs finds four."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert np.sum(benjamini_hochberg(p) <= 0.05) == 4
    assert np.sum(holm(p) <= 0.05) == 3
    assert benjamini_hochberg(p)[3] == pytest.approx(0.0095 * 15 / 4)


def test_adjusted_p_values_equal_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(size=40) ** 3
    for method, adjust in (("holm", holm), ("fdr_bh", benjamini_hochberg)):
        assert adjust(p) == pytest.approx(multitest.multipletests(p, method=method)[1], abs=1e-14)


@given(P_VALUES)
def test_holm_rejects_what_the_step_down_procedure_rejects(p):
    for level in (0.01, 0.05, 0.2):
        rejected, order = set(), np.argsort(p, kind="stable")
        for step, place in enumerate(order):
            if p[place] * (len(p) - step) > level:
                break
            rejected.add(place)
        assert {i for i, q in enumerate(holm(p)) if q <= level} == rejected


@given(P_VALUES)
def test_benjamini_hochberg_rejects_what_the_step_up_procedure_rejects(p):
    ordered = np.sort(p)
    adjusted = benjamini_hochberg(p)
    for level in (0.01, 0.05, 0.2):
        lines = level * np.arange(1, len(p) + 1) / len(p)
        below = np.flatnonzero(ordered <= lines * (1 + 1e-12))
        cut = ordered[below[-1]] if len(below) else -1.0
        for q, one in zip(adjusted, p, strict=True):
            if abs(q - level) > 1e-9:
                assert (q <= level) == (one <= cut)
    assert adjusted == pytest.approx(stats.false_discovery_control(p))


@given(P_VALUES)
def test_adjusting_never_lowers_a_p_value_and_holm_is_the_stricter(p):
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all()
    assert (benjamini_hochberg(p) >= np.array(p) - 1e-12).all()


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_missing_p_values_do_not_count(adjust):
    table = np.array([[0.01, np.nan], [0.04, 0.03]])
    adjusted = adjust(table)
    assert np.isnan(adjusted[0, 1])
    assert adjusted[~np.isnan(table)] == pytest.approx(adjust([0.01, 0.04, 0.03]))
    assert np.isnan(adjust([np.nan])).all()
    assert adjust([]).shape == (0,)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        adjust([0.5, 1.5])
