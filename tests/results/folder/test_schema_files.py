"""Stored schemas: lost ones are written anew, and nothing is deleted for want of one."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, compact, connect, study_status, write_part
from orchestrator.results.table_schemas import ADDED_TABLES, TABLES
from tests.results.conftest import ask, fill, trial_row
from tests.results.test_flipped_bits import ROWS

Make = Callable[..., ResultsFolder]


@pytest.mark.parametrize("table", TABLES)
def test_a_lost_schema_is_reported_and_rewritten(filled: ResultsFolder, table: str) -> None:
    if table in ROWS:
        for name in "ab":
            write_part(filled, table, [ROWS[table]], name)
    identity, rows = filled.place(table, ""), ask(filled, f"FROM {table} ORDER BY ALL")
    schema = filled.readable(table) / "_schema.parquet"
    schema.unlink()
    before = sorted(filled.readable(table).iterdir())
    for command in (connect, compact, study_status):
        with pytest.raises(ResultsError, match=f"{table}/_schema.parquet.*missing") as told:
            command(ResultsFolder.open(filled.path))
        assert told.value.hint == "run the study again, which recreates it"
    assert sorted(filled.readable(table).iterdir()) == before
    folder = ResultsFolder(filled.path)
    with folder.lock():
        folder.restore_schemas()
    assert ask(filled, f"FROM {table} ORDER BY ALL") == rows
    assert ResultsFolder(filled.path).place(table, "") == identity


def test_a_table_added_later_has_no_schema_until_it_has_parts(
    filled: ResultsFolder,
) -> None:
    for table in ADDED_TABLES:
        (filled.readable(table) / "_schema.parquet").unlink()
    filled.restore_schemas()
    for table in ADDED_TABLES:
        assert ask(filled, f"SELECT count(*) FROM {table}") == [(0,)]
        assert not (filled.readable(table) / "_schema.parquet").exists()


def test_a_lost_schema_of_trials_regains_the_columns_of_its_parts(make_folder: Make) -> None:
    folder = fill(make_folder(swept={"beta1": float}))
    write_part(folder, "trials", [trial_row("a0", attempt=2, beta1=0.5)], "swept")
    identity = folder.place("trials", "a1-1").results
    for table in TABLES:
        (folder.readable(table) / "_schema.parquet").unlink()
    part = folder.readable("trials") / "a1-1.parquet"
    part.write_bytes(part.read_bytes()[:-9])  # Is left out.
    made = make_folder(swept={"kind": str})
    assert made.schema("trials").field("beta1").type == pa.float64()
    assert made.schema("trials").field("kind").type == pa.string()
    part.unlink()
    assert ask(made, "SELECT beta1, count(*) OVER () FROM trials WHERE trial_id = 'a0'") == [
        (0.5, 1)
    ]
    assert made.place("trials", "a1-1").results == identity
