from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import QueryError
from orchestrator.results import ResultsFolder, format_result, query, write_result

SQL = """
    SELECT * FROM (VALUES
        (1, 0.1::DOUBLE, 'plain', true, [1, 2], DATE '2026-11-01', 1.5::DECIMAL(3, 1)),
        (-20, 'nan'::DOUBLE, 'a "b", c' || chr(10) || 'd|e', false, [], NULL, 2),
        (NULL, '-inf'::DOUBLE, NULL, NULL, NULL, NULL, NULL)
    ) t(number, value, words, flag, items, day, price)
"""


@pytest.fixture
def relation() -> duckdb.DuckDBPyRelation:
    return duckdb.connect().sql(SQL)


def test_csv_is_rfc_4180(relation: duckdb.DuckDBPyRelation) -> None:
    text = format_result(relation, "csv")
    assert text.split("\r\n")[:2] == [
        "number,value,words,flag,items,day,price",
        '1,0.1,plain,true,"[1, 2]",2026-11-01,1.5',
    ]
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[2] == ["-20", "nan", 'a "b", c\nd|e', "false", "[]", "", "2.0"]
    assert rows[3] == ["", "-inf", "", "", "", "", ""]
    assert len(rows) == 4


def test_csv_keeps_every_digit() -> None:
    value = 0.1 + 0.2
    relation = duckdb.connect().sql(f"SELECT {value!r}::DOUBLE AS x")
    assert float(format_result(relation, "csv").split("\r\n")[1]) == value


def test_json_output_is_strict(relation: duckdb.DuckDBPyRelation) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    records = json.loads(format_result(relation, "json"), parse_constant=refuse)
    assert records[0] == {
        "number": 1,
        "value": 0.1,
        "words": "plain",
        "flag": True,
        "items": [1, 2],
        "day": "2026-11-01",
        "price": 1.5,
    }
    assert records[1]["words"] == 'a "b", c\nd|e'
    assert records[1]["value"] is None
    assert set(records[2].values()) == {None}


def test_json_contains_big_sums_and_nested_values() -> None:
    relation = duckdb.connect().sql(
        "SELECT sum(1) AS n, {'a': [1.5::DOUBLE, 'inf'::DOUBLE]} AS s, map {'k': 1} AS m "
        "FROM range(3)"
    )
    (record,) = json.loads(format_result(relation, "json"))
    assert record["n"] == 3
    assert record["s"] == {"a": [1.5, None]}


def test_markdown_is_a_table_with_escaped_cells(relation: duckdb.DuckDBPyRelation) -> None:
    assert format_result(relation, "markdown").splitlines() == [
        "| number | value | words | flag | items | day | price |",
        "| ---: | ---: | --- | --- | --- | --- | ---: |",
        "| 1 | 0.1 | plain | true | [1, 2] | 2026-11-01 | 1.5 |",
        '| -20 | nan | a "b", c<br>d\\|e | false | [] |  | 2.0 |',
        "|  | -inf |  |  |  |  |  |",
    ]


def test_parquet_preserves_every_value(relation: duckdb.DuckDBPyRelation) -> None:
    stream = io.BytesIO()
    assert write_result(relation, "parquet", stream) == 3
    stream.seek(0)
    rows = pq.read_table(stream).to_pylist()
    assert rows[0]["price"] == Decimal("1.5")
    assert math.isnan(rows[1]["value"])
    assert rows[1]["items"] == []
    assert rows[2]["items"] is None


def test_parquet_can_be_written_to_a_pipe(relation: duckdb.DuckDBPyRelation) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        write_result(relation, "parquet", stream)
        assert not stream.closed
    with os.fdopen(reader, "rb") as stream:
        assert pq.read_table(io.BytesIO(stream.read())).num_rows == 3


