from __future__ import annotations

import re

import duckdb
import pytest

from orchestrator.results.database.wide import (
    column_name,
    columns_of_several,
    columns_view,
    wide_aggregates,
    wide_columns,
)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (("margin_mean", "raw", "train"), "margin_mean"),
        (("margin_mean", "", "test"), "margin_mean_test"),
        (("margin_mean", "spectral", "train"), "margin_mean_spectral"),
        (("margin_mean", "logit_norm", "test"), "margin_mean_logit_norm_test"),
        (("hessian_trace", "exact", "train"), "hessian_trace"),
        (("hessian_trace", "hutchinson", "train"), "hessian_trace"),
        (("hessian_trace", "control_variate", "train"), "hessian_trace"),
        (("hessian_trace", "hutch++", "train"), "hessian_trace"),
        (("hessian_trace", "sampled_factors", "train"), "hessian_trace"),
        (("ggn_trace", "sampled_labels", "train"), "ggn_trace"),
        (("hessian_trace", "0.weight", "train"), "hessian_trace_0_weight"),
        (("weight_norm", "", None), "weight_norm"),
        (("sam_sharpness", "rho=0.05", "train"), "sam_sharpness_rho_0_05"),
        (("Mine: café!", "", "train"), "mine_caf"),
        (("width", "", "train"), "measure_width"),
        (("2nd", "", "train"), "measure_2nd"),
        (("é", "", None), "measure_"),
        (("λ_max", "", None), "lambda_max"),
    ],
)
def test_column_names_follow_from_measure_variant_and_split(
    key: tuple[str, str, str | None], name: str
) -> None:
    assert column_name(*key, taken={"width"}) == name
    assert re.fullmatch("[a-z_][a-z0-9_]*", name)


def test_the_order_of_columns_does_not_depend_on_the_order_of_rows() -> None:
    keys = [("b", "", None), ("a", "x", "train"), ("a", "", "test"), ("a", "", "train")]
    expected = ["a_test", "a", "a_x", "b"]
    assert list(wide_columns(keys, ()).values()) == expected
    assert list(wide_columns(reversed(keys), ()).values()) == expected


def test_measures_of_one_name_share_a_column_by_preference() -> None:
    keys = [("hessian_trace", "exact", "train"), ("hessian_trace", "hutchinson", "train")]
    columns = wide_columns([*keys, ("m", "", "train"), ("n", "", "train")], ())
    stored = [(*key, "r") for key in columns] + [("n", "", "train", "r(examples=10)")]
    several = columns_of_several(columns, stored)
    assert several == {"hessian_trace", "n"}
    aggregates = wide_aggregates(columns, several)
    assert list(aggregates) == ["hessian_trace", "hessian_trace_standard_error", "m", "n"]
    assert {name for name, sql in aggregates.items() if "preference" in sql} == {
        "hessian_trace",
        "hessian_trace_standard_error",
        "n",
    }


@pytest.mark.parametrize("keys", [[], [("it's", "a'b", None), ("m", "", "test")]])
def test_the_view_of_names_lists_every_column(keys: list[tuple[str, str, str | None]]) -> None:
    columns = wide_columns(keys, ())
    with duckdb.connect() as database:
        database.execute("CREATE SCHEMA parts")
        database.execute(columns_view(columns))
        rows = database.sql("FROM parts.wide_columns").fetchall()
    assert rows == [(*key, name) for key, name in columns.items()]
