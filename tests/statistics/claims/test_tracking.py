import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics import Design, within_pearson
from orchestrator.statistics.association.confounders import known_confounders
from orchestrator.statistics.claim import number, with_interval
from orchestrator.statistics.claims import flatness_tracks_margin
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.inference import CORRELATIONS, infer
from orchestrator.statistics.intervals.over_conditions import correlation


def flatness_study(noise, seed=0, conditions=4):
    """Conditions × three seeds × eight snapshots; trace falls as margin grows."""
    generator = np.random.default_rng(seed)
    condition, trial, snapshot = (a.ravel() for a in np.indices((conditions, 3, 8)))
    n = len(condition)
    margin = 1.0 + snapshot + condition + generator.normal(size=n) * 0.1
    trace = 10 ** (3 - 0.3 * margin + generator.normal(size=n) * noise)
    return {
        "hessian_trace": trace,
        "margin": margin,
        "train_loss": np.exp(-margin + generator.normal(size=n) * 0.3),
        "train_error": np.where(snapshot < 2, 0.4, 0.05),
        "groups": Groups.of((condition * 3 + trial).tolist(), condition.tolist()),
    }


def batch_sizes(study):
    condition = study["groups"].condition[study["groups"].trial]
    return Design.of({"batch size": (2.0 ** (4 + condition)).tolist()}, study["groups"])


def test_the_claim_holds_if_flatness_tracks_margin():
    study = flatness_study(noise=0.05)
    claim = flatness_tracks_margin(**study)
    assert claim.verdict == "holds"
    assert claim.scope == "in this grid"
    assert claim.estimate.n == 72
    assert claim.estimate.high <= claim.threshold == -0.8
    assert "72 snapshots of 12 trials in 4 conditions" in claim.explanation
    assert "With training loss held fixed, the estimate is −" in claim.explanation
    small = study["train_error"] <= 0.1
    log_trace = np.log10(study["hessian_trace"][small])
    inside = within_pearson(log_trace, study["margin"][small], study["groups"].select(small))
    told = f"Within conditions, between trial means, r is {with_interval(inside)}"
    assert told in claim.explanation
    assert claim.without[0] < claim.estimate.value < claim.without[1]


def test_six_drawn_conditions_widen_the_scope_to_conditions_like_these():
    study = flatness_study(noise=0.05, conditions=6)
    design = Design.drawn_one_by_one(study["groups"])
    claim = flatness_tracks_margin(**study, design=design)
    assert claim.reads.startswith("holds for conditions like these")
    assert "For this grid alone, with other seeds, the interval is [−0." in claim.explanation
    assert claim.p_value < 0.05


def test_an_estimate_with_known_confounders_held_fixed_is_shown():
    study = flatness_study(noise=0.05)
    design = batch_sizes(study)
    claim = flatness_tracks_margin(**study, design=design)
    (beside,) = claim.beside
    assert beside.what == "with training loss and batch size held fixed"
    small = study["train_error"] <= 0.1
    inner = study["groups"].select(small)
    held = known_confounders(study["train_loss"][small], inner, design)
    table = np.stack([np.log10(study["hessian_trace"][small]), study["margin"][small]])
    expected = infer(
        correlation(np.concatenate([table, held.columns]), inner), inner, design, CORRELATIONS
    )
    assert beside.estimate.value == pytest.approx(expected.estimate.value, abs=1e-12)
    assert beside.sentence in claim.explanation


def test_a_relation_explained_by_confounders_holds_as_stated_only():
    """Margin and trace follow the loss, and beyond it nothing joins them."""
    study = flatness_study(noise=0.05)
    generator = np.random.default_rng(1)
    log_loss = np.log10(study["train_loss"])
    study["margin"] = -log_loss + 0.05 * generator.normal(size=96)
    study["hessian_trace"] = 10 ** (log_loss + 0.05 * generator.normal(size=96))
    claim = flatness_tracks_margin(**study)
    assert claim.reads == "holds in this grid, as stated only"
    assert claim.against == claim.beside


def test_too_few_conditions_to_hold_columns_fixed_are_reported():
    study = flatness_study(noise=0.05, conditions=3)
    condition = study["groups"].condition[study["groups"].trial]
    levels = {"loss": list(map(str, condition))}
    claim = flatness_tracks_margin(**study, design=Design.of(levels, study["groups"]))
    assert claim.beside[0].estimate.value is None
    assert claim.against == ()
    told = "fixed, no estimate is possible: 3 conditions are too few to hold 2 swept columns fixed"
    assert told in claim.explanation


