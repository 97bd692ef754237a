from datetime import timedelta

import pytest

from orchestrator.reporting import write_report
from orchestrator.reporting.claims.registration import stated_after_results
from orchestrator.reporting.data.open_results import open_source
from orchestrator.results import ResultsFolder, read_study
from orchestrator.study.spec import Study
from tests.reporting.simulated import NOW, PROVENANCE, simulate, study_content

FIRST = {"name": "flatness_tracks_margin", "threshold": None}
SECOND = {"name": "margin_is_cheaper", "threshold": None}


@pytest.fixture
def after(tmp_path):
    """Run a study several times and return each claim's mark and the results folder.

    The first run starts before there are any results.
    """

    def told(*runs, recorded=True):
        results = tmp_path / "r"
        for day, claims in enumerate(runs):
            started = (NOW + timedelta(days=day, hours=-1)).isoformat()
            provenance = {**PROVENANCE, "started_at": started}
            if recorded:
                provenance["claims"] = claims
            content = study_content(claims=claims)
            if day == 0:
                simulate(results, study=content, provenance=provenance)
            else:
                study = read_study(ResultsFolder.open(results))
                study = study.model_copy(update={"claims": Study.model_validate(content).claims})
                ResultsFolder.open(results).extend(study.model_dump_json(), provenance)
        with open_source(results) as source:
            return stated_after_results(source), results

    return told


@pytest.mark.slow
def test_claims_stated_before_the_first_results_are_not_marked(after):
    sentences, results = after([FIRST, SECOND], [SECOND, FIRST])
    assert sentences == ("", "")
    assert "Stated in this form" not in write_report(results).read_text()


def test_claims_added_or_changed_after_results_are_marked(after):
    changed = {**FIRST, "threshold": -0.5}
    sentences, results = after([FIRST], [FIRST], [changed, SECOND], [changed, SECOND])
    marks = [one.partition(",")[0] for one in sentences]
    assert marks == ["Stated in this form on 2026-11-03 at 11:00 UTC"] * 2
    assert write_report(results).read_text().count("Stated in this form") == 2


def test_a_claim_that_returns_keeps_its_first_date(after):
    sentences, _ = after([FIRST, SECOND], [FIRST], [FIRST, SECOND])
    assert sentences == ("", "")


def test_nothing_is_marked_if_earlier_claims_are_unknown(after):
    sentences, _ = after([FIRST], [FIRST, SECOND], recorded=False)
    assert sentences == ("", "")
