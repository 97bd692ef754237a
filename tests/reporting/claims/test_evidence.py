import numpy as np

from orchestrator.reporting import check_claims
from orchestrator.reporting.claims.evidence import judge_claims
from orchestrator.reporting.data.open_results import open_source
from tests.reporting.simulated import simulate, study_content


def test_claims_are_judged_in_the_order_of_the_study(simulated):
    claims = check_claims(simulated)
    assert [(claim.name, claim.verdict) for claim in claims] == [
        ("flatness_tracks_margin", "holds"),
        ("margin_is_cheaper", "holds"),
        ("large_batch_needs_time", "unclear"),
    ]
    assert {claim.scope for claim in claims} == {"in this grid"}
    assert claims[0].estimate.value < -0.8
    assert 40 < claims[1].estimate.value < 60
    assert "exact on 96 snapshots" in claims[1].explanation
    assert "without common snapshots: 16 and 1024." in claims[2].explanation
    assert "have no common point in training" in claims[2].explanation


def test_an_estimate_with_other_variation_held_fixed_is_shown(simulated, tmp_path):
    claim = check_claims(simulated)[0]
    what = "With training loss and batch size held fixed, no estimate is possible: 3 conditions are"
    assert what in claim.explanation
    study = study_content(claims=["flatness_tracks_margin"])
    study["sweep"]["training.optimizer.learning_rate"] = [0.05, 0.2]
    path = simulate(tmp_path / "r", study=study, learning_rates=(0.05, 0.2))
    (claim,) = check_claims(path)
    assert claim.beside[0].what == ("with training loss, batch size and learning rate held fixed")
    assert claim.beside[0].estimate.value is not None
    assert claim.scope == "for conditions like these"
    assert "covers only the two levels tested: learning rate." in claim.explanation


def test_the_correlation_equals_that_of_a_sql_query(simulated):
    claim = check_claims(simulated)[0]
    with open_source(simulated) as source:
        ((x, y, xx, yy, xy, n),) = source.connection.sql(
            "WITH weighed AS (\n"
            "    SELECT log10(hessian_trace) AS x, margin_mean AS y,\n"
            "        1 / count(*) OVER (PARTITION BY trial_id) /\n"
            "            count(DISTINCT trial_id) OVER (PARTITION BY condition_id) AS w\n"
            "    FROM wide WHERE train_error <= 0.1)\n"
            "SELECT sum(w * x) / sum(w), sum(w * y) / sum(w), sum(w * x * x) / sum(w),\n"
            "    sum(w * y * y) / sum(w), sum(w * x * y) / sum(w), count(*) FROM weighed"
        ).fetchall()
    r = (xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y))
    assert n == claim.estimate.n
    assert np.isclose(r, claim.estimate.value, atol=1e-12)


def test_large_batches_with_equally_many_updates_have_equal_margins(tmp_path):
    study = study_content(claims=["large_batch_needs_time"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study, batch_sizes=(16, 256), seeds=16))
    assert claim.reads == "holds in this grid"
    assert "After 960 updates the margin of batch size 256 is" in claim.explanation


def test_the_cost_ratio_compares_requests_on_the_same_snapshot(simulated):
    claim = check_claims(simulated)[1]
    with open_source(simulated) as source:
        ((ratio,),) = source.connection.sql(
            "SELECT median(ratio) FROM ("
            "SELECT median(t.seconds / m.seconds) AS ratio FROM measures t JOIN measures m "
            "USING (checkpoint_id) JOIN trials ON trials.trial_id = t.trial_id "
            "WHERE t.measure = 'hessian_trace' "
            "AND m.measure = 'margin_mean' AND m.variant = 'raw' GROUP BY condition_id)"
        ).fetchall()
    assert np.isclose(ratio, claim.estimate.value, rtol=1e-12)


def test_a_study_without_claims_has_no_verdicts(tmp_path):
    study = study_content(claims=[])
    assert check_claims(simulate(tmp_path / "r", study=study, batch_sizes=[64])) == []


def test_missing_measures_leave_claims_unclear(without_trace):
    claims = check_claims(without_trace)
    assert {claim.verdict for claim in claims} == {"unclear"}
    assert claims[0].explanation.startswith("No snapshot has hessian_trace yet")
    assert "fewer than two batch sizes" in claims[2].explanation