def test_standard_output_is_accepted_and_left_open(
    relation: duckdb.DuckDBPyRelation, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert write_result(relation, "csv", sys.stdout) == 3
    print("after", flush=True)
    output = capfdbinary.readouterr().out
    assert output.startswith(b"number,value")
    assert output.endswith(b"after\n")


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "table", "parquet"])
def test_an_empty_result_is_valid_in_every_format(form: Any) -> None:
    stream = io.BytesIO()
    relation = duckdb.connect().sql("SELECT 1 AS a, 'x' AS b WHERE false")
    assert write_result(relation, form, stream) == 0
    text = stream.getvalue()
    expected = {
        "csv": b"a,b\r\n",
        "json": b"[]\n",
        "markdown": b"| a | b |\n| ---: | --- |\n",
        "table": "a  b\n─  ─\n0 rows\n".encode(),
    }
    if form == "parquet":
        assert pq.read_table(io.BytesIO(text)).schema.names == ["a", "b"]
    else:
        assert text == expected[form]


def test_results_larger_than_a_batch_are_written_completely() -> None:
    relation = duckdb.connect().sql("SELECT range AS n FROM range(70000)")
    text = format_result(relation, "csv")
    assert text.split("\r\n")[-2] == "69999"
    assert len(json.loads(format_result(relation, "json"))) == 70_000
    assert format_result(relation, "table", most_rows=1).endswith("first 1 of 70,000 rows\n")


def test_repeated_column_names_are_made_distinct() -> None:
    relation = duckdb.connect().sql("SELECT 1 AS a, 2 AS a, 3 AS a_1")
    (record,) = json.loads(format_result(relation, "json"))
    assert list(record.values()) == [1, 2, 3]
    assert "a" in record


def test_unknown_formats_and_late_errors_are_user_errors(small_results: ResultsFolder) -> None:
    relation = query(small_results.path, "SELECT CAST(trial_id AS INTEGER) FROM trials")
    with pytest.raises(QueryError, match=r"Could not convert string '\w+'"):
        format_result(relation, "json")
    with pytest.raises(QueryError, match="unknown format 'xml'"):
        format_result(relation, "xml")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="parquet is not text"):
        format_result(relation, "parquet")


def test_an_explained_plan_fits_the_width(small_results: ResultsFolder) -> None:
    text = format_result(query(small_results.path, "EXPLAIN FROM trials"), "table", width=100)
    assert len(text.splitlines()) > 5
    assert all(len(line) <= 100 for line in text.splitlines())


HOSTILE = "<script>|`x`[a](javascript:b)\x1b[2J\x9b31m"


def test_markdown_cells_contain_no_active_markup() -> None:
    text = format_result(duckdb.values([duckdb.ConstantExpression(HOSTILE)]), "markdown")
    cell = text.splitlines()[2]
    assert cell == r"| \<script>\|\`x\`[a]\(javascript:b)\x1b[2J\x9b31m |"


def test_json_and_csv_keep_every_character() -> None:
    relation = duckdb.sql("SELECT ? AS a", params=[HOSTILE])
    text = format_result(relation, "json")
    assert json.loads(text) == [{"a": HOSTILE}]
    assert not any(letter in text for letter in "\x1b\x9b")
    assert next(csv.DictReader(io.StringIO(format_result(relation, "csv")))) == {"a": HOSTILE}


def test_csv_on_a_terminal_contains_no_control_characters() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    write_result(duckdb.sql("SELECT ? AS a", params=[HOSTILE]), "csv", screen)
    assert rb"\x1b[2J\x9b31m" in screen.getvalue()
    assert b"\x1b" not in screen.getvalue()


def test_parquet_stores_intervals_as_text() -> None:
    with duckdb.connect() as database:
        rows = database.sql("SELECT 1 AS a, INTERVAL 3 DAY AS a, [1.5] AS c")
        stream = io.BytesIO()
        write_result(rows, "parquet", stream)
    stored = pq.read_table(pa.BufferReader(stream.getvalue()))
    assert stored.to_pylist() == [{"a": 1, "a_1": "3 days", "c": [1.5]}]
