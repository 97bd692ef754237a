from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import QueryError, ResultsError
from orchestrator.results import ResultsFolder, compact, connect, query, table_schema, write_part
from orchestrator.results.database.several_folders import study_labels
from orchestrator.results.table_schemas import VERSION_KEY
from tests.results.conftest import STUDY, ask, measure_row, trial_row
from tests.results.database.test_compaction import assert_same


def rows(database: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return database.sql(sql).fetchall()


def make(path: Path, study: str = "other", swept: dict[str, type] | None = None) -> ResultsFolder:
    content = json.dumps({**STUDY, "study": study})
    return ResultsFolder.create(path, content, "", {}, "", swept=swept)


@pytest.fixture
def other(tmp_path: Path) -> ResultsFolder:
    """The same trials again, as those of another study that swept dropout too."""
    folder = make(tmp_path / "elsewhere" / "other", swept={"beta": float})
    trials = [
        trial_row(trial, study="other", dropout=dropout, beta=0.5)
        for trial, dropout in (("a0", 0.1), ("b0", 0.5))
    ]
    write_part(folder, "trials", trials, "all")
    write_part(folder, "measures", [measure_row("a0", 20, "path_norm", 7.0)], "all")
    return folder


def test_every_view_contains_the_rows_of_all_studies(
    small_results: ResultsFolder, other: ResultsFolder
) -> None:
    with connect([small_results, other.path]) as database:
        names = [name for (name,) in rows(database, "SHOW TABLES")]
        with connect(small_results) as alone:
            single = [name for (name,) in rows(alone, "SHOW TABLES")]
            assert sorted([*single, "differing_hyperparameters"]) == names
            for name in single:
                columns = [c for c in alone.sql(f"FROM {name}").columns if c != "study"]
                both = database.sql(f"FROM {name}").columns
                assert both[0] == "study"
                assert both[1 : len(columns) + 1] == columns
                listed = ", ".join(f'"{column}"' for column in columns)
                both_rows = rows(
                    database, f"SELECT {listed} FROM {name} WHERE study = 'small' ORDER BY ALL"
                )
                alone_rows = rows(alone, f"SELECT {listed} FROM {name} ORDER BY ALL")
                assert_same({name: both_rows}, {name: alone_rows})


def test_trials_with_equal_ids_in_two_studies_are_kept_apart(
    small_results: ResultsFolder, other: ResultsFolder
) -> None:
    with connect([small_results, other]) as database:
        assert rows(
            database, "SELECT study, count(*) FROM trials GROUP BY study ORDER BY study"
        ) == [("other", 2), ("small", 4)]
        assert rows(database, "SELECT DISTINCT study, beta FROM trials ORDER BY ALL") == [
            ("other", 0.5),
            ("small", None),
        ]
        assert rows(database, "SELECT DISTINCT study FROM gap") == [("small",)]


def test_only_hyperparameters_that_differ_are_listed(
    small_results: ResultsFolder, other: ResultsFolder
) -> None:
    with connect([small_results, other]) as database:
        assert rows(database, "FROM differing_hyperparameters ORDER BY hyperparameter, study") == [
            ("other", "beta", "0.5"),
            ("small", "beta", "none"),
            ("other", "dropout", "0.1, 0.5"),
            ("small", "dropout", "none"),
        ]


def test_values_of_hyperparameters_are_sorted_by_size(tmp_path: Path) -> None:
    folders = [make(tmp_path / "one", "one"), make(tmp_path / "two", "two")]
    for folder, sizes in zip(folders, ((1024, 16, 256), (16,)), strict=True):
        trials = [trial_row("a0", trial_id=f"t{n}", batch_size=n) for n in sizes]
        write_part(folder, "trials", trials, "all")
    with connect(folders) as database:
        assert rows(database, "FROM differing_hyperparameters ORDER BY study") == [
            ("one", "batch_size", "16, 256, 1024"),
            ("two", "batch_size", "16"),
        ]


def test_several_folders_have_macros_and_show_later_rows(
    small_results: ResultsFolder, other: ResultsFolder
) -> None:
    with connect([small_results, other]) as database:
        assert rows(database, "SELECT kendall([1, 2, 3], [1, 3, 2]), spearman([1, 2], [2, 1])") == [
            (pytest.approx(1 / 3), pytest.approx(-1))
        ]
        write_part(other, "trials", [trial_row("a1", study="other")], "later")
        count = "SELECT count(*) FROM trials WHERE study = 'other'"
        assert rows(database, count) == [(2,)]  # As when it was opened.
    with connect([small_results, other]) as database:
        assert rows(database, count) == [(3,)]
        assert rows(database, "SELECT count(*) FROM study_2.trials") == [(3,)]
    compact(other.path)
    with connect([small_results, other]) as database:
        assert rows(database, count) == [(3,)]


def test_a_column_may_be_a_number_in_one_study_and_text_in_another(tmp_path: Path) -> None:
    one = make(tmp_path / "one", "one", {"beta": float})
    two = make(tmp_path / "two", "two", {"beta": str})
    write_part(one, "trials", [trial_row("a0", beta=0.5)], "all")
    write_part(two, "trials", [trial_row("a0", beta="auto")], "all")
    with connect([one, two]) as database:
        assert rows(database, "SELECT study, beta FROM trials ORDER BY study") == [
            ("one", "0.5"),
            ("two", "auto"),
        ]


def test_studies_with_equal_names_are_labelled_by_their_folders(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/x", "b/x", "c/y", "d/z")]
    folders = [make(path, "one" if path.name != "z" else "it's") for path in paths]
    assert study_labels(folders) == ["one (a/x)", "one (b/x)", "one (y)", "it's"]
    write_part(folders[3], "trials", [trial_row("a0")], "all")
    with connect(folders) as database:
        assert rows(database, "SELECT study FROM trials") == [("it's",)]
    with connect([folders[3]]) as database:
        assert rows(database, "SELECT study FROM trials") == [("it's",)]


def test_several_folders_may_be_of_older_but_not_newer_releases(
    small_results: ResultsFolder, tmp_path: Path
) -> None:
    older = make(tmp_path / "older")
    for table in ("audit", "curves", "connectivity"):
        shutil.rmtree(older.table(table))
    with connect([small_results, older]) as database:
        assert rows(database, "SELECT count(*) FROM fragility WHERE study = 'other'") == [(0,)]
    newer = make(tmp_path / "newer")
    schema = table_schema("trials").with_metadata({VERSION_KEY: b"99"})
    pq.write_table(schema.empty_table(), newer.table("trials") / "_schema.parquet")
    with pytest.raises(ResultsError, match="schema version 99"):
        connect([small_results, newer.path])


def test_empty_repeated_and_missing_folders_are_refused(
    small_results: ResultsFolder, tmp_path: Path
) -> None:
    with pytest.raises(ResultsError, match="no results folder given"):
        connect([])
    with pytest.raises(ResultsError, match="given 2 times"):
        connect([small_results.path, f"{small_results.path}/."])
    with pytest.raises(ResultsError, match="does not exist"):
        connect([small_results, tmp_path / "none"])


def test_queries_read_all_given_folders_and_nothing_else(
    small_results: ResultsFolder, other: ResultsFolder, tmp_path: Path
) -> None:
    both = [small_results.path, other.path]
    for sql, expected in (
        ("SELECT study FROM trials GROUP BY study ORDER BY study", [("other",), ("small",)]),
        ("SELECT count(*) FROM wide", [(8,)]),
    ):
        assert query(both, sql).fetchall() == expected
    secret = tmp_path / "secret.parquet"
    pq.write_table(table_schema("trials").empty_table(), secret)
    with pytest.raises(QueryError):
        query(both, f"FROM read_parquet('{secret}')").fetchall()
    with pytest.raises(QueryError, match="did you mean trials"):
        query(both, "FROM trails")
    with pytest.raises(QueryError, match="a query only reads"):
        query(both, "ATTACH ':memory:' AS more")


def test_a_single_folder_has_no_study_column(filled: ResultsFolder) -> None:
    assert ask(filled, "SELECT DISTINCT study FROM trials") == [("small",)]
    with connect(filled) as database:
        assert "study" not in database.sql("FROM checkpoints").columns