def test_claims_of_a_study_without_rows_are_unclear(empty):
    assert {claim.verdict for claim in check_claims(empty)} == {"unclear"}


def test_each_claim_names_a_figure_and_its_query(source):
    judged = judge_claims(source)
    assert [one.figure for one in judged] == ["threshold", "cost", "training"]
    for one in judged:
        assert len(source.rows(one.query)) == 96


def intervened(rows):
    """Odd trials are trained by SAM, under which the trace rises with the margin."""
    odd = {row["trial_id"] for row in rows["trials"] if row["seed"] % 2}
    for row in rows["trials"]:
        sam = row["trial_id"] in odd
        row.update(loss="cross_entropy", optimizer="sam" if sam else "sgd", weight_decay=0.0)
        row.update(rho=0.05 if sam else None, condition_id=row["condition_id"] + "-sam" * sam)
    for row in rows["measures"]:
        if row["trial_id"] in odd and row["measure"] == "hessian_trace":
            row["value"] = 1 / row["value"]


def test_an_intervention_that_reverses_the_relation_makes_the_claim_hold(tmp_path):
    study = study_content(claims=["flatness_is_an_epiphenomenon"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study, seeds=4, change=intervened))
    assert claim.verdict == "holds"
    assert "With sgd, log10 trace changes by −" in claim.explanation
    assert "In multiples of that slope: with sam, rho 0.05 −" in claim.explanation
    assert "With sam, rho 0.05, r is 0." in claim.explanation
    assert "log trace shifts by " in claim.explanation


def test_both_gaps_are_ranked(tmp_path):
    study = study_content(claims=["margin_predicts_gap_at_least_as_well"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study))
    assert claim.estimate.n == 12
    assert "with the loss gap τ is" in claim.explanation
    assert "with the error gap τ is" in claim.explanation


def test_thresholds_of_the_study_replace_the_defaults(tmp_path):
    names = ["flatness_tracks_margin", "margin_is_cheaper", "large_batch_needs_time"]
    claims = [
        {"name": name, "threshold": threshold}
        for name, threshold in zip(names, (-0.9999, 1000, 0.01), strict=True)
    ]
    judged = check_claims(simulate(tmp_path / "r", study=study_content(claims=claims)))
    assert [claim.verdict for claim in judged] == ["fails", "fails", "unclear"]
    assert [claim.threshold for claim in judged] == [-0.9999, 1000, 0.99]
    assert judged[2].criterion == "between 0.99 and 1.01"
    assert "at least 1000 times" in judged[1].statement


def test_the_default_number_of_probes_is_priced_if_a_fixed_number_was_used(tmp_path):
    def probed(rows):
        for row in [r for r in rows["measures"] if r["measure"] == "hessian_trace"]:
            for options in ("probes=2, relative_error=1e-09", "probes=64"):
                request = f'hessian_trace(method="hutchinson", {options})'
                seconds = row["seconds"] / 2 if "error" in options else 1e9
                rows["measures"].append(
                    {**row, "variant": "hutchinson", "request": request, "seconds": seconds}
                )

    study = study_content(claims=["margin_is_cheaper"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study, change=probed))
    plain = check_claims(simulate(tmp_path / "plain", study=study))[0]
    assert claim.estimate == plain.estimate
    usual = float(claim.explanation.partition("the ratio is ")[2].split(" ")[0].replace(",", ""))
    # Half the seconds for two probes: a hundred cost 25 times the trace.
    assert np.isclose(usual, 25 * claim.estimate.value, rtol=0.01)
    assert "Hutchinson probes" not in plain.explanation


def test_costs_are_those_of_the_request_on_most_examples(tmp_path):
    def measured_twice(rows):
        for row in [row for row in rows["measures"] if row["measure"] == "margin_mean"]:
            few = {"request": "a request on one example", "n_examples": 1, "seconds": 1e6}
            rows["measures"].append({**row, **few})
            row["n_examples"] = 1000

    study = study_content(claims=["margin_is_cheaper"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study, change=measured_twice))
    (plain,) = check_claims(simulate(tmp_path / "plain", study=study))
    assert claim.estimate == plain.estimate
