"""What counts as audited, by itself."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.cluster.backlog_reading import measure_versions, read_audited
from orchestrator.results import ResultsFolder, read_study, table_schema, write_part

from ..results.conftest import at, measure_row, study_json


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
def test_a_clock_that_was_set_back_or_forth_changes_nothing(folder, clock):
    study = read_study(folder)
    version = measure_versions(study)["margin"]
    write_part(folder, "measures", [measure_row("a0", 20, "margin_mean", 1.0)], "a0-20")
    write_part(folder, "audit", [audit_row(version, at(0) + clock)], "a0-20")
    assert read_audited(folder, study) == {"a0-20": {"margin"}}


def test_what_an_earlier_version_of_a_measure_gave_is_audited_again(folder):
    study = read_study(folder)
    version = measure_versions(study)["margin"]
    write_part(folder, "audit", [audit_row(version - 1, at(9))], "a0-20")
    assert read_audited(folder, study) == {}
    write_part(folder, "audit", [audit_row(version, at(0))], "again")
    assert read_audited(folder, study) == {"a0-20": {"margin"}}


def test_audits_of_a_release_that_kept_no_versions_count(folder):
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
