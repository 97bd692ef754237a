import numpy as np
import pytest

from orchestrator.reporting.claims import stated_claims as stated
from orchestrator.reporting.claims.evidence import judge_claims
from orchestrator.reporting.claims.stated_claims import judge_stated
from orchestrator.reporting.data.conditions import read_conditions
from orchestrator.reporting.data.open_results import Rows, claims_of, open_source
from orchestrator.study.claim_options import StatedClaim
from tests.reporting.simulated import simulate, study_content

MINE = {"name": "mine", "statement": "It is so.", "x": "hessian_trace", "y": "margin_mean"}


def judge(source, **options):
    stated_claim = StatedClaim(**{**MINE, "below": 0.0, "statistic": "pearson", **options})
    claim, query = judge_stated(source, stated_claim, read_conditions(source))
    return claim, query


def test_a_correlation_over_all_snapshots_equals_sql(source):
    claim, query = judge(source, log=("hessian_trace",), where="train_error <= 0.1")
    # Each condition counts alike, in it each network, in it each snapshot.
    rows = source.connection.sql(
        "SELECT log10(hessian_trace), margin_mean, 1 / count(*) OVER (PARTITION BY trial_id) /\n"
        "    count(DISTINCT trial_id) OVER (PARTITION BY condition_id)\n"
        "FROM wide WHERE step > 0 AND train_error <= 0.1"
    ).fetchall()
    x, y, weight = np.array(rows).T
    covariance = np.cov(x, y, aweights=weight)
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert claim.estimate.value == pytest.approx(expected, abs=1e-12)
    assert (claim.name, claim.statement, claim.verdict) == ("mine", "It is so", "holds")
    assert claim.statistic == (
        "Pearson r between log10 hessian_trace and margin_mean, over all snapshots "
        "with train_error <= 0.1"
    )
    assert "train_error <= 0.1" in query.sql


def test_a_rank_correlation_of_final_networks_equals_sql(source):
    claim, _ = judge(source, statistic="kendall", design="final", y="loss_gap")
    rows = source.connection.sql(
        "SELECT sum(sign(a.hessian_trace - b.hessian_trace) * sign(a.loss_gap - b.loss_gap)),\n"
        "    count(*)\n"
        "FROM (SELECT * FROM wide SEMI JOIN final USING (checkpoint_id)) a\n"
        "JOIN (SELECT * FROM wide SEMI JOIN final USING (checkpoint_id)) b\n"
        "    ON a.condition_id < b.condition_id"
    )
    ((agreement, pairs),) = rows.fetchall()
    expected = agreement / pairs
    assert claim.estimate.value == pytest.approx(expected, abs=1e-12)
    assert claim.estimate.n == 12


def test_given_columns_are_held_fixed(source):
    free, _ = judge(source, log=("hessian_trace",))
    held, _ = judge(source, log=("hessian_trace", "train_loss"), given=("train_loss",))
    assert abs(held.estimate.value) < abs(free.estimate.value)
    assert held.statistic.endswith("given log10 train_loss, over all snapshots")


@pytest.mark.parametrize("design", ["matched_loss", "matched_updates", "matched_epochs"])
def test_only_equally_trained_networks_are_compared(source, design):
    claim, _ = judge(source, statistic="kendall", design=design)
    assert -1 <= claim.estimate.value <= 1
    assert "same" in claim.statistic
    # Large batches make few updates, and do not come down to the smaller loss.
    stages, left_out = {
        "matched_loss": ("1 stage", "1 stages"),
        "matched_updates": ("4 stages", "4 stages"),
        "matched_epochs": ("8 stages", ""),
    }[design]
    assert f"Compared at {stages} of training." in claim.explanation
    assert ("Left out" in claim.explanation) == bool(left_out)
    assert f"{left_out} with too few networks." in claim.explanation or not left_out


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_claim_about_one_column_equals_sql(source, statistic):
    claim, _ = judge(
        source, statistic=statistic, x="error_gap", y="", design="final", above=-1, below=None
    )
    rows = source.connection.sql(
        f"SELECT {statistic}(error_gap) FROM final GROUP BY condition_id"
    ).fetchall()
    assert claim.estimate.value == pytest.approx(getattr(np, statistic)(rows))
    assert claim.verdict == "holds"
    assert (
        claim.statistic
        == {
            "mean": "Mean over conditions of error_gap, over trained networks",
            "median": "Median over conditions of the median error_gap, over trained networks",
        }[statistic]
    )


