import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.bootstrap import Groups
from orchestrator.statistics.claim import number, with_interval
from orchestrator.statistics.claims import (
    flatness_tracks_margin,
    large_batch_needs_time,
    margin_is_cheaper,
)
from orchestrator.statistics.correlation import partial_pearson


def flatness_study(noise, seed=0):
    """Four conditions × three seeds × eight snapshots; trace falls as margin grows."""
    generator = np.random.default_rng(seed)
    condition, trial, snapshot = (a.ravel() for a in np.indices((4, 3, 8)))
    margin = 1.0 + snapshot + condition + generator.normal(size=96) * 0.1
    trace = 10 ** (3 - 0.3 * margin + generator.normal(size=96) * noise)
    return {
        "hessian_trace": trace,
        "margin": margin,
        "train_loss": np.exp(-margin + generator.normal(size=96) * 0.3),
        "train_error": np.where(snapshot < 2, 0.4, 0.05),
        "groups": Groups.of((condition * 3 + trial).tolist(), condition.tolist()),
    }


def test_flatness_that_tracks_margin_holds():
    claim = flatness_tracks_margin(**flatness_study(noise=0.05))
    assert claim.verdict == "holds"
    assert claim.estimate.n == 72
    assert claim.estimate.high <= claim.threshold == -0.8
    assert "72 snapshots of 12 trials in 4 conditions" in claim.explanation
    assert "training loss held fixed r is −" in claim.explanation
    assert "Inside conditions, between means of trials, r is −" in claim.explanation


def test_what_else_could_explain_it_is_held_fixed_too():
    study = flatness_study(noise=0.05)
    condition = study["groups"].condition[study["groups"].trial]
    batch_size, width = 2.0 ** (4 + condition), np.full(96, 128.0)
    unknown = np.where(condition == 0, np.nan, batch_size)
    claim = flatness_tracks_margin(
        **study, controls={"batch size": batch_size, "width": width, "depth": unknown}
    )
    small = study["train_error"] <= 0.1
    logs = [np.log10(study["train_loss"]), np.log10(batch_size)]
    expected = partial_pearson(
        np.log10(study["hessian_trace"][small]),
        study["margin"][small],
        [column[small] for column in logs],
        study["groups"].select(small),
    )
    told = "With the logarithms of training loss and batch size held fixed it is "
    assert f"{told}{with_interval(expected)}. Inside" in claim.explanation
    assert "With the logarithms" not in flatness_tracks_margin(**study).explanation


def test_ranks_and_the_interval_of_independent_rows_stand_beside():
    study = flatness_study(noise=0.05)
    claim = flatness_tracks_margin(**study)
    small = study["train_error"] <= 0.1
    r, n = claim.estimate.value, claim.estimate.n
    ends = np.tanh(np.arctanh(r) + np.array([-1, 1]) * stats.norm.ppf(0.975) / np.sqrt(n - 3))
    assert f"r would be [{number(ends[0])}, {number(ends[1])}]." in claim.explanation
    rho = stats.spearmanr(study["hessian_trace"][small], study["margin"][small]).statistic
    assert f"Spearman’s ρ is {number(rho)} [" in claim.explanation


def test_flatness_without_margin_fails():
    claim = flatness_tracks_margin(**flatness_study(noise=3.0))
    assert claim.verdict == "fails"


def test_an_interval_across_the_threshold_is_unclear():
    claim = flatness_tracks_margin(**flatness_study(noise=0.42))
    assert claim.estimate.low < -0.8 < claim.estimate.high
    assert claim.verdict == "unclear"


def test_what_the_logarithm_cannot_take_is_named():
    study = flatness_study(noise=0.05)
    study["hessian_trace"][7], study["hessian_trace"][15] = 0.0, -1.0
    study["hessian_trace"][23], study["margin"][31] = np.nan, np.inf
    claim = flatness_tracks_margin(**study)
    assert claim.estimate.n_excluded == 4
    assert (
        "Left out: 2 trace not positive, 1 trace missing or not finite, "
        "1 margin missing or not finite." in claim.explanation
    )


def test_few_snapshots_or_one_condition_are_unclear():
    study = flatness_study(noise=0.01)
    study["train_error"][9:] = 1.0
    assert flatness_tracks_margin(**study).verdict == "unclear"
    study = flatness_study(noise=0.01)
    study["train_error"][24:] = 1.0
    claim = flatness_tracks_margin(**study)
    assert claim.estimate.n == 18
    assert claim.verdict == "unclear"
    assert "from 2 conditions" in claim.explanation


def test_a_study_without_traces_is_unclear():
    study = flatness_study(noise=0.01)
    study["hessian_trace"][:] = np.nan
    claim = flatness_tracks_margin(**study)
    assert (claim.verdict, claim.estimate.n) == ("unclear", 0)


@pytest.mark.parametrize(("ratio", "verdict"), [(60, "holds"), (10.3, "unclear"), (2, "fails")])
def test_margin_is_cheaper(ratio, verdict):
    generator = np.random.default_rng(0)
    groups = flatness_study(0)["groups"]
    margin = np.exp(generator.normal(size=96) * 0.2) * 0.01
    trace = margin * ratio * np.exp(generator.normal(size=96) * 0.3)
    claim = margin_is_cheaper(trace, margin, groups, ["exact"] * 90 + ["hutchinson"] * 6)
    other = margin_is_cheaper(trace, margin, groups, ["control_variate"] * 96)
    assert claim.verdict == verdict
    assert claim.estimate.value == pytest.approx(ratio, rel=0.15)
    assert "exact on 90 snapshots and estimated by Hutchinson's method on 6" in claim.explanation
    assert "was exact but for a rest estimated by Hutchinson's method on 96" in other.explanation


def test_margin_is_cheaper_without_data_is_unclear():
    nothing = np.array([])
    claim = margin_is_cheaper(nothing, nothing, Groups.of([], []), [])
    assert claim.verdict == "unclear"
    assert "No snapshot has both measures." in claim.explanation
    zero = margin_is_cheaper(np.ones(3), np.zeros(3), Groups.of("abc", "ccc"), ["exact"] * 3)
    assert "3 seconds missing or zero" in zero.explanation


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


def test_large_batches_that_only_lack_updates():
    claim = large_batch_needs_time(**batch_study("updates"))
    assert claim.verdict == "holds"
    assert claim.estimate.low > 0
    assert "16 and 64 over 256 to 2,048 updates and 1 to 32 epochs" in claim.explanation
    assert "For the loss gap the shares are" in claim.explanation
    assert "batch size 256 differs from 16 in the margin by" in claim.explanation
    assert "For the error gap there is no comparison" in claim.explanation


def test_large_batches_that_lack_something_else():
    assert large_batch_needs_time(**batch_study("epochs")).verdict == "fails"


def test_no_overlap_of_updates_is_unclear():
    study = batch_study("updates")
    study["updates"] = study["updates"] * np.array(study["batch_size"]) ** 6
    claim = large_batch_needs_time(**study)
    assert claim.verdict == "unclear"
    assert "not compared: 16 and 64" in claim.explanation
