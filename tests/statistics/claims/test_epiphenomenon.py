import numpy as np
import pytest

from orchestrator.statistics import Design
from orchestrator.statistics.claims import flatness_is_an_epiphenomenon
from orchestrator.statistics.intervals.bootstrap import Groups
from tests.statistics.claims.worlds import ways

PLACES = [one.ravel() for one in np.indices((6, 2, 3, 5))]  # Settings, ways, seeds, snapshots.


def judged(sam_slope, usual_slope=-1.0, error=0.0, threshold=0.5, names=("usual", "sam"), unit=1.0):
    generator = np.random.default_rng(0)
    setting, way, seed, _ = PLACES
    margin = generator.normal(size=len(way))
    slope = np.where(way == 0, usual_slope, sam_slope)
    log_trace = slope * margin + 0.1 * generator.normal(size=len(way))
    groups = Groups.of(((setting * 2 + way) * 3 + seed).tolist(), (setting * 2 + way).tolist())
    labels = [names[one] for one in way]
    design = Design.of({"optimizer": labels, "rate": setting.tolist()}, groups, {"rate"})
    errors = np.full(len(way), error)
    return flatness_is_an_epiphenomenon(
        10**log_trace, unit * margin, errors, labels, "usual", groups, threshold, design=design
    )


def test_the_estimate_is_the_ratio_of_slopes():
    claim = judged(-0.8)
    _, way, *_ = PLACES
    generator = np.random.default_rng(0)
    margin = generator.normal(size=len(way))
    log_trace = np.where(way == 0, -1.0, -0.8) * margin + 0.1 * generator.normal(size=len(way))
    slopes = [np.polyfit(margin[way == one], log_trace[way == one], 1)[0] for one in (0, 1)]
    assert claim.estimate.value == pytest.approx(slopes[1] / slopes[0])
    assert claim.criterion == "outside 0.5 to 2"
    assert "In multiples of that slope: with sam 0.8" in claim.explanation


@pytest.mark.parametrize("power", [-900, 600, 900])
def test_the_unit_of_the_margin_does_not_matter(power):
    usual, scaled = judged(-0.8), judged(-0.8, unit=2.0**power)
    assert scaled.verdict == usual.verdict
    assert scaled.estimate.value == pytest.approx(usual.estimate.value, rel=1e-9)
    assert scaled.estimate.low == pytest.approx(usual.estimate.low, rel=1e-9)


@pytest.mark.parametrize("slope", [1.0, 0.0, -3.0])
def test_the_claim_holds_if_a_slope_vanishes_flips_or_grows(slope):
    claim = judged(slope)
    assert claim.reads == "holds for conditions like these"
    assert "the number shown is for sam" in claim.explanation


def test_the_claim_fails_if_every_slope_survives():
    claim = judged(-1.0)
    assert claim.verdict == "fails"
    assert 0.5 < claim.estimate.low < claim.estimate.high < 2


def test_the_claim_is_unclear_without_a_relation_in_the_usual_training():
    claim = judged(0.0, usual_slope=0.0)
    assert claim.verdict == "unclear"
    assert "not significantly negative, so the study shows no relation to lose" in claim.explanation
    assert claim.estimate.value is not None
    assert "with usual the slope is not significantly different from 0" in claim.explanation


def test_two_settings_are_in_the_scope_of_this_grid():
    claim = ways(2, [1, -1], seeds=8)(np.random.default_rng(0))
    assert claim.reads == "holds in this grid"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"error": 0.5}, "no snapshot with a training error of at most 0.1"),
        ({"names": ("usual", "usual")}, "only one way of training is present"),
        ({"names": ("sgd", "sam")}, "no network was trained in the usual way"),
        ({"threshold": 1.5}, "between 0 and 1, got 1.5"),
    ],
)
def test_a_missing_verdict_gives_a_reason(options, reason):
    claim = judged(-1.0, **options)
    assert (claim.verdict, claim.estimate.value) == ("unclear", None)
    assert reason in claim.explanation
