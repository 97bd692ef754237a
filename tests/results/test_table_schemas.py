from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from orchestrator.errors import ResultsError
from orchestrator.results.table_schemas import (
    IS_FINAL,
    KEYS,
    SCHEMA_VERSION,
    TABLES,
    is_final,
    merge_swept,
    reason_text,
    swept_columns,
    swept_columns_of,
    table_schema,
    trials_schema,
)


def test_every_table_says_its_version_and_has_its_keys() -> None:
    tables = {"trials", "epochs", "checkpoints", "measures", "measure_catalog", "audit", "curves"}
    tables |= {"connectivity", "example_subsets", "examples", "trust_checks"}
    assert set(TABLES) == tables
    for table in TABLES:
        schema = table_schema(table)
        assert schema.metadata == {b"schema_version": str(SCHEMA_VERSION).encode()}
        if table in KEYS:
            keys = KEYS[table]
            assert {*keys.key, keys.group, *keys.sort, "written_at"} <= set(schema.names)


def test_columns_of_trials_are_typed() -> None:
    schema = trials_schema({"beta1": float, "flip": bool, "steps": int, "kind": str})
    for name, kind in {
        "beta1": pa.float64(),
        "flip": pa.bool_(),
        "steps": pa.int64(),
        "kind": pa.string(),
        "batch_size": pa.int64(),
        "learning_rate": pa.float64(),
        "written_at": pa.timestamp("us", tz="UTC"),
    }.items():
        assert schema.field(name).type == kind
    assert swept_columns_of(schema) == {"beta1": float, "flip": bool, "steps": int, "kind": str}


@pytest.mark.parametrize("name", ["batch_size", "Batch_Size", "a-b", "", "1st", 'x"; DROP'])
def test_swept_columns_need_a_name_of_their_own(name: str) -> None:
    with pytest.raises(ResultsError, match="can't be a column"):
        trials_schema({name: int})


def test_swept_columns_are_typed_from_their_values() -> None:
    values = {
        "flag": [True, None],
        "count": [1, 2],
        "rate": [1, 0.5],
        "name": ["a", None],
        "mixed": [1, "a"],
        "truth_or_number": [True, 1],
        "list": [["flip"], []],
        "nothing": [None, None],
        "batch_size": [16, 64],
    }
    rows = [{name: pair[index] for name, pair in values.items()} for index in range(2)]
    assert swept_columns(rows) == {
        "flag": bool,
        "count": int,
        "rate": float,
        "name": str,
        "mixed": str,
        "truth_or_number": str,
        "list": str,
        "nothing": str,
    }


def test_merged_columns_hold_the_values_of_both() -> None:
    stored = {"a": int, "b": int, "c": str}
    assert merge_swept(stored, {"a": float, "b": bool, "d": int}) == {
        "a": float,
        "b": str,
        "c": str,
        "d": int,
    }


@pytest.mark.parametrize(
    "reasons", [("final",), ("update", "final"), ("epoch", "train_loss 0.1"), ("finally",)]
)
def test_python_and_sql_find_the_same_final_networks(reasons: tuple[str, ...]) -> None:
    text = reason_text(reasons)
    assert text == "; ".join(reasons)
    assert is_final({"reason": text}) == ("final" in reasons)
    found = duckdb.execute(f"SELECT {IS_FINAL} FROM (SELECT ? AS reason)", [text]).fetchone()
    assert found == ("final" in reasons,)