def test_a_claim_may_state_its_own_query(source):
    sql = "SELECT trial_id, condition_id, seed AS x, batch_size AS y FROM trials;"
    claim, query = judge(source, query=sql, x="x", y="y", statistic="spearman")
    assert claim.estimate.value == pytest.approx(0, abs=1e-12)
    assert query.sql == sql.rstrip(";")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"x": "no_such"}, "no_such"),
        ({"where": "train_eror < 1"}, "train_eror"),
        ({"query": "SELECT trial_id, condition_id FROM trials"}, "no column hessian_trace"),
        ({"query": "DROP VIEW wide"}, "cannot be run"),
        ({"query": "SELECT * FROM read_csv('/etc/passwd')"}, "cannot be run"),
        (
            {
                "query": "SELECT trial_id, condition_id, 'a' AS x, 1 AS y FROM trials",
                "x": "x",
                "y": "y",
            },
            "not usable",
        ),
        (
            {
                "query": "SELECT trial_id, condition_id, 'a'::INT AS x, 1 AS y FROM trials",
                "x": "x",
                "y": "y",
            },
            "cannot be run",
        ),
    ],
)
def test_a_claim_that_cannot_be_computed_is_unclear_with_a_reason(source, options, reason):
    claim, _ = judge(source, **options)
    assert claim.verdict == "unclear"
    assert claim.estimate.value is None
    assert reason in claim.explanation


@pytest.mark.parametrize("statistic", ["pearson", "spearman", "kendall", "mean", "median"])
def test_the_order_of_rows_does_not_change_a_bit(source, statistic):
    columns = "trial_id, condition_id, step, margin_mean, hessian_trace"
    y = "" if statistic in ("mean", "median") else "margin_mean"
    found = set()
    for order in ("trial_id, step", "md5(trial_id || step)", "step DESC, trial_id DESC"):
        sql = f"SELECT {columns} FROM wide WHERE step > 0 ORDER BY {order}"
        claim, _ = judge(source, query=sql, statistic=statistic, y=y)
        assert claim.estimate.has_interval
        found.add((claim.estimate, claim.explanation))
    assert len(found) == 1


def test_rows_are_sorted_by_trial_then_step_then_all_columns():
    rows = Rows(
        {
            "x": [None, float("nan"), 2.0, 1, "a"],
            "step": [1, 1, 1, 1, 0],
            "trial_id": ["a", "a", "a", "a", "b"],
        }
    )
    ordered = rows.in_order()
    assert list(ordered.columns) == ["x", "step", "trial_id"]
    assert [str(x) for x in ordered["x"]] == ["1", "2.0", "nan", "None", "a"]


def test_values_without_a_logarithm_are_counted(tmp_path):
    def spoil(rows):
        for row in rows["measures"][:40]:
            if row["measure"] == "hessian_trace":
                row["value"] = -1.0

    with open_source(simulate(tmp_path / "r", change=spoil)) as source:
        claim, _ = judge(source, log=("hessian_trace",))
    assert claim.estimate.n_excluded > 0
    assert f"{claim.estimate.n_excluded} hessian_trace not positive" in claim.explanation


def test_many_values_are_ranked_by_a_sample_of_whole_trials(source, monkeypatch):
    monkeypatch.setattr(stated, "MOST_RANKED", 40)
    claim, _ = judge(source, statistic="kendall")
    assert claim.estimate.n == 40
    assert claim.estimate.n_groups == 5
    assert "this statistic uses 5 trials of 12, chosen by a hash" in claim.explanation
    again, _ = judge(source, statistic="kendall")
    assert again == claim
    monkeypatch.setattr(stated, "MOST_COMPARED", 3)
    few, _ = judge(source, statistic="kendall", design="matched_epochs")
    assert few.estimate.n_groups == 3
    free, _ = judge(source, statistic="spearman")
    assert free.estimate.n == 96


def test_a_study_may_state_claims_of_both_kinds(tmp_path):
    claims = [
        "flatness_tracks_margin",
        {
            "name": "flatness_tracks_margin_barely",
            **{k: MINE[k] for k in "xy"},
            "statement": "s",
            "below": -0.2,
            "log": ["hessian_trace"],
        },
    ]
    path = simulate(tmp_path / "r", study=study_content(claims=claims))
    with open_source(path) as source:
        assert [claim.name for claim in claims_of(source)] == [
            "flatness_tracks_margin",
            "flatness_tracks_margin_barely",
        ]
        judged = judge_claims(source)
    assert [one.claim.verdict for one in judged] == ["holds", "holds"]
    assert [one.figure for one in judged] == ["threshold", "claim-flatness_tracks_margin_barely"]


def test_an_estimate_with_loss_and_swept_columns_held_fixed_is_shown(source):
    claim, _ = judge(source, log=("hessian_trace",))
    (beside,) = claim.beside
    assert beside.what == "with training loss and batch size held fixed"
    assert beside.estimate.value is not None
    assert beside.sentence in claim.explanation
    alone, _ = judge(source, statistic="mean", y="")
    assert alone.beside == ()


def test_a_column_of_two_values_states_what_ties_allow(source):
    sql = "SELECT trial_id, condition_id, (seed > 0)::INT AS x, batch_size AS y FROM trials"
    claim, _ = judge(source, query=sql, x="x", y="y", statistic="spearman")
    assert "With only two distinct values of x, the correlation can only lie between" in (
        claim.explanation
    )
