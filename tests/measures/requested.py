"""Requests of measures, as the tests write them, and the rows they give."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.study.measure_options import MeasureRequest
from tests.measures.test_catalog import all_requests

REQUEST: TypeAdapter[Any] = TypeAdapter(MeasureRequest)
MINE = "tests.measures.user_measures"
KEYS = {
    "request",
    "variant",
    "split",
    "n_examples",
    "value",
    "standard_error",
    "status",
    "error",
    "seconds",
    "dtype",
    "batch_norm_mode",
    "seed",
    "measure_version",
}
OF_A_VALUE = {"measure"}
OF_A_CURVE = {"curve", "x", "y"}


def requests(*names: Any) -> dict[str, Any]:
    parsed = [REQUEST.validate_python(name) for name in names]
    return {request.request: request for request in parsed}


def run(context: MeasureContext, *names: Any) -> list[dict[str, Any]]:
    return list(measure_snapshot(context, requests(*names)))


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def light_requests() -> dict[str, Any]:
    """All of them, with fewer draws and steps where the defaults take most of the time."""
    fewer = {
        "hessian_trace": {"probes": 20},
        "hessian_spectral_density": {"probes": 3, "iterations": 10},
        "local_entropy": {"burn_in": 10, "samples": 40},
        "flatness_profile": {"draws": 4},
        "pac_bayes_sigma": {"draws": 8},
        "worst_case_radius": {"steps": 5},
        "pgd_margin": {"bisections": 3},
    }
    return {
        name: REQUEST.validate_python({name: fewer[name]}) if name in fewer else options
        for name, options in all_requests().items()
    }


def name_in(row: dict[str, Any]) -> str:
    """Of the measure, or of the curve."""
    return str(row["curve"] if "curve" in row else row["measure"])


def numbers_in(row: dict[str, Any]) -> list[float]:
    """The value, or those along the curve."""
    return list(row["value"]) if "curve" in row else [row["value"]]
