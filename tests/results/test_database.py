from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, compact, connect, write_part

from .conftest import at, checkpoint_row, measure_row, trial_row


def ask(folder: ResultsFolder, sql: str) -> list[tuple[Any, ...]]:
    with connect(folder.path) as database:
        rows: list[tuple[Any, ...]] = database.sql(sql).fetchall()
        return rows


def test_tables_and_views_of_empty_results_can_be_read(empty_folder: ResultsFolder) -> None:
    with connect(empty_folder.path) as database:
        names = [name for (name,) in database.sql("SHOW TABLES").fetchall()]
        assert names == [
            "audit",
            "by_condition",
            "checkpoints",
            "epochs",
            "final",
            "fragility",
            "gap",
            "measure_catalog",
            "measures",
            "milestones",
            "trials",
            "wide",
        ]
        for name in names:
            assert database.sql(f"FROM {name}").fetchall() == []


def test_gap_has_every_checkpoint_and_both_gaps(small_results: ResultsFolder) -> None:
    rows = ask(
        small_results,
        "SELECT trial_id, step, batch_size, round(loss_gap, 6), round(error_gap, 6), examples_seen "
        "FROM gap ORDER BY ALL",
    )
    assert rows == [
        ("a0", 10, 16, 0.1, 0.1, 160),
        ("a0", 20, 16, 0.3, 0.2, 320),
        ("a1", 10, 16, 0.2, 0.1, 160),
        ("a1", 20, 16, 0.5, 0.1, 320),
        ("b0", 10, 64, 0.0, 0.1, 160),
        ("b0", 20, 64, 0.1, 0.0, 320),
        ("b1", 10, 64, 0.1, 0.1, 160),
        ("b1", 20, 64, 0.2, 0.2, 320),
    ]


def test_final_is_the_last_checkpoint_of_completed_trials(filled: ResultsFolder) -> None:
    write_part(filled, "trials", [trial_row("b1", status="failed", attempt=2)], "b1-2")
    assert ask(filled, "SELECT trial_id, step FROM final ORDER BY ALL") == [
        ("a0", 20),
        ("a1", 20),
        ("b0", 20),
        ("b1", 20),  # Completed wins, whatever came later.
    ]
    (filled.table("trials") / "b1-1.parquet").unlink()
    assert ask(filled, "SELECT list(trial_id ORDER BY trial_id) FROM final") == [
        (["a0", "a1", "b0"],)
    ]


def test_wide_has_a_column_for_each_measure(small_results: ResultsFolder) -> None:
    rows = ask(
        small_results,
        "SELECT checkpoint_id, hessian_trace, hessian_trace_standard_error, margin_mean, "
        "margin_mean_test, margin_mean_spectral, round(loss_gap, 6) FROM wide ORDER BY 1",
    )
    assert rows[:2] == [
        ("a0-10", 1.0, 0.1, -1.0, -1.0, -1.0, 0.1),
        ("a0-20", 2.0, 0.2, -2.0, -2.0, -2.0, 0.3),
    ]
    assert rows[-1] == ("b1-20", 8.0, 0.8, None, None, None, 0.2)
    assert len(rows) == 8


def test_wide_prefers_exact_then_most_examples(filled: ResultsFolder) -> None:
    exact = measure_row(
        "a0", 20, "hessian_trace", 2.5, variant="exact", request="hessian_trace(exact)"
    )
    fewer = measure_row(
        "a0", 20, "margin_mean", 9.0, variant="raw", n_examples=5, request="m, 5", written_at=at(1)
    )
    more = measure_row(
        "a0", 20, "margin_mean", 7.0, variant="raw", n_examples=9, request="m, 9", written_at=at(0)
    )
    write_part(filled, "measures", [exact, fewer, more], "more")
    sql = (
        "SELECT hessian_trace, hessian_trace_standard_error, margin_mean FROM wide "
        "WHERE checkpoint_id = '{}'"
    )
    assert ask(filled, sql.format("a0-20")) == [(2.5, None, 7.0)]
    assert ask(filled, sql.format("a0-10")) == [(1.0, 0.1, -1.0)]


def test_nonfinite_values_stay_and_errors_are_null_in_wide(folder: ResultsFolder) -> None:
    write_part(folder, "checkpoints", [checkpoint_row("a0", s) for s in (10, 20)], "c")
    rows = [
        measure_row("a0", 10, "x", math.nan, status="nonfinite"),
        measure_row("a0", 10, "y", math.inf, status="nonfinite"),
        measure_row("a0", 20, "x", None, status="error", error="no"),
    ]
    write_part(folder, "measures", rows, "m")
    (first, second) = ask(folder, "SELECT x, y FROM wide ORDER BY step")
    assert math.isnan(first[0])
    assert first[1] == math.inf
    assert second == (None, None)


