"""Which SQL only reads.

That a statement is a ``SELECT`` does not say so: since DuckDB 2.0 a ``WITH`` clause may hold a
``COPY … TO``, which writes files. The tree that DuckDB's own parser makes of the statement is
therefore walked, and whatever is not known to read is refused.
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
    "one SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN of these; to compute "
    "further, use orchestrator.connect from Python"
)


def check_only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse SQL that is not exactly one statement that only reads.

    Raises:
        QueryError: If it is anything else, with what.
    """
    if not sql.isascii():
        try:
            sql.encode()
        except UnicodeEncodeError as error:
            line = sql.count("\n", 0, error.start) + 1
            raise QueryError(f"the SQL is not UTF-8 text, in its line {line}") from None
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("no SQL to run", "for example: SELECT * FROM final LIMIT 5")
    kind = statements[0].type
    several = len(statements) > 1
    if (several or kind == duckdb.StatementType.MULTI) and _PIVOT.search(sql):
        # DuckDB makes several statements of it: the first collects the values, as a type.
        raise QueryError(
            "PIVOT needs the values that become columns", "write PIVOT … ON column IN (…)"
        )
    if several:
        raise QueryError(f"{len(statements)} statements; a query is one statement", _HINT)
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        bare = _strip_comments(sql)
        explained = _EXPLAIN.match(bare)
        if explained is None:
            raise QueryError("an EXPLAIN that is not understood", _HINT)
        check_only_reads(connection, bare[explained.end() :])
        return
    if kind != duckdb.StatementType.SELECT:
        raise QueryError(f"{kind.name} statements can't be run; a query only reads", _HINT)
    _check_tree(connection, sql)


def _check_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    serialized = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree = json.loads(serialized[0][0])
    except RecursionError:
        raise QueryError("nested too deeply to be checked", "make it of several parts") from None
    if tree["error"]:
        raise QueryError(f"can't be checked: {tree['error_message']}", _HINT)
    for node in _dictionaries(tree["statements"]):
        kind = node.get("type")
        clause = node.get("query_node")
        what = clause.get("type") if isinstance(clause, dict) else kind
        is_query = isinstance(clause, dict) or str(kind).endswith("_NODE")
        if is_query and what not in _READING_NODES:
            what = str(what).removesuffix("_NODE").removesuffix("_QUERY")
            raise QueryError(f"{what} inside a query can't be run; a query only reads", _HINT)
        if kind == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name")).lower()
            if name not in _TABLE_FUNCTIONS:
                raise QueryError(
                    f"the table function {name} can't be used here",
                    f"these can: {', '.join(sorted(_TABLE_FUNCTIONS))}",
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
