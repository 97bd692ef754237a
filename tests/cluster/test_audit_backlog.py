"""What counts as audited, by itself."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.cluster.backlog import (
    audits_left,
    last_snapshots,
    measure_versions,
    read_audited,
)
from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.open_results import open_source
from orchestrator.results import ResultsFolder, read_study, table_schema, write_part
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials
from tests.cluster.conftest import SMALL_STUDY
from tests.cluster.in_process import run_in_process
from tests.results.conftest import at, measure_row, study_json

CLAIM = "flatness_depends_on_parametrization"


@pytest.fixture
def folder(tmp_path):
    return ResultsFolder.create(tmp_path / "small", study_json(), "", {}, "")


def audit_row(version, written_at, **changes):
    return {
        "trial_id": "a0",
        "checkpoint_id": "a0-20",
        "change": "precision",
        "request": "margin",
        "measure": "margin_mean",
        "variant": "",
        "status": "ok",
        "measure_version": version,
        "written_at": written_at,
        **changes,
    }


@pytest.mark.parametrize("clock", [-timedelta(days=9), timedelta(0), timedelta(days=9)])
def test_a_clock_set_back_or_forward_does_not_change_what_is_audited(folder, clock):
    study = read_study(folder)
    version = measure_versions(study)["margin"]
    write_part(folder, "measures", [measure_row("a0", 20, "margin_mean", 1.0)], "a0-20")
    write_part(folder, "audit", [audit_row(version, at(0) + clock)], "a0-20")
    assert read_audited(folder, study) == {"a0-20": {"margin"}}


def test_audits_by_an_earlier_version_of_a_measure_are_redone(folder):
    study = read_study(folder)
    version = measure_versions(study)["margin"]
    write_part(folder, "audit", [audit_row(version - 1, at(9))], "a0-20")
    assert read_audited(folder, study) == {}
    write_part(folder, "audit", [audit_row(version, at(0))], "again")
    assert read_audited(folder, study) == {"a0-20": {"margin"}}


def test_audits_of_a_release_without_versions_count(folder):
    schema = table_schema("audit")
    earlier = schema.remove(schema.get_field_index("measure_version"))
    pq.write_table(earlier.empty_table(), folder.table("audit") / "_schema.parquet")
    row = {name: [audit_row(1, at(0)).get(name)] for name in earlier.names}
    pq.write_table(pa.table(row, schema=earlier), folder.table("audit") / "old.parquet")
    assert read_audited(folder, read_study(folder)) == {"a0-20": {"margin"}}
    # A part of this release beside it.
    version = measure_versions(read_study(folder))["margin"]
    write_part(folder, "audit", [audit_row(version, at(1), checkpoint_id="b0-20")], "b0-20")
    assert read_audited(folder, read_study(folder)).keys() == {"a0-20", "b0-20"}


def study_with(claim, **changes):
    return Study.model_validate({**SMALL_STUDY, "claims": [claim], **changes})


def planned(claim, **changes):
    study = study_with(claim, **changes)
    return audits_left(None, study, expand_trials(study))


def test_two_networks_per_condition_or_the_given_number_per_shape_are_audited():
    assert planned(CLAIM, seeds=3) == 4
    assert planned({CLAIM: {"networks": 3}}, seeds=3) == 3
    assert planned({CLAIM: {"networks": 9}}, seeds=3) == 6
    models = [{"name": "mlp", "width": width, "depth": 1} for width in (8, 16)]
    sweep = {"training.batch_size": [10, 20, 40], "model": models}
    assert planned({CLAIM: {"networks": 2}}, seeds=1, sweep=sweep) == 4
    assert planned("flatness_tracks_margin") == 0


def test_audited_networks_of_a_shape_are_kept_as_the_study_grows(finished):
    folder = ResultsFolder.open(finished())
    trials = expand_trials(read_study(folder))

    def chosen(trials, per_shape):
        return [trial.trial_id for trial, _, _ in last_snapshots(folder, trials, None, per_shape)]

    first = sorted(trial.trial_id for trial in trials if trial.seed == 0)
    assert chosen(trials, 1) == first[:1]
    assert chosen(list(reversed(trials)), 2) == first
    assert set(chosen(trials, 3)) > set(first)
    assert len(chosen(trials, None)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("claim", [CLAIM, {CLAIM: {"networks": 1}}], ids=["default", "limited"])
def test_a_study_with_complete_audits_is_finished_in_its_report(claim, small_study, tmp_path):
    models = [{"name": "mlp", "width": width, "depth": 1} for width in (8, 16)]
    study = small_study(claims=[claim], sweep={"model": models}, measures=["margin"], seeds=2)
    assert run_in_process(study, tmp_path / "results").complete
    with open_source(tmp_path / "results") as source:
        assert read_progress(source).finished


def test_only_the_claim_that_needs_audits_accepts_a_number_of_networks(small_study):
    with pytest.raises(ValueError, match="margin_is_cheaper audits no networks"):
        study_with({"margin_is_cheaper": {"networks": 2}})
