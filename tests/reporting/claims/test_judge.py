import numpy as np
import pytest

from orchestrator.reporting.claims.evidence import judge_claims
from orchestrator.reporting.claims.judge import JUDGES
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.export.exporting import NAMES
from orchestrator.study.claim_options import CLAIM_NEEDS, BuiltInClaim, claim_with_audits
from orchestrator.study.measured_columns import measures_filling
from tests.reporting.simulated import simulate, study_content


def test_a_study_accepts_exactly_the_claims_that_reports_can_judge():
    assert JUDGES.keys() == CLAIM_NEEDS.keys()


def test_each_claim_is_shown_by_something_and_needs_columns_of_measures():
    assert {one.figure for one in JUDGES.values()} <= set(NAMES)
    needed = {column for needs in CLAIM_NEEDS.values() for column in needs.columns}
    assert [column for column in needed if not measures_filling(column)] == []


def test_each_claim_is_judged_under_its_own_name_with_the_threshold_of_the_study(tmp_path):
    claims = [{"name": name, "threshold": 0.25} for name in JUDGES]
    path = simulate(tmp_path / "r", study=study_content(claims=claims), batch_sizes=[64])
    with open_source(path) as source:
        judged = judge_claims(source)
    assert [one.claim.name for one in judged] == list(JUDGES)
    assert [one.figure for one in judged] == [one.figure for one in JUDGES.values()]
    thresholds = [one.claim.threshold for one in judged if one.claim.name[:5] != "large"]
    assert np.allclose(thresholds, 0.25)


@pytest.mark.parametrize("missing", ["margin", "hessian_trace"])
def test_a_claim_without_a_measure_that_it_needs_is_unclear(missing, tmp_path):
    kept = {"margin", "hessian_trace"} - {missing}
    study = study_content(claims=list(JUDGES))
    with open_source(simulate(tmp_path / "r", study=study, requests=kept)) as source:
        judged = [one.claim for one in judge_claims(source)]
    column = {"margin": "margin_mean"}.get(missing, missing)
    for claim in judged:
        told = claim.explanation.startswith(f"No snapshot has {column} yet")
        assert told == (column in CLAIM_NEEDS[claim.name].columns)
        assert claim.verdict == "unclear"


def test_a_claim_that_needs_audits_is_found_among_others():
    audited = [name for name, needs in CLAIM_NEEDS.items() if needs.audit]
    claims = [BuiltInClaim(name=name) for name in CLAIM_NEEDS]
    assert claim_with_audits(claims) == BuiltInClaim(name=audited[0])
    assert claim_with_audits([claim for claim in claims if claim.name not in audited]) is None
