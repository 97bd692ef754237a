"""The macros of a connection against scipy."""

from __future__ import annotations

import itertools
import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from orchestrator.results import ResultsFolder, connect
from tests.results.conftest import ask


def test_student_t_agrees_with_scipy(empty_folder: ResultsFolder) -> None:
    degrees = [1, 2, 5, 19, 20, 21, 22, 30, 100, 10_000]
    rows = ask(empty_folder, f"SELECT student_t_975(unnest({degrees}))")
    expected = scipy.stats.t.ppf(0.975, degrees)
    assert [value for (value,) in rows] == pytest.approx(expected, rel=1e-7)
    assert ask(empty_folder, "SELECT student_t_975(0)") == [(None,)]


def test_rank_correlations_agree_with_scipy(empty_folder: ResultsFolder) -> None:
    with connect(empty_folder.path, measure_columns=False) as database:
        for size, decimals in itertools.product((2, 3, 40, 300), (0, 1, 12)):
            generator = np.random.default_rng(size + decimals)
            x = generator.normal(size=size).round(decimals)
            y = (x + generator.normal(size=size)).round(decimals)
            x[:2] = 3.0, math.inf  # Never constant; infinities rank as the largest.
            y[:2] = -3.0, 3.0
            database.register("pairs", pa.table({"x": x, "y": y}))
            ((kendall, spearman),) = database.sql(
                "SELECT kendall(list(x), list(y)), spearman(list(x), list(y)) FROM pairs"
            ).fetchall()
            assert kendall == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)
            assert spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


def test_rank_correlations_leave_out_null_and_nan_pairs(empty_folder: ResultsFolder) -> None:
    lists = "[1, 2, NULL, 'nan'::DOUBLE, 5, 4], [1, 3, 9, 2, NULL, 2]"
    x, y = [1, 2, 4], [1, 3, 2]
    ((kendall, spearman),) = ask(empty_folder, f"SELECT kendall({lists}), spearman({lists})")
    assert kendall == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    assert spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)


def test_rank_correlations_of_constant_or_short_lists_are_null(
    empty_folder: ResultsFolder,
) -> None:
    for lists in ("[], []", "[1], [2]", "[1, 1], [1, 2]", "[1, NULL], [1, 2]", "NULL, NULL"):
        sql = f"SELECT kendall({lists}), spearman({lists})"
        assert ask(empty_folder, sql) == [(None, None)]


def test_rank_correlations_refuse_lists_of_different_length(empty_folder: ResultsFolder) -> None:
    with connect(empty_folder.path) as database:
        for macro in ("kendall", "spearman"):
            with pytest.raises(duckdb.Error, match="equal length"):
                database.sql(f"SELECT {macro}([1, 2], [1])").fetchall()


def test_rank_correlations_work_in_groups_and_with_any_column_names(
    empty_folder: ResultsFolder,
) -> None:
    # The macros' own variables are called s, a, b, i, j, p.
    sql = """
        SELECT g, kendall(list(s.a), list(b)) AS tau, spearman(list(i), list(p)) AS rho
        FROM (SELECT (r % 2) AS g, {'a': r} AS s, -r AS b, r AS i, r * r AS p FROM range(20) t(r))
        GROUP BY ALL HAVING kendall(list(s.a), list(b)) < 0 ORDER BY g, abs(tau)
    """
    rows = ask(empty_folder, sql)
    assert [row[0] for row in rows] == [0, 1]
    assert [row[1:] for row in rows] == [pytest.approx((-1, 1))] * 2
