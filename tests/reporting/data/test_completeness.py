import pytest

from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.open_results import open_source
from tests.reporting.simulated import NOW, simulate, study_content


def read(path):
    with open_source(path) as source:
        return read_progress(source)


def test_a_finished_study_has_no_sentence_on_completeness(simulated):
    progress = read(simulated)
    assert progress.finished
    assert progress.missing == ""
    assert (progress.completed, progress.snapshots) == (12, 96)
    assert progress.unmeasured == {
        "margin": 0,
        "hessian_trace": 0,
        "hessian_spectrum(top=1)": 0,
        "norms": 0,
    }


def spoil(rows):
    rows["trials"][0] |= {"status": "failed", "stop_reason": None, "error": "out of memory"}
    rows["trials"][1] |= {"status": "running", "stop_reason": None}
    del rows["trials"][2]
    rows["measures"] = [row for row in rows["measures"] if row["request"] != "norms"]


def test_an_unfinished_study_says_what_is_missing(tmp_path):
    progress = read(simulate(tmp_path / "r", change=spoil))
    assert (progress.completed, progress.failed, progress.outstanding) == (9, 1, 2)
    assert progress.unmeasured["norms"] == 96
    assert not progress.finished
    assert "9 of 12 trials are completed, 1 failed" in progress.missing
    assert "96 of 384 snapshot measurements" in progress.missing


def test_requests_for_final_networks_are_expected_only_there(tmp_path):
    content = study_content() | {"final_measures": [{"name": "norms"}]}
    content["measures"] = [one for one in content["measures"] if one["name"] != "norms"]
    path = simulate(tmp_path / "all", study=content)
    assert read(path).finished

    def without_some(rows):
        lost = {rows["checkpoints"][0]["checkpoint_id"], rows["checkpoints"][7]["checkpoint_id"]}
        rows["measures"] = [
            row
            for row in rows["measures"]
            if row["request"] != "norms" or row["checkpoint_id"] not in lost
        ]

    progress = read(simulate(tmp_path / "some", study=content, change=without_some))
    assert progress.asked["norms"] == 12
    assert progress.unmeasured["norms"] == 1  # The other is of a network on its way.
    assert "1 of 300 snapshot measurements" in progress.missing


@pytest.mark.parametrize(
    ("networks", "missing"),
    [
        (None, "3 conditions without an audited network"),
        (1, ""),
        (2, "1 network without an audit"),
        (50, "11 networks without an audit"),
    ],
)
def test_a_claim_that_needs_audits_reports_missing_ones(networks, missing, tmp_path):
    def audited(rows):
        rows["audit"] = [
            {
                "trial_id": "trial000",
                "checkpoint_id": rows["checkpoints"][7]["checkpoint_id"],
                "measure": "margin_mean",
                "variant": "raw",
                "request": "margin",
                "change": "layer_rescaling",
                "status": "ok",
                "written_at": NOW,
            }
        ]

    claim = {"name": "flatness_depends_on_parametrization", "networks": networks}
    study = study_content(claims=[claim])
    progress = read(simulate(tmp_path / "r", study=study, change=audited))
    assert progress.unaudited == missing
    assert progress.finished == (not missing)
    assert missing in progress.missing


def test_measures_that_are_not_installed_are_counted(tmp_path):
    study = study_content(measures=[{"name": "someones_plug_in"}])
    progress = read(simulate(tmp_path / "r", study=study, batch_sizes=[64], seeds=2))
    assert progress.unmeasured == {"someones_plug_in": 16}
