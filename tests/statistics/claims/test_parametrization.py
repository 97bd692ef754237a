import numpy as np

from orchestrator.statistics.claims.parametrization import flatness_depends_on_parametrization
from orchestrator.statistics.intervals.bootstrap import Groups


def judged(trace_change, margin_change, others=None):
    n = len(trace_change)
    groups = Groups.of(list(range(n)), [i // 2 for i in range(n)])
    changes = np.array(trace_change, dtype=float), np.array(margin_change, dtype=float)
    return flatness_depends_on_parametrization(*changes, groups, others or {})


def test_the_claim_holds_if_the_trace_changes_and_the_margin_does_not():
    claim = judged([0.5, 0.52, 0.48, 0.51], [0, 1e-9, 0, 0], {"sam_sharpness": 0.4})
    assert claim.verdict == "holds"
    assert claim.estimate.value == 0.505
    assert "On 4 audited networks the mean margin changed by at most 0 %" in claim.explanation
    assert "For further measures the median changes are sam_sharpness: 40 %." in claim.explanation


def test_the_interval_of_a_relative_change_stays_within_0_and_1():
    claim = judged([0.05, 0.9, 0.3, 0.99], [0] * 4)
    assert claim.estimate.low == 0
    assert claim.estimate.high == 1
    assert claim.verdict == "unclear"


def test_the_claim_fails_if_the_margin_changes_or_the_trace_does_not():
    moved = judged([0.5, 0.52, 0.48, 0.51], [0, 0.2, 0, 0])
    assert moved.verdict == "fails"
    assert "at most 20 %" in moved.explanation
    assert "on 1 by more than rounding" in moved.explanation
    assert judged([0.0, 0.01, 0.0, 0.01], [0, 0, 0, 0]).verdict == "fails"


def test_networks_that_cannot_be_rescaled_are_counted():
    claim = judged([0.5, np.nan, 0.5, 0.5, 0.5], [0, 0, np.nan, 0, 0])
    assert (claim.estimate.n, claim.estimate.n_excluded) == (3, 2)
    assert "Left out: 2 networks without a layer to rescale" in claim.explanation


def test_the_claim_is_unclear_without_audits_or_with_two_networks():
    claim = judged([], [])
    assert claim.verdict == "unclear"
    assert claim.explanation == "No network has been audited yet; run the command audit."
    few = judged([0.5, 0.5], [0, 0])
    assert few.verdict == "unclear"
    assert "No verdict: no interval from 2 trials" in few.explanation
