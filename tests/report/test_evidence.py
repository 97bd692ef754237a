import numpy as np

from orchestrator.report import check_claims
from orchestrator.report.evidence import judge_claims
from orchestrator.report.source import open_source
from tests.report.simulated import simulate, study_content


def test_claims_of_the_study_in_its_order(simulated):
    claims = check_claims(simulated)
    assert [(claim.name, claim.verdict) for claim in claims] == [
        ("flatness_tracks_margin", "holds"),
        ("margin_is_cheaper", "holds"),
        ("large_batch_needs_time", "holds"),
    ]
    assert claims[0].estimate.value < -0.8
    assert 40 < claims[1].estimate.value < 60
    assert "exact on 96 snapshots" in claims[1].explanation
    assert "Without common snapshots, so not compared: 16 and 1024." in claims[2].explanation


def test_what_else_varies_is_held_fixed_too(simulated):
    claim = check_claims(simulated)[0]
    assert "logarithms of training loss and batch size held fixed it is" in claim.explanation
    assert "width" not in claim.explanation


def test_the_correlation_is_what_a_line_of_sql_says(simulated):
    claim = check_claims(simulated)[0]
    with open_source(simulated) as source:
        ((r, n),) = source.connection.sql(
            "SELECT corr(log10(hessian_trace), margin_mean), count(*) FROM wide "
            "WHERE train_error <= 0.1"
        ).fetchall()
    assert n == claim.estimate.n
    assert np.isclose(r, claim.estimate.value, atol=1e-12)


def test_the_ratio_is_that_of_requests_on_the_same_snapshot(simulated):
    claim = check_claims(simulated)[1]
    with open_source(simulated) as source:
        ((ratio,),) = source.connection.sql(
            "SELECT median(t.seconds / m.seconds) FROM measures t JOIN measures m "
            "USING (checkpoint_id) WHERE t.measure = 'hessian_trace' "
            "AND m.measure = 'margin_mean' AND m.variant = 'raw'"
        ).fetchall()
    assert np.isclose(ratio, claim.estimate.value, rtol=1e-12)


def test_a_study_without_claims_has_none(tmp_path):
    study = study_content(claims=[])
    assert check_claims(simulate(tmp_path / "r", study=study, batch_sizes=[64])) == []


def test_missing_measures_leave_claims_unclear(without_trace):
    claims = check_claims(without_trace)
    assert {claim.verdict for claim in claims} == {"unclear"}
    assert claims[0].explanation.startswith("No snapshot has a hessian_trace yet")
    assert "fewer than two batch sizes" in claims[2].explanation


def test_a_study_without_rows_is_unclear(empty):
    assert {claim.verdict for claim in check_claims(empty)} == {"unclear"}


def test_each_claim_names_a_figure_and_its_query(source):
    judged = judge_claims(source)
    assert [one.figure for one in judged] == ["threshold", "cost", "training"]
    for one in judged:
        assert len(source.rows(one.query)) == 96


def intervened(rows):
    """Odd trials are trained by SAM, which flattens them and leaves the margin alone."""
    odd = {row["trial_id"] for row in rows["trials"] if row["seed"] % 2}
    for row in rows["trials"]:
        sam = row["trial_id"] in odd
        row.update(loss="cross_entropy", optimizer="sam" if sam else "sgd", weight_decay=0.0)
        row.update(rho=0.05 if sam else None, condition_id=row["condition_id"] + "-sam" * sam)
    for row in rows["measures"]:
        if row["trial_id"] in odd and row["measure"] == "hessian_trace":
            row["value"] /= 100


def test_interventions_that_move_flatness_alone(tmp_path):
    study = study_content(claims=["flatness_is_an_epiphenomenon"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study, seeds=4, change=intervened))
    assert claim.verdict == "holds"
    assert "With sgd r is" in claim.explanation
    assert "with sam, rho 0.05 −0." in claim.explanation
    assert "log trace shifted by −" in claim.explanation


def test_both_gaps_are_ranked(tmp_path):
    study = study_content(claims=["margin_predicts_gap_at_least_as_well"])
    (claim,) = check_claims(simulate(tmp_path / "r", study=study))
    assert claim.estimate.n == 12
    assert "with the loss gap τ is" in claim.explanation
    assert "with the error gap τ is" in claim.explanation


def test_a_threshold_of_the_study_replaces_the_usual_one(tmp_path):
    names = ["flatness_tracks_margin", "margin_is_cheaper", "large_batch_needs_time"]
    claims = [
        {"name": name, "threshold": threshold}
        for name, threshold in zip(names, (-0.9999, 1000, 0.99), strict=True)
    ]
    judged = check_claims(simulate(tmp_path / "r", study=study_content(claims=claims)))
    assert [claim.verdict for claim in judged] == ["fails"] * 3
    assert [claim.threshold for claim in judged] == [-0.9999, 1000, 0.99]
    assert "at least 1000 times" in judged[1].statement


def test_the_usual_probes_are_priced_where_a_fixed_number_was_made(tmp_path):
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
    assert "Hutchinson's probes" not in plain.explanation
