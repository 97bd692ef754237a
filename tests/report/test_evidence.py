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
