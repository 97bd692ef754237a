"""A check that SQL only reads.

A ``SELECT`` statement may still write: since DuckDB 2.0, a ``WITH`` clause may contain a
``COPY … TO``, which writes files. So the check walks the tree that DuckDB's own parser returns,
and refuses everything that is not known to only read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from orchestrator.errors import QueryError

_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}

_TABLE_FUNCTIONS = {
    "duckdb_columns",
    "duckdb_functions",
    "duckdb_tables",
    "duckdb_views",
    "generate_series",
    "glob",
    "json_each",
    "json_tree",
    "parquet_file_metadata",
    "parquet_kv_metadata",
    "parquet_metadata",
    "parquet_scan",
    "parquet_schema",
    "pragma_table_info",
    "range",
    "read_parquet",
    "repeat",
    "unnest",
}

_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)
_PIVOT = re.compile(r"\bPIVOT\b", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(--[^\n]*(\n|$)|/\*.*?\*/)", re.DOTALL)

_HINT = (
    "use one SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN; for anything else, "
    "use orchestrator.connect in Python"
)


def check_only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse SQL that is not exactly one statement that only reads.

    Raises:
        QueryError: If the SQL is anything else; the message names it.
    """
    if not sql.isascii():
        try:
            sql.encode()
        except UnicodeEncodeError as error:
            line = sql.count("\n", 0, error.start) + 1
            raise QueryError(f"line {line} of the SQL is not UTF-8 text") from None
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("no SQL to run", "for example: SELECT * FROM final LIMIT 5")
    kind = statements[0].type
    several = len(statements) > 1
    if (several or kind == duckdb.StatementType.MULTI) and _PIVOT.search(sql):
        # DuckDB splits it into several statements; the first collects the values as a type.
        raise QueryError(
            "PIVOT needs the values that become columns", "write PIVOT … ON column IN (…)"
        )
    if several:
        raise QueryError(f"got {len(statements)} statements; a query must be one statement", _HINT)
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs the statement.
        bare = _strip_comments(sql)
        explained = _EXPLAIN.match(bare)
        if explained is None:
            raise QueryError("this form of EXPLAIN is not supported", _HINT)
        check_only_reads(connection, bare[explained.end() :])
        return
    if kind != duckdb.StatementType.SELECT:
        raise QueryError(f"{kind.name} statements are not allowed; a query only reads", _HINT)
    _check_tree(connection, sql)


def _check_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    serialized = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree = json.loads(serialized[0][0])
    except RecursionError:
        raise QueryError(
            "nested too deeply to be checked", "split it into several queries"
        ) from None
    if tree["error"]:
        raise QueryError(f"cannot be checked: {tree['error_message']}", _HINT)
    for node in _dictionaries(tree["statements"]):
        kind = node.get("type")
        clause = node.get("query_node")
        what = clause.get("type") if isinstance(clause, dict) else kind
        is_query = isinstance(clause, dict) or str(kind).endswith("_NODE")
        if is_query and what not in _READING_NODES:
            what = str(what).removesuffix("_NODE").removesuffix("_QUERY")
            raise QueryError(f"{what} is not allowed inside a query; a query only reads", _HINT)
        if kind == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name")).lower()
            if name not in _TABLE_FUNCTIONS:
                raise QueryError(
                    f"the table function {name} is not allowed",
                    f"allowed: {', '.join(sorted(_TABLE_FUNCTIONS))}",
                )


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _strip_comments(sql: str) -> str:
    while match := _COMMENT.match(sql):
        sql = sql[match.end() :]
    return sql
