from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import scipy.stats

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, compact, connect, write_part
from tests.results.conftest import ask, at, checkpoint_row, measure_row, trial_row


def test_tables_and_views_of_empty_results_are_readable(empty_folder: ResultsFolder) -> None:
    with connect(empty_folder.path) as database:
        names = [name for (name,) in database.sql("SHOW TABLES").fetchall()]
        assert names == [
            "audit",
            "by_condition",
            "checkpoints",
            "connectivity",
            "curve_points",
            "curves",
            "epochs",
            "example_subsets",
            "examples",
            "final",
            "fragility",
            "gap",
            "measure_catalog",
            "measures",
            "milestones",
            "trials",
            "trust_checks",
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


def test_a_measure_named_like_a_column_gets_another_name(filled: ResultsFolder) -> None:
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


def test_milestones_has_one_row_per_milestone(folder: ResultsFolder) -> None:
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


def test_by_condition_counts_missing_and_nonfinite_values(filled: ResultsFolder) -> None:
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


@pytest.mark.parametrize("compacted", [False, True])
def test_a_connection_shows_the_rows_from_when_it_was_opened(
    filled: ResultsFolder, compacted: bool
) -> None:
    if compacted:
        compact(filled)
    attempt = "SELECT attempt, count(*) OVER () FROM trials WHERE trial_id = 'a0'"
    with connect(filled.path) as database:
        write_part(filled, "trials", [trial_row("a0", status="completed", attempt=7)], "new")
        assert database.sql(attempt).fetchall() == [(1, 1)]
    assert ask(filled, attempt) == [(7, 1)]
    assert ask(filled, "SELECT count(*) FROM trials") == [(4,)]


def test_times_are_in_utc_without_a_time_zone(small_results: ResultsFolder) -> None:
    (row,) = ask(small_results, "SELECT DISTINCT written_at FROM trials")
    assert row == (at(5).replace(tzinfo=None),)


def test_results_convert_to_data_frames_and_arrow(small_results: ResultsFolder) -> None:
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


def test_a_swept_column_named_like_a_checkpoint_column_gets_a_prefix(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    folder = make_folder(swept={"path": str})
    write_part(folder, "trials", [trial_row("a0", path="data.npz")], "a0")
    write_part(folder, "checkpoints", [checkpoint_row("a0", 20)], "a0")
    assert ask(folder, "SELECT path, trial_path FROM final") == [
        ("snapshots/a0/20.safetensors", "data.npz")
    ]


def test_a_path_may_contain_quotes_and_spaces(make_folder: Callable[..., ResultsFolder]) -> None:
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


def test_connect_refuses_a_folder_without_results(tmp_path: Any) -> None:
    with pytest.raises(ResultsError, match="is not a results folder"):
        connect(tmp_path)
