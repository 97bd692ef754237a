import numpy as np
import pytest

from orchestrator.statistics.claims import large_batch_needs_time
from orchestrator.statistics.intervals.bootstrap import Groups
from tests.statistics.claims.worlds import batches


def batch_study(grows_with):
    generator = np.random.default_rng(0)
    size, seed, point = (a.ravel() for a in np.indices((3, 3, 6)))
    batch_size = 16.0 * 4**size
    epochs = 2.0**point
    updates = epochs * 4096 / batch_size
    time = {"updates": updates, "epochs": epochs}[grows_with]
    margin = np.log(time) + generator.normal(size=54) * 0.1
    return {
        "margin": margin,
        "gaps": {"loss gap": margin / 2, "error gap": margin * 0 + np.nan},
        "updates": updates,
        "epochs": epochs,
        "batch_size": batch_size.tolist(),
        "groups": Groups.of((size * 3 + seed).tolist(), size.tolist()),
    }


def test_the_claim_holds_if_large_batches_only_lack_updates():
    claim = large_batch_needs_time(**batch_study("updates"))
    assert claim.reads == "holds in this grid"
    assert 0.8 < claim.estimate.low < 1 < claim.estimate.high < 1.2
    assert claim.criterion == "between 0.8 and 1.2"
    # 256 makes 16 updates an epoch, 16 makes 256: both share 256 to 512.
    assert "After 512 updates the margin of batch size 256 is" in claim.explanation
    assert "times that of 16; after 32 epochs the margin" in claim.explanation
    assert "At equal updates, large batches have " in claim.explanation
    assert "times the loss gap" in claim.explanation
    assert "for the loss gap" in claim.explanation
    assert "the error gap" not in claim.explanation


def test_the_interval_is_fiellers_at_the_last_common_updates():
    study = batch_study("updates")
    claim = large_batch_needs_time(**study)
    updates, size, margin = (np.array(study[name]) for name in ("updates", "batch_size", "margin"))
    large, small = (margin[(updates == 512) & (size == one)] for one in (256, 16))
    assert claim.estimate.value == pytest.approx(large.mean() / small.mean())
    for ratio in (claim.estimate.low, claim.estimate.high):
        parts = [large.var(ddof=1) / 3, ratio**2 * small.var(ddof=1) / 3]
        t = (large.mean() - ratio * small.mean()) / np.sqrt(sum(parts))
        freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2)
        from scipy import stats

        assert abs(t) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)


def test_half_the_margin_at_every_number_of_updates_fails():
    assert batches(1, 0.5)(np.random.default_rng(0)).verdict == "fails"


def test_the_claim_fails_if_large_batches_never_lag():
    claim = large_batch_needs_time(**batch_study("epochs"))
    assert claim.verdict == "fails"


def test_a_tighter_threshold_makes_the_claim_unclear():
    claim = large_batch_needs_time(**batch_study("updates"), threshold=0.001)
    assert claim.verdict == "unclear"
    assert "Margins that differ by at most 0.1 % count as equal." in claim.explanation


def test_the_claim_is_unclear_without_common_updates():
    study = batch_study("updates")
    study["updates"] = study["updates"] * np.array(study["batch_size"]) ** 6
    claim = large_batch_needs_time(**study)
    assert claim.verdict == "unclear"
    assert "have no common point in training" in claim.explanation
    assert "without common snapshots: 16 and 64" in claim.explanation


def test_the_claim_is_unclear_with_one_batch_size():
    study = batch_study("updates")
    study["batch_size"] = [16.0] * 54
    claim = large_batch_needs_time(**study)
    assert claim.verdict == "unclear"
    assert "fewer than two batch sizes" in claim.explanation


def test_the_claim_is_unclear_unless_margins_are_surely_positive():
    study = batch_study("updates")
    study["margin"] = np.random.default_rng(0).normal(size=54)
    claim = large_batch_needs_time(**study)
    assert claim.verdict == "unclear"
    assert "not significantly positive" in claim.explanation
