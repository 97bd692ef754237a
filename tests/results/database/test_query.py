from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

from orchestrator.errors import QueryError, ResultsError
from orchestrator.results import ResultsFolder, ask, compact, query


def content(folder: ResultsFolder) -> dict[Path, str]:
    """Hash of every file."""
    files = (path for path in folder.path.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    "sql",
    [
        "FROM wide SELECT count(*);",
        "-- a remark\nWITH t AS (FROM final) SELECT * FROM t /* another; one */",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) FROM t",
        "SHOW TABLES",
        "SUMMARIZE trials",
        "EXPLAIN ANALYZE SELECT * FROM gap",
        "/* why */ EXPLAIN /* so */ SELECT 1",
        "PIVOT measures ON measure IN ('hessian_trace') USING avg(value) GROUP BY trial_id",
        "SELECT kendall(list(hessian_trace), list(error_gap)) FROM wide",
        "SELECT (SELECT max(step) FROM checkpoints), unnest([1, 2]), ';'",
        "SELECT * FROM duckdb_views()",
        "SELECT count(*) FROM parts.measures",
        "SELECT ' COPY t TO ''x'' ' AS t",
        *(
            pytest.param(sql, marks=pytest.mark.slow)
            for sql in (
                "(SELECT 1) UNION ALL (SELECT 2)",
                "VALUES (1), (2)",
                "EXPLAIN SELECT * FROM gap",
                "EXPLAIN (FORMAT json) SELECT * FROM gap",
                "SELECT quantity, mean FROM by_condition",
                "SELECT a.step FROM gap a POSITIONAL JOIN range(3)",
                "SELECT count(*) FROM trials",
                "DESCRIBE by_condition",
            )
        ),
    ],
)
def test_read_only_queries_are_answered(small_results: ResultsFolder, sql: str) -> None:
    assert query(small_results.path, sql).fetchall()


# {folder}, {snapshot}, {part}: in the results; {outside}: a file beside them.
ATTACKS = {
    "overwrite": "COPY (SELECT 1) TO '{snapshot}'",
    "overwrite a part": "COPY (SELECT 1) TO '{part}' (FORMAT parquet)",
    "overwrite in WITH": "WITH x AS (COPY (SELECT 1) TO '{snapshot}' (FORMAT csv)) FROM x",
    "overwrite a part in WITH": "WITH x AS (COPY (SELECT 1) TO '{part}' (FORMAT csv)) FROM x",
    "WITH in WITH": "WITH y AS (WITH x AS (COPY (SELECT 1) TO '{part}') FROM x) FROM y",
    "WITH in a subquery": "SELECT (WITH x AS (COPY (SELECT 1) TO '{part}') SELECT 1 FROM x)",
    "explain analyze": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{snapshot}' (FORMAT csv)",
    "explain analyze, hidden": "/* */ EXPLAIN ANALYZE -- \n COPY (SELECT 1) TO '{snapshot}'",
    "explain analyze, options": "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{snapshot}'",
    "explain WITH": "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{part}') FROM x",
    "second statement": "SELECT 1; COPY (SELECT 1) TO '{snapshot}'",
    "prepared": "PREPARE x AS COPY (SELECT 1) TO '{snapshot}'",
    "profile": "FROM enable_profiling(save_location = '{snapshot}')",
    "log": "FROM enable_logging(storage = 'file', storage_path = '{folder}')",
    "query()": "FROM query('SELECT 1')",
    "serialized": "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "pointer": "FROM arrow_scan(1::UBIGINT, 2::UBIGINT, 3::UBIGINT)",
    "attach": "ATTACH '{folder}/new.db'",
    "read a database": "FROM read_duckdb('{folder}/new.db')",
    "export": "EXPORT DATABASE '{folder}/export'",
    "import": "IMPORT DATABASE '{folder}/export'",
    "create": "CREATE TABLE t AS SELECT 1",
    "drop": "DROP VIEW trials",
    "replace a view": "CREATE OR REPLACE VIEW trials AS SELECT 1",
    "insert": "INSERT INTO trials VALUES (1)",
    "insert in WITH": "WITH x AS (INSERT INTO trials VALUES (1) RETURNING *) FROM x",
    "install": "INSTALL httpfs",
    "load": "LOAD '{folder}/x.duckdb_extension'",
    "unlock": "SET enable_external_access = true",
    "reset": "RESET allowed_directories",
    "allow": "SET allowed_directories = ['/']",
    "pragma": "PRAGMA database_list",
    "call": "CALL enable_profiling()",
    "use": "USE memory",
    "checkpoint": "FROM checkpoint()",
    "secret": "CREATE SECRET (TYPE s3)",
    "text outside": "FROM read_text('{outside}')",
    "text inside": "FROM read_text('{folder}/provenance.json')",
    "csv outside": "FROM read_csv('{outside}')",
    "sniff outside": "FROM sniff_csv('{outside}')",
    "csv by name": "FROM '{outside}'",
    "parquet outside": "FROM read_parquet('{outside}')",
    "around": "FROM read_parquet('{folder}/trials/../../outside.csv')",
    "snapshots": "FROM read_parquet('{snapshot}')",
    "list outside": "FROM glob('/etc/*')",
    "list inside": "FROM glob('{folder}/*')",
    "describe outside": "DESCRIBE (FROM read_text('{outside}'))",
    "summarize outside": "SUMMARIZE '{outside}'",
    "network": "FROM 'https://example.com/x.parquet'",
    "a server here": "FROM 'http://127.0.0.1:1/x.csv'",
    "a bucket": "FROM read_parquet('s3://bucket/x.parquet')",
    "environment": "SELECT getenv('HOME')",
    "blob": "FROM read_blob('/etc/passwd')",
    "json": "FROM read_json('{outside}')",
    "metadata outside": "FROM parquet_metadata('{outside}')",
    "settings": "FROM duckdb_settings()",
    "a table by its name": "FROM query_table('trials')",
    "detach": "DETACH memory",
    "vacuum": "VACUUM",
    "transaction": "BEGIN",
    "secrets": "FROM duckdb_secrets()",
    "python": "FROM caller_variable",
    "nothing": "  -- only a remark",
    "no sql": "hello",
}

