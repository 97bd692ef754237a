import numpy as np
import pytest

from orchestrator.statistics import Design
from orchestrator.statistics.claims import margin_predicts_gap_at_least_as_well as judge
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.over_conditions import tau

N = 40
GROUPS = Groups(np.arange(N), np.repeat(np.arange(10), 4))
DRAWN = Design.drawn_one_by_one(GROUPS)
GAPS = "loss gap", "error gap"


@pytest.fixture
def networks():
    """A gap, a measure that falls as it grows, one that grows with it, and one without relation."""
    generator = np.random.default_rng(2)
    gap = np.repeat(generator.normal(size=10), 4) + 0.5 * generator.normal(size=N)
    good = -gap + 0.3 * generator.normal(size=N)
    trace = gap + 0.6 * generator.normal(size=N)
    return good, trace, gap, generator.normal(size=N)


def judged(margin, trace, gap, error_gap=None, **options):
    gaps = dict(zip(GAPS, (gap, gap if error_gap is None else error_gap), strict=True))
    return judge(margin, trace, gaps, GROUPS, design=DRAWN, **options)


def test_the_estimate_is_the_signed_difference_of_taus(networks):
    good, trace, gap, _ = networks
    claim = judged(good, trace, gap)
    found = [tau(one, gap, GROUPS)(np.ones((1, N)))[0] for one in (good, trace)]
    assert claim.estimate.value == pytest.approx(-found[0] - found[1], abs=1e-12)
    assert claim.reads == "holds for conditions like these"
    assert claim.p_value <= 0.05


def test_the_claim_holds_only_with_both_gaps(networks):
    good, trace, gap, noise = networks
    claim = judged(good, trace, gap, error_gap=noise)
    assert claim.verdict != "holds"
    assert "with the loss gap τ is" in claim.explanation
    assert "with the error gap τ is" in claim.explanation


def test_a_margin_of_the_wrong_sign_fails_even_if_strong(networks):
    good, trace, gap, _ = networks
    claim = judged(-good, trace, gap)
    assert claim.verdict == "fails"
    assert (
        "Significantly of the wrong sign: the margin with the loss gap, the margin with the error "
        "gap." in claim.explanation
    )
    assert "of the wrong sign" not in judged(good, trace, gap).explanation
    assert claim.parts.startswith("τ of margins and the ")
    assert "expected below 0, is 0." in claim.parts


def test_the_claim_fails_if_the_trace_predicts_better(networks):
    _, trace, gap, noise = networks
    assert judged(noise, gap + 0.01 * trace, gap).verdict == "fails"


def test_the_claim_is_unclear_without_any_relation(networks):
    *_, gap, noise = networks
    assert judged(noise, np.roll(noise, 7), gap).verdict == "unclear"


def test_an_estimate_with_swept_hyperparameters_held_fixed_is_shown(networks):
    """Margin and trace follow the gap through the condition's own hyperparameter alone."""
    generator = np.random.default_rng(0)
    rate = np.repeat(np.exp(generator.normal(size=10)), 4)
    noise = 0.05 * generator.normal(size=(3, N))
    gap, trace, margin = np.log(rate) + noise[0], np.log(rate) + noise[1], -np.log(rate) + noise[2]
    design = Design.of({"learning rate": rate.tolist()}, GROUPS, {"learning rate"})
    claim = judge(
        margin,
        trace,
        {"loss gap": gap, "error gap": gap},
        GROUPS,
        design=design,
        train_loss=np.exp(generator.normal(size=N)),
    )
    (beside,) = claim.beside
    assert beside.what == "with training loss and learning rate held fixed"
    assert abs(beside.estimate.value) < 0.3
    assert beside.sentence in claim.explanation


def test_nonfinite_networks_are_counted(networks):
    good, trace, gap, _ = networks
    good[0], trace[1], gap[2] = np.nan, np.inf, np.nan
    claim = judged(good, trace, gap)
    assert (claim.estimate.n, claim.estimate.n_excluded) == (N - 3, 3)
    assert "Left out: 3 networks without a finite margin, trace or gap." in claim.explanation


def test_the_claim_is_unclear_without_values():
    nothing = np.full(N, np.nan)
    claim = judged(nothing, nothing, nothing)
    assert claim.verdict == "unclear"
    assert "No verdict: 0 networks" in claim.explanation
