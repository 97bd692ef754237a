"""Every measure on every kind of network, with every key of its rows."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any

import pytest
import torch

from orchestrator.measures import build_measure, measure_snapshot
from orchestrator.measures.norms.jiang_norms import ROWS as JIANG
from orchestrator.training import UpdateRule
from tests.measures.cases import CASES, Case, case
from tests.measures.requested import (
    KEYS,
    OF_A_CURVE,
    OF_A_VALUE,
    light_requests,
    name_in,
    numbers_in,
)

WITHOUT_CURVATURE = {
    "gradient_noise_scale",
    "hessian_eigenvalue_ratio",
    "hessian_effective_rank",
    "hessian_spectral_density",
    "loss_slice_width",
}


SHARES = 4
KINDS = [
    *(
        pytest.param(subject, ("float64", "float32")[i // SHARES % 2], i % SHARES, id=subject.name)
        for i, subject in enumerate(CASES)
    ),
    *(
        pytest.param(subject, dtype, None, id=f"{subject.name}-{dtype}", marks=pytest.mark.slow)
        for subject in CASES
        for dtype in ("float64", "float32")
    ),
]
"""Every network and every measure several times; all pairs are marked slow."""


@pytest.mark.parametrize(("subject", "dtype", "share"), KINDS)
def test_every_measure_works_on_every_kind_of_network(
    subject: Case, dtype: str, share: int | None
) -> None:
    requests = light_requests()
    if share is not None:
        requests = {name: requests[name] for name in list(requests)[share::SHARES]}
    given = {"initial_state": subject.model(1).state_dict(), "update_rule": UpdateRule(0.1)}
    context = subject.context(seed=5, dtype=getattr(torch, dtype), **given)
    rows = list(measure_snapshot(context, requests))
    assert {row["request"] for row in rows} == set(requests)
    identities = [(row["request"], name_in(row), row["variant"], row["split"]) for row in rows]
    assert len(set(identities)) == len(rows)
    for row in rows:
        assert set(row) == KEYS | (OF_A_CURVE if "curve" in row else OF_A_VALUE)
        assert (row["dtype"], row["batch_norm_mode"], row["seed"]) == (dtype, "eval", 5)
        assert row["seconds"] >= 0
        assert row["status"] == ("ok" if all(map(isfinite, numbers_in(row))) else "nonfinite")
        n_examples = row["split"] and context.data.n_examples(row["split"])
        assert row["n_examples"] == n_examples
        if may_lack_a_value(row):
            assert row["status"] == "ok" or row["error"]
        elif not undefined(subject, row):
            assert row["status"] == "ok", row
        else:
            assert row["error"]


def may_lack_a_value(row: dict[str, Any]) -> bool:
    """Whether that depends on the data, as boundaries within reach and margins above 0 do.

    Convolutions are not in every network, and so short a chain need not converge.
    """
    distances = (
        *("input_margin_", "deepfool_margin_", "pgd_margin_", "hidden_margin_"),
        *("margin_population_minimum", "local_entropy"),
    )
    over_margin = {name for name, symbol, _ in JIANG if "γ" in symbol}
    return name_in(row).startswith(distances) or name_in(row) in {*over_margin, "convolution_norm"}


def undefined(subject: Case, row: dict[str, Any]) -> bool:
    """Whether the value has no meaning for that network or those data."""
    return (
        (subject.name == "one_example" and row["variant"] == "total_variation")
        or (subject.name == "certain" and name_in(row) in WITHOUT_CURVATURE)
        or (
            subject.name in ("certain", "one_example", "constant_labels")
            and name_in(row) == "separation"
        )
        or (
            name_in(row) == "path_norm"
            and (subject.name in ("leaky_relu", "certain") or not subject.piecewise_linear)
        )
    )


@pytest.mark.parametrize("finite", [True, False])
def test_measures_yield_curves_exactly_if_they_declare_them(finite: bool) -> None:
    """Otherwise a run would not see that curves were lost, or measure for ever to find some."""
    context = case("mlp").context()
    if not finite:
        for parameter in context.parameters.values():
            parameter.data.fill_(nan)
    rows = list(measure_snapshot(context, light_requests(), findings={}))
    failed = {row["request"] for row in rows if row["status"] == "error"}
    kinds = {"always", "if finite"} if finite else {"always"}
    expected = {
        name for name, options in light_requests().items()
        if build_measure(options).curves in kinds
    }  # fmt: skip
    assert {row["request"] for row in rows if "curve" in row} == expected - failed