def test_a_measure_named_like_a_column_gets_a_name_of_its_own(filled: ResultsFolder) -> None:
    rows = [
        measure_row("a0", 20, "width", 3.0),
        measure_row("a0", 20, 'My "Measure"; DROP', 4.0, variant="rho=0.05"),
    ]
    write_part(filled, "measures", rows, "odd")
    assert ask(
        filled,
        "SELECT width, measure_width, my_measure_drop_rho_0_05 FROM wide "
        "WHERE checkpoint_id = 'a0-20'",
    ) == [(None, 3.0, 4.0)]


def test_milestones_are_one_row_each(folder: ResultsFolder) -> None:
    write_part(folder, "checkpoints", [checkpoint_row("a0", 10, milestones=[0.5, 0.1])], "a")
    write_part(folder, "checkpoints", [checkpoint_row("a0", 20)], "b")
    assert ask(
        folder, "SELECT trial_id, step, train_loss_milestone FROM milestones ORDER BY ALL"
    ) == [
        ("a0", 10, 0.1),
        ("a0", 10, 0.5),
    ]


def test_by_condition_gives_means_over_seeds_with_t_intervals(small_results: ResultsFolder) -> None:
    rows = ask(
        small_results,
        "SELECT batch_size, n, n_excluded, mean, sd, low, high FROM by_condition "
        "WHERE quantity = 'test_loss' ORDER BY batch_size",
    )
    for row, values in zip(rows, ([0.4, 0.6], [0.3, 0.4]), strict=True):
        mean, sd = statistics.mean(values), statistics.stdev(values)
        half = scipy.stats.t.ppf(0.975, 1) * sd / math.sqrt(2)
        assert row[1:3] == (2, 0)
        assert row[3:] == pytest.approx((mean, sd, mean - half, mean + half))


def test_by_condition_counts_what_is_missing_or_not_finite(filled: ResultsFolder) -> None:
    huge = [
        measure_row("a0", 20, "norm", 1e300),
        measure_row("a1", 20, "norm", 3e300),
        measure_row("b0", 20, "norm", math.inf, status="nonfinite"),
        measure_row("b1", 20, "norm", math.nan, status="nonfinite"),
    ]
    write_part(filled, "measures", huge, "norms")
    rows = ask(
        filled,
        "SELECT condition_id, quantity, n, n_excluded, mean, sd, low FROM by_condition "
        "WHERE quantity IN ('margin_mean', 'norm') ORDER BY quantity, condition_id",
    )
    assert rows[0][:5] == ("A", "margin_mean", 2, 0, -3.0)
    assert rows[1] == ("B", "margin_mean", 1, 1, -6.0, None, None)
    assert rows[2][:4] == ("A", "norm", 2, 0)
    assert rows[2][4:6] == pytest.approx((2e300, math.sqrt(2) * 1e300))
    assert rows[3] == ("B", "norm", 0, 2, None, None, None)


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


