"""What is refused from end to end is in test_query.py; here, that it is for what it does."""

from __future__ import annotations

import duckdb
import pytest

from orchestrator.errors import QueryError
from orchestrator.results.database.read_only_sql import check_only_reads

# Before 2.0 there were no statements that write in WITH: the parser itself refuses them.
writing_in_with = pytest.mark.skipif(duckdb.__version__ < "2", reason="new in DuckDB 2.0")


def refusal(sql: str) -> str:
    with duckdb.connect() as connection, pytest.raises(QueryError) as caught:
        check_only_reads(connection, sql)
    return str(caught.value)


@writing_in_with
@pytest.mark.parametrize(
    "sql",
    [
        "WITH x AS (COPY (SELECT 1) TO 'y') FROM x",
        "WITH x AS MATERIALIZED (COPY (SELECT 1) TO 'y') FROM x",
        "FROM (WITH x AS (COPY (SELECT 1) TO 'y') FROM x)",
        "SELECT 1 UNION ALL (WITH x AS (COPY (SELECT 1) TO 'y') FROM x)",
        "SELECT list_transform([1], lambda a: (WITH x AS (COPY (SELECT 1) TO 'y') FROM x))",
        "SELECT 1 ORDER BY (WITH x AS (COPY (SELECT 1) TO 'y') FROM x)",
        "DESCRIBE (WITH x AS (COPY (SELECT 1) TO 'y') FROM x)",
        "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO 'y') FROM x",
    ],
)
def test_copies_are_found_at_any_depth(sql: str) -> None:
    assert "COPY is not allowed inside a query" in refusal(sql)


@writing_in_with
@pytest.mark.parametrize(
    "clause",
    ["INSERT INTO t VALUES (1) RETURNING *", "DELETE FROM t RETURNING *", "UPDATE t SET a = 1"],
)
def test_changes_of_tables_are_found(clause: str) -> None:
    what = clause.partition(" ")[0]
    assert f"{what} is not allowed inside a query" in refusal(f"WITH x AS ({clause}) FROM x")


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("COPY t TO 'x'", "COPY statements"),
        ("EXPLAIN ANALYZE COPY t TO 'x'", "COPY statements"),
        ("EXPLAIN (ANALYZE, FORMAT json) COPY t TO 'x'", "COPY statements"),
        ("EXPLAIN SELECT 1; DROP TABLE t", "2 statements"),
        ("CREATE TABLE t AS SELECT 1", "CREATE statements"),
        ("CALL pragma_version()", "CALL statements"),
        ("FROM ENABLE_PROFILING()", "table function enable_profiling"),
        ("FROM \"Query\"('SELECT 1')", "table function query"),
        ("SELECT 1 WHERE EXISTS (FROM read_blob('x'))", "table function read_blob"),
        ("SELECT 1, (SELECT a FROM range(3) t(a), LATERAL (FROM query('x')) )", "function query"),
        ("PIVOT t ON a USING sum(b)", "PIVOT needs the values"),
        ("/* */ (PIVOT t ON a USING sum(b))", "PIVOT"),
        (" \n-- only this", "no SQL"),
    ],
)
def test_a_refusal_names_the_statement_or_function(sql: str, what: str) -> None:
    assert what in refusal(sql)


@pytest.mark.parametrize(
    "sql", ["SELECT 'COPY_QUERY_NODE' AS type", "SELECT {'type': 'X_NODE'}", "FROM range(3)"]
)
def test_texts_that_resemble_nodes_are_allowed(sql: str) -> None:
    with duckdb.connect() as connection:
        check_only_reads(connection, sql)
        assert connection.sql(sql).fetchall()