def test_an_estimate_without_networks_that_did_not_learn_is_shown():
    study = flatness_study(noise=0.05)
    learned = study["groups"].trial < 9
    claim = flatness_tracks_margin(**study, learned=learned)
    beside = claim.beside[-1]
    alone = flatness_tracks_margin(
        **{
            name: column.select(learned) if name == "groups" else column[learned]
            for name, column in study.items()
        }
    )
    assert beside.what == "without networks that did not learn"
    assert beside.estimate.value == pytest.approx(alone.estimate.value, abs=1e-12)
    assert beside.holding
    everybody = flatness_tracks_margin(**study, learned=np.ones(96, dtype=bool))
    assert len(everybody.beside) == len(claim.beside) - 1


def architectures(inside, offset):
    """Two architectures; the sign inside each, and where the second lies."""
    study = flatness_study(noise=0.05)
    generator = np.random.default_rng(0)
    condition = study["groups"].condition[study["groups"].trial]
    x = generator.normal(size=96)
    kind = condition % 2
    study["margin"] = inside * x + kind * offset[1] + 0.05 * generator.normal(size=96)
    study["hessian_trace"] = 10 ** (x + kind * offset[0])
    study["train_loss"] = np.exp(generator.normal(size=96))
    return {**study, "kinds": np.array(["cnn", "mlp"])[kind].tolist()}


def test_a_trend_between_architectures_does_not_count_within_them():
    claim = flatness_tracks_margin(**architectures(inside=1, offset=(8, -8)))
    assert claim.verdict == "fails"
    assert claim.estimate.value > 0.9
    assert "within architectures and losses at matched training loss" in claim.statistic
    assert "Without the loss held fixed, r is 0.99" in claim.explanation
    assert "for cnn; 0.99" in claim.explanation
    assert "for mlp; pooled over all −0.8" in claim.explanation


def test_a_trend_within_architectures_is_not_hidden_by_their_differences():
    claim = flatness_tracks_margin(**architectures(inside=-1, offset=(8, 8)))
    assert claim.verdict == "holds"
    assert "pooled over all 0.8" in claim.explanation


def test_rank_correlation_and_the_interval_of_independent_rows_are_shown():
    study = flatness_study(noise=0.05)
    claim = flatness_tracks_margin(**study)
    small = study["train_error"] <= 0.1
    r, n = claim.estimate.value, claim.estimate.n
    ends = np.tanh(np.arctanh(r) + np.array([-1, 1]) * stats.norm.ppf(0.975) / np.sqrt(n - 3))
    assert f"r would be [{number(ends[0])}, {number(ends[1])}]." in claim.explanation
    rho = stats.spearmanr(study["hessian_trace"][small], study["margin"][small]).statistic
    assert f"Over all snapshots, Spearman’s ρ is {number(rho)}." in claim.explanation


def test_the_claim_fails_if_flatness_ignores_margin():
    claim = flatness_tracks_margin(**flatness_study(noise=3.0))
    assert claim.verdict == "fails"


def test_the_claim_is_unclear_if_the_interval_contains_the_threshold():
    claim = flatness_tracks_margin(**flatness_study(noise=0.42))
    assert claim.estimate.low < -0.8 < claim.estimate.high
    assert claim.verdict == "unclear"


def test_values_without_a_logarithm_are_left_out_and_named():
    study = flatness_study(noise=0.05)
    study["hessian_trace"][7], study["hessian_trace"][15] = 0.0, -1.0
    study["hessian_trace"][23], study["margin"][31] = np.nan, np.inf
    claim = flatness_tracks_margin(**study)
    assert claim.estimate.n_excluded == 4
    assert (
        "Left out: 2 trace not positive, 1 trace missing or not finite, "
        "1 margin missing or not finite." in claim.explanation
    )


def test_the_claim_is_unclear_with_few_snapshots_or_conditions():
    study = flatness_study(noise=0.01)
    study["train_error"][9:] = 1.0
    assert flatness_tracks_margin(**study).verdict == "unclear"
    study = flatness_study(noise=0.01)
    study["train_error"][24:] = 1.0
    claim = flatness_tracks_margin(**study)
    assert claim.estimate.n == 18
    assert claim.verdict == "unclear"
    assert "from 2 conditions" in claim.explanation


def test_the_claim_is_unclear_without_traces():
    study = flatness_study(noise=0.01)
    study["hessian_trace"][:] = np.nan
    claim = flatness_tracks_margin(**study)
    assert (claim.verdict, claim.estimate.n) == ("unclear", 0)
    assert "No verdict: 0 snapshots" in claim.explanation