def test_rank_correlations_without_two_different_values_are_null(
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


class TestRepetitions:
    """Each fact counts once, before and after compaction."""

    @pytest.fixture(params=["parts", "compacted", "half compacted"])
    def stored(self, folder: ResultsFolder, request: pytest.FixtureRequest) -> Callable[..., None]:
        """Stores lists of rows, one part each, compacted altogether, not at all, or halfway."""

        def store(table: str, *parts: list[dict[str, Any]]) -> None:
            half = len(parts) // 2
            for number, rows in enumerate(parts):
                if request.param == "half compacted" and number == half:
                    write_part(folder, table, parts[0], "again")
                    compact(folder)
                write_part(folder, table, rows, f"part-{number}")
            if request.param == "compacted":
                compact(folder)

        return store

    def test_newest_checkpoint(self, folder: ResultsFolder, stored: Callable[..., None]) -> None:
        stored(
            "checkpoints",
            [checkpoint_row("a0", 10, sha256="old", written_at=at(1)), checkpoint_row("a1", 10)],
            [checkpoint_row("a0", 10, sha256="new", written_at=at(2))],
            [checkpoint_row("a0", 10, sha256="older", written_at=at(0))],
            [checkpoint_row("b0", 10)],
        )
        assert ask(folder, "SELECT checkpoint_id, sha256 FROM checkpoints ORDER BY 1") == [
            ("a0-10", "new"),
            ("a1-10", "00"),
            ("b0-10", "00"),
        ]

    def test_completed_trials_win_then_the_newest_attempt(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        stored(
            "trials",
            [trial_row("a0", status="running", written_at=at(0))],
            [trial_row("a0", written_at=at(1)), trial_row("a1", status="failed", attempt=1)],
            [trial_row("a0", status="failed", attempt=2, written_at=at(2))],
            # Another machine's clock may be behind.
            [trial_row("a1", status="running", attempt=2, written_at=at(-9))],
        )
        assert ask(folder, "SELECT trial_id, status, attempt FROM trials ORDER BY 1") == [
            ("a0", "completed", 1),
            ("a1", "running", 2),
        ]

    def test_epochs(self, folder: ResultsFolder, stored: Callable[..., None]) -> None:
        def row(epoch: int, split: str, loss: float, minutes: float) -> dict[str, Any]:
            return {
                "trial_id": "a0",
                "epoch": epoch,
                "split": split,
                "loss": loss,
                "written_at": at(minutes),
            }

        stored(
            "epochs",
            [row(1, "train", 1.0, 1), row(1, "test", 2.0, 1)],
            [row(1, "train", 3.0, 2)],
            [row(2, "train", 4.0, 3)],
        )
        assert ask(folder, "SELECT epoch, split, loss FROM epochs ORDER BY ALL") == [
            (1, "test", 2.0),
            (1, "train", 3.0),
            (2, "train", 4.0),
        ]

    def test_measures_prefer_success_then_the_newest(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        stored(
            "measures",
            [measure_row("a0", 10, "x", 1.0, request="x", written_at=at(1))],
            [measure_row("a0", 10, "x", None, request="x", status="error", written_at=at(3))],
            [measure_row("a0", 10, "x", 2.0, request="x", split=None)],
            [measure_row("a0", 10, "x", 3.0, request="x", written_at=at(2))],
        )
        assert ask(folder, "SELECT split, value, status FROM measures ORDER BY ALL") == [
            ("train", 3.0, "ok"),
            (None, 2.0, "ok"),
        ]

    def test_failures_vanish_once_their_request_succeeded(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        def failure(trial_id: str) -> dict[str, Any]:
            return measure_row(
                trial_id, 10, "margin", None, status="error", error="!", request="margin"
            )

        stored(
            "measures",
            [failure("a0"), failure("a1")],
            [failure("b0")],
            [measure_row("a0", 10, "margin_mean", 1.0, request="margin")],
            [measure_row("a1", 10, "norm", 1.0, request="norms")],
        )
        assert ask(folder, "SELECT trial_id, measure, status FROM measures ORDER BY ALL") == [
            ("a0", "margin_mean", "ok"),
            ("a1", "margin", "error"),
            ("a1", "norm", "ok"),
            ("b0", "margin", "error"),
        ]

    def test_catalog_has_each_measure_once(self, folder: ResultsFolder) -> None:
        for part in ("one", "two"):
            write_part(folder, "measure_catalog", [{"measure": "m", "unit": "1"}], part)
        assert ask(folder, "SELECT measure, unit FROM measure_catalog") == [("m", "1")]


def test_any_order_of_parts_and_compactions_gives_the_same_rows(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    generator = random.Random(3)
    rows = [
        measure_row(
            generator.choice(["a0", "a1"]),
            generator.choice([10, 20]),
            generator.choice(["x", "y", "request"]),
            float(number),
            request="request",
            status=generator.choice(["ok", "error", "nonfinite"]),
            written_at=at(number),
        )
        for number in range(40)
    ]
    answers = []
    for attempt in range(2):
        folder = make_folder(f"try {attempt}")
        generator.shuffle(rows)
        for number in range(0, 40, 5):
            write_part(folder, "measures", rows[number : number + 5], f"part-{number}")
            if generator.random() < 0.4 * attempt:
                compact(folder)
        sql = "SELECT * EXCLUDE written_at FROM measures ORDER BY ALL"
        answers.append(ask(folder, sql))
    assert answers[0] == answers[1]
    assert len(answers[0]) > 4


def test_new_rows_are_seen_by_an_open_connection(filled: ResultsFolder) -> None:
    compact(filled)
    with connect(filled.path) as database:
        write_part(filled, "trials", [trial_row("a0", status="completed", attempt=7)], "new")
        assert database.sql("SELECT attempt FROM trials WHERE trial_id = 'a0'").fetchall() == [(7,)]
        assert database.sql("SELECT count(*) FROM trials").fetchall() == [(4,)]


def test_times_are_in_utc_without_a_zone(small_results: ResultsFolder) -> None:
    (row,) = ask(small_results, "SELECT DISTINCT written_at FROM trials")
    assert row == (at(5).replace(tzinfo=None),)


def test_data_frames_and_arrow(small_results: ResultsFolder) -> None:
    with connect(small_results.path) as database:
        relation = database.sql("FROM wide ORDER BY checkpoint_id")
        pandas, polars, arrow = relation.df(), relation.pl(), relation.to_arrow_table()
    assert list(pandas["hessian_trace"]) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert polars["hessian_trace"].to_list() == list(pandas["hessian_trace"])
    assert arrow["hessian_trace"].to_pylist() == list(pandas["hessian_trace"])
    assert arrow.schema.field("batch_size").type == pa.int64()


def test_swept_columns_may_grow_and_change_their_type(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    folder = make_folder(swept={"beta1": int, "mode": int})
    write_part(folder, "trials", [trial_row("a0", beta1=1, mode=3)], "a0")
    compacted = trial_row("b0", beta1=0, mode=4)
    write_part(folder, "trials", [compacted], "b0")
    compact(folder)
    write_part(folder, "trials", [trial_row("b1", beta1=2, mode=5)], "b1")
    folder = make_folder(swept={"beta1": float, "mode": str, "flag": bool})
    write_part(folder, "trials", [trial_row("a1", beta1=0.9, mode=["flip"], flag=True)], "a1")
    sql = "SELECT trial_id, beta1, mode, flag FROM trials ORDER BY 1"
    expected = [
        ("a0", 1.0, "3", None),
        ("a1", 0.9, '["flip"]', True),
        ("b0", 0.0, "4", None),
        ("b1", 2.0, "5", None),
    ]
    assert ask(folder, sql) == expected
    compact(folder)
    assert ask(folder, sql) == expected
    with connect(folder.path) as database:
        assert database.sql("SELECT flag FROM final").columns == ["flag"]


def test_a_swept_column_named_like_a_checkpoint_column(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    folder = make_folder(swept={"path": str})
    write_part(folder, "trials", [trial_row("a0", path="data.npz")], "a0")
    write_part(folder, "checkpoints", [checkpoint_row("a0", 20)], "a0")
    assert ask(folder, "SELECT path, trial_path FROM final") == [
        ("snapshots/a0/20.safetensors", "data.npz")
    ]


def test_quotes_and_spaces_in_the_path(make_folder: Callable[..., ResultsFolder]) -> None:
    folder = make_folder("it's mine")
    write_part(folder, "trials", [trial_row("a0"), trial_row("a1")], "a")
    write_part(folder, "trials", [trial_row("b0")], "b")
    compact(folder)
    assert ask(folder, "SELECT count(*) FROM trials") == [(3,)]


def test_measure_columns_can_be_left_out(small_results: ResultsFolder) -> None:
    with connect(small_results, measure_columns=False) as database:
        names = {name for (name,) in database.sql("SHOW TABLES").fetchall()}
    assert names.isdisjoint({"wide", "by_condition"})
    assert {"gap", "final", "milestones", "measures"} <= names


def test_connect_refuses_what_is_no_results_folder(tmp_path: Any) -> None:
    with pytest.raises(ResultsError, match="is not a results folder"):
        connect(tmp_path)


def audit_row(change: str, relative_change: float | None, **columns: Any) -> dict[str, Any]:
    return {
        "trial_id": "a0",
        "checkpoint_id": "a0-1",
        "change": change,
        "request": "norms",
        "measure": "weight_norm",
        "relative_change": relative_change,
        "status": "ok",
    } | columns


def test_fragility_is_the_median_over_snapshots_of_the_newest_audits(
    empty_folder: ResultsFolder,
) -> None:
    rows = [
        audit_row("layer_rescaling", change, checkpoint_id=f"a0-{step}")
        for step, change in enumerate((0.1, 0.5, 0.2))
    ]
    rows.append(audit_row("float32", None, status="nonfinite"))
    rows.append(audit_row("unit_permutation", None, status="not_applicable", measure=""))
    write_part(empty_folder, "audit", rows, "first")
    write_part(empty_folder, "audit", [audit_row("layer_rescaling", 0.9)], "again")
    sql = "SELECT measure, split, snapshots, excluded, layer_rescaling, float32 FROM fragility"
    assert ask(empty_folder, sql) == [("weight_norm", None, 3, 1, 0.2, None)]
    compact(empty_folder)
    assert ask(empty_folder, sql) == [("weight_norm", None, 3, 1, 0.2, None)]
