"""Folders of earlier releases: each column and table that may have come later is taken away."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import orchestrator
from orchestrator.reporting import check_claims
from orchestrator.results import ResultsFolder, compact, connect, study_status, write_part
from orchestrator.results.database.connection import MEASURE_COLUMN_VIEWS
from orchestrator.results.table_schemas import ADDED_TABLES, TABLES, table_schema
from tests.results.conftest import measure_row, study_json, trial_row

VIEWS = (*TABLES, "gap", "final", "milestones", "fragility", "curve_points", *MEASURE_COLUMN_VIEWS)
COLUMNS = [(t, field.name) for t in TABLES for field in table_schema(t) if field.nullable]


def without(folder: Path, columns: Iterable[tuple[str, str]], tables: Iterable[str] = ()) -> Path:
    """Take columns and tables out of results, and the checksums that there once were none of."""
    dropped: dict[str, list[str]] = {}
    for table, column in columns:
        dropped.setdefault(table, []).append(column)
    for table in TABLES:
        names = dropped.get(table, [])
        for path in (folder / table).glob("*.parquet"):
            stored = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read()
            kept = [name for name in stored.column_names if name not in names]
            metadata = {b"schema_version": b"1"}
            pq.write_table(stored.select(kept).replace_schema_metadata(metadata), path)
    for table in tables:
        shutil.rmtree(folder / table)
    return folder


def tier(number: int) -> list[pytest.MarkDecorator]:
    """Every 32nd by default, every fourth in CI, all in *full*."""
    if number % 32 == 0:
        return []
    return [pytest.mark.slow if number % 4 == 0 else pytest.mark.full]


def read(folder: Path) -> dict[str, int]:
    with connect(folder) as database:
        return {view: len(database.sql(f"FROM {view}").fetchall()) for view in VIEWS}


@pytest.mark.parametrize(
    ("table", "column"),
    [pytest.param(*one, marks=tier(number)) for number, one in enumerate(COLUMNS)],
)
def test_a_column_added_in_a_later_release_is_null(
    filled: ResultsFolder, table: str, column: str
) -> None:
    folder = without(filled.path, [(table, column)])  # type: ignore[arg-type]
    read(folder)
    with connect(folder) as database:
        assert (
            database.sql(f'SELECT "{column}" FROM {table} WHERE "{column}" IS NOT NULL').fetchall()
            == []
        )
        assert database.table(table).columns == table_schema(table).names
    study_status(folder)
    check_claims(folder)


@pytest.mark.parametrize("table", ADDED_TABLES)
def test_a_table_added_in_a_later_release_is_empty(filled: ResultsFolder, table: str) -> None:
    before = read(filled.path)  # type: ignore[arg-type]
    assert read(without(filled.path, [], [table])) == before  # type: ignore[arg-type]


def test_the_oldest_possible_folder_is_reported_and_continued(filled: ResultsFolder) -> None:
    folder = without(filled.path, COLUMNS, ADDED_TABLES)  # type: ignore[arg-type]
    assert orchestrator.report(folder).exists()
    before = read(folder)
    continued = ResultsFolder.create(folder, study_json(), "study: small\n", {}, "")
    write_part(continued, "trials", [trial_row("a0", error="none")], "new")
    write_part(continued, "measures", [measure_row("a0", 10, "margin_mean", 1.0)], "new")
    compact(folder)
    assert read(folder)["trials"] == before["trials"]
    with connect(folder) as database:
        assert database.sql("SELECT error FROM trials WHERE error IS NOT NULL").fetchall() == [
            ("none",)
        ]


def test_measuring_later_writes_columns_added_in_a_later_release(filled: ResultsFolder) -> None:
    folder = without(filled.path, [("measures", "batch_norm_mode")])  # type: ignore[arg-type]
    opened = ResultsFolder.open(folder)
    opened.extend(study_json(), {})
    row = measure_row("a0", 10, "new", 1.0, batch_norm_mode="eval")
    write_part(opened, "measures", [row], "new")
    with connect(folder) as database:
        modes = database.sql("SELECT DISTINCT batch_norm_mode FROM measures").fetchall()
    assert set(modes) == {(None,), ("eval",)}