OFTEN = {
    "overwrite",
    "overwrite a part in WITH",
    "explain analyze, hidden",
    "second statement",
    "log",
    "serialized",
    "pointer",
    "attach",
    "export",
    "replace a view",
    "insert in WITH",
    "install",
    "unlock",
    "text inside",
    "csv by name",
    "around",
    "snapshots",
    "list outside",
    "describe outside",
    "a server here",
    "a bucket",
    "environment",
    "settings",
    "a table by its name",
    "python",
    "nothing",
}
"""One or two of each kind; all others are marked slow."""


@pytest.fixture(scope="module")
def victim(small_results: ResultsFolder, tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    path = tmp_path_factory.mktemp("victim") / "small"
    return ResultsFolder.open(shutil.copytree(small_results.path, path))


@pytest.mark.parametrize(
    "name",
    [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in ATTACKS],
)
def test_everything_but_read_only_queries_is_refused(victim: ResultsFolder, name: str) -> None:
    caller_variable = duckdb.sql("SELECT 1 AS a").to_arrow_table()
    outside = victim.path.parent / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    before = content(victim)
    sql = ATTACKS[name].format(
        folder=victim.path,
        snapshot=victim.snapshot("a0", 10),
        part=victim.table("trials") / "a0-1.parquet",
        outside=outside,
    )
    with pytest.raises(QueryError):
        query(victim.path, sql).fetchall()
    assert content(victim) == before
    assert outside.read_text() == "a,b\n1,2\n"
    assert caller_variable.num_rows == 1


@pytest.mark.skipif(duckdb.__version__ < "2", reason="no COPY in WITH before DuckDB 2.0")
def test_snapshots_are_out_of_reach_even_without_the_check(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package's function of the same name hides the module.
    module = sys.modules["orchestrator.results.database.query"]
    monkeypatch.setattr(module, "check_only_reads", lambda *_: None)
    snapshot = filled.snapshot("a0", 10)
    sql = f"WITH x AS (COPY (SELECT 1) TO '{snapshot}' (FORMAT csv)) FROM x"
    with pytest.raises(QueryError, match="disabled by configuration"):
        query(filled.path, sql).fetchall()
    assert snapshot.read_bytes() == b"weights!"


def test_the_returned_relation_cannot_write(filled: ResultsFolder) -> None:
    relation = query(filled.path, "FROM trials")
    with pytest.raises(duckdb.PermissionException):
        relation.write_csv(str(filled.snapshot("a0", 10)))
    assert filled.snapshot("a0", 10).read_bytes() == b"weights!"


def test_the_tables_can_be_queried_as_files(small_results: ResultsFolder) -> None:
    pattern = small_results.table("trials") / "*.parquet"
    assert query(small_results.path, f"SELECT count(*) FROM '{pattern}'").fetchall() == [(4,)]


def test_compacted_results_can_be_queried(filled: ResultsFolder) -> None:
    compact(filled)
    assert query(filled.path, "SELECT count(*), sum(hessian_trace) FROM wide").fetchall() == [
        (8, 36.0)
    ]


def test_errors_state_the_position_and_suggestions(small_results: ResultsFolder) -> None:
    with pytest.raises(QueryError, match=r"LINE 1: SELECT batch_size FORM final[\s\S]*\^"):
        query(small_results.path, "SELECT batch_size FORM final")
    with pytest.raises(QueryError) as caught:
        query(small_results.path, "SELECT * FROM trails")
    assert "trails" in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(
        "did you mean trials? the tables and views are audit, by_condition"
    )
    with pytest.raises(QueryError, match=r'Candidate bindings: .*"batch_size"'):
        query(small_results.path, "SELECT batchsize FROM trials")


def test_refusals_state_the_cause_and_an_alternative(small_results: ResultsFolder) -> None:
    for sql, message in {
        "PIVOT measures ON measure USING avg(value)": r"PIVOT … ON column IN",
        "SELECT 1; SELECT 2": "2 statements",
        "SET threads = 1": "SET statements are not allowed",
        "FROM read_text('x')": "the table function read_text is not allowed",
        "": "no SQL to run",
    }.items():
        with pytest.raises(QueryError, match=message):
            query(small_results.path, sql)


def test_deep_expressions_are_answered_or_refused(small_results: ResultsFolder) -> None:
    def ones(number: int) -> str:
        return "SELECT " + " + ".join(["1"] * number)

    assert query(small_results.path, ones(100)).fetchall() == [(100,)]
    with pytest.raises(QueryError):
        query(small_results.path, ones(5000))


ENDLESS = (
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "SELECT * FROM range(1000000000000)",
)


@pytest.mark.parametrize("sql", ENDLESS)
def test_ctrl_c_ends_any_query(small_results: ResultsFolder, tmp_path: Path, sql: str) -> None:
    code = (
        "import os; from orchestrator.results import ask, write_result\n"
        "def fetch(rows):\n"
        "    print('begun', flush=True)\n"
        "    with open(os.devnull, 'wb') as nowhere: write_result(rows, 'csv', nowhere)\n"
        f"ask({str(small_results.path)!r}, {sql!r}, fetch)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) in (130, -signal.SIGINT)
        assert process.stderr.read().rstrip().endswith("KeyboardInterrupt")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_a_query_that_has_just_started(
    small_results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted_start)
        with pytest.raises(KeyboardInterrupt):
            ask(small_results.path, ENDLESS[0], lambda rows: rows.fetchall())


def test_ask_returns_the_callbacks_result_and_raises_the_same_errors(
    small_results: ResultsFolder,
) -> None:
    sql = "SELECT count(*) FROM trials"
    assert ask(small_results.path, sql, lambda rows: rows.fetchall()) == [(4,)]
    with pytest.raises(QueryError, match="only reads"):
        ask(small_results.path, "DROP VIEW trials", lambda rows: rows.fetchall())
    with pytest.raises(QueryError, match="boom"):
        ask(small_results.path, "SELECT error('boom')", lambda rows: rows.fetchall())


def test_sql_that_is_not_utf_8_is_refused(small_results: ResultsFolder) -> None:
    with pytest.raises(QueryError, match="line 2 of the SQL is not UTF-8 text"):
        query(small_results.path, "SELECT\n'\udcff'")


def test_missing_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="does not exist"):
        query(tmp_path / "none", "SELECT 1")
