from __future__ import annotations

import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, connect, sweep_temporary, write_part
from orchestrator.results.table_schemas import FLOATS, TABLES, TIME, table_schema
from tests.results.conftest import at, checkpoint_row, measure_row, trial_row

EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))

_VALUES = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(),
    "string": st.text(),
    str(FLOATS): st.lists(st.floats()),
    str(TIME): st.integers(0, 2**52).map(lambda us: EPOCH + timedelta(microseconds=us)),
}


def rows_of(table: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = {}
    for field in table_schema(table):
        values = _VALUES[str(field.type)]
        columns[field.name] = st.none() | values if field.nullable else values
    return st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=5)


@pytest.mark.parametrize("table", TABLES)
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_table_reads_back_what_was_written(
    folder: ResultsFolder, table: str, data: st.DataObject
) -> None:
    rows = data.draw(rows_of(table))
    path = write_part(folder, table, rows, "part")
    assert path is not None
    names = folder.schema(table).names
    expected = [{name: row[name] for name in names} for row in rows]
    # NaN differs from itself; its text does not.
    assert repr(pq.read_table(path).to_pylist()) == repr(expected)
    assert pq.read_schema(path).equals(folder.schema(table), check_metadata=True)


def test_a_part_is_compressed_and_states_its_version(folder: ResultsFolder) -> None:
    rows = [measure_row("a0", step, "x", 1.0) for step in range(100)]
    path = write_part(folder, "measures", rows, "a0-1")
    assert path == folder.table("measures") / "a0-1.parquet"
    metadata = pq.read_metadata(path)
    column = metadata.row_group(0).column(table_schema("measures").names.index("measure"))
    assert column.compression == "ZSTD"
    assert "RLE_DICTIONARY" in column.encodings
    assert metadata.metadata[b"schema_version"] == b"1"


def test_omitted_columns_are_null_and_the_time_is_now(folder: ResultsFolder) -> None:
    row = {
        "trial_id": "a",
        "checkpoint_id": "a-1",
        "step": 1,
        "request": "r",
        "measure": "m",
        "status": "error",
    }
    before = datetime.now(UTC)
    path = write_part(folder, "measures", iter([row]), "part")
    (stored,) = pq.read_table(path).to_pylist()
    assert before <= stored["written_at"] <= datetime.now(UTC)
    assert stored["variant"] == ""
    assert stored["value"] is None
    assert "written_at" not in row


def test_no_part_is_written_without_rows(folder: ResultsFolder) -> None:
    assert write_part(folder, "epochs", [], "part") is None
    assert os.listdir(folder.table("epochs")) == ["_schema.parquet"]


def test_a_part_of_the_same_name_is_replaced(folder: ResultsFolder) -> None:
    for value in (1.0, 2.0):
        write_part(folder, "measures", [measure_row("a0", 10, "x", value)], "part")
    with connect(folder) as database:
        assert database.sql("SELECT value FROM parts.measures").fetchall() == [(2.0,)]


def test_numpy_numbers_and_nonfinite_values_are_accepted(folder: ResultsFolder) -> None:
    row = checkpoint_row(
        "a0", 10, train_loss=np.float32(0.5), bytes=np.int64(3), test_loss=math.nan
    )
    (stored,) = pq.read_table(write_part(folder, "checkpoints", [row], "part")).to_pylist()
    assert (stored["train_loss"], stored["bytes"]) == (0.5, 3)
    assert math.isnan(stored["test_loss"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"stepp": 3}, "unknown column 'stepp'[\\s\\S]*did you mean 'step'"),
        ({"step": 1.5}, "checkpoints.step: got 1.5 \\(float\\), expected an integer"),
        ({"step": True}, "expected an integer"),
        ({"step": None}, "checkpoints.step: missing"),
        ({"step": 2**63}, "checkpoints.step"),
        ({"train_loss": "low"}, "checkpoints.train_loss: got 'low' \\(str\\), expected a number"),
        ({"train_loss": False}, "expected a number"),
        ({"reason": 3}, "checkpoints.reason: got 3 \\(int\\), expected text"),
        ({"milestones": [0.5, "a"]}, "expected a list of numbers"),
        ({"milestones": 0.5}, "expected a list of numbers"),
        ({"written_at": at(0).replace(tzinfo=None)}, "expected a time with a time zone"),
        ({"sha256": "\ud800"}, "checkpoints.sha256"),
    ],
)
def test_invalid_rows_are_refused_and_nothing_is_written(
    folder: ResultsFolder, columns: dict[str, Any], message: str
) -> None:
    rows = [checkpoint_row("a0", 10), checkpoint_row("a0", 20) | columns]
    with pytest.raises(ResultsError, match=message):
        write_part(folder, "checkpoints", rows, "part")
    assert os.listdir(folder.table("checkpoints")) == ["_schema.parquet"]


@pytest.mark.parametrize("name", ["compact-1", "_schema", ".hidden", "../a", "a/b", "", "a b"])
def test_reserved_part_names_are_refused(folder: ResultsFolder, name: str) -> None:
    with pytest.raises(ResultsError, match="can't be the name of a part"):
        write_part(folder, "trials", [trial_row("a0")], name)


def test_an_interrupted_write_breaks_no_query(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(folder, "trials", [trial_row("a0")], "a0")

    class Killed(BaseException):
        """As a kill: nothing after it runs."""

    def half(table: Any, where: Path, **_: Any) -> None:
        where.write_bytes(b"PAR1 half a file")
        raise Killed

    monkeypatch.setattr("orchestrator.results.folder.writer.write_sealed", half)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(Killed):
        write_part(folder, "trials", [trial_row("a1")], "a1")
    monkeypatch.undo()
    stray = [name for name in os.listdir(folder.table("trials")) if name.startswith(".")]
    assert len(stray) == 1
    with connect(folder) as database:
        assert database.sql("SELECT trial_id FROM trials").fetchall() == [("a0",)]
    assert sweep_temporary(folder) == 1
    assert sorted(os.listdir(folder.table("trials"))) == ["_schema.parquet", "a0.parquet"]


def test_sweeping_removes_only_temporary_files(filled: ResultsFolder) -> None:
    snapshots = filled.snapshots / "a0"
    (snapshots / ".30.safetensors.123.tmp").touch()
    (filled.resume / ".a0.safetensors.1.tmp").touch()
    (filled.path / ".lock").touch()
    before = {path for path in filled.path.rglob("*") if not path.name.endswith(".tmp")}
    (filled.path / ".compaction.tmp").mkdir()
    (filled.path / ".compaction.tmp" / "duckdb_temp_storage-0.tmp").touch()
    assert sweep_temporary(filled) == 3
    assert set(filled.path.rglob("*")) == before
    assert sweep_temporary(filled) == 0
