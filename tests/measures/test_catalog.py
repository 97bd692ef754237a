from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from orchestrator.measures import catalog, measure_snapshot
from orchestrator.measures.base import BUILT_IN
from orchestrator.measures.build import built_in_entries
from orchestrator.study.measure_options import BUILT_IN_OPTIONS, MeasureRequest, name_of
from tests.measures.cases import CASES, Case

REQUEST: TypeAdapter[Any] = TypeAdapter(MeasureRequest)

FAMILIES = {"margin", "flatness", "robustness", "norm"}


def all_requests() -> dict[str, Any]:
    return {
        name_of(options): REQUEST.validate_python(name_of(options)) for options in BUILT_IN_OPTIONS
    }


def test_every_options_class_has_a_measure() -> None:
    assert set(BUILT_IN) == set(BUILT_IN_OPTIONS)


def test_no_two_measures_share_a_name() -> None:
    names = [entry.measure for entry in built_in_entries()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", catalog(), ids=lambda entry: entry.measure)
def test_every_catalog_entry_is_complete(entry: Any) -> None:
    assert entry.family in FAMILIES
    assert entry.direction in {"higher", "lower", "neutral"}
    assert entry.symbol
    assert entry.unit
    assert entry.cost
    named = re.sub(r" \([^)]*\)", "", entry.invariances)
    assert named in {"none", "layer rescaling", "logit scale", "layer rescaling, logit scale"}
    assert "arXiv:" in entry.citation or re.search(r"\b(19|20)\d\d\b", entry.citation)


def test_the_directions_in_the_catalog_are_pinned() -> None:
    directions = {entry.measure: entry.direction for entry in catalog()}
    higher = {name for name, direction in directions.items() if direction == "higher"}
    assert higher == {
        *("margin_mean", "margin_median", "margin_p10", "margin_p25", "margin_min"),
        *(
            f"{space}_margin_{name}"
            for space in ("input", "deepfool", "pgd")
            for name in ("mean", "median", "p10", "p25", "min")
        ),
        *(f"margin_population_minimum{end}" for end in ("", "_low", "_high")),
        *(f"hidden_margin_{name}" for name in ("p10", "p25", "median", "p75", "min")),
        *("hidden_margin_lower_fence", "hidden_margin_upper_fence"),
        *("natural_accuracy", "perturbation_stability", "robust_accuracy", "separation"),
        *("pac_bayes_sigma", "worst_case_radius", "loss_slice_width", "local_entropy"),
    }
    assert directions["hessian_trace"] == directions["margin_negative_share"] == "lower"


@pytest.mark.parametrize(
    "name", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tanh", "cnn"))]
)
def test_every_measured_value_is_in_the_catalog(name: str) -> None:
    subject: Case = {case.name: case for case in CASES}[name]
    rows = list(measure_snapshot(subject.context(), all_requests()))
    assert {row.get("measure") or row["curve"] for row in rows} == {
        entry.measure for entry in catalog()
    }


def test_requests_add_the_entries_that_only_they_produce() -> None:
    requests = [
        REQUEST.validate_python({"hessian_spectrum": {"top": 7}}),
        REQUEST.validate_python({"margin": {"normalizations": ["raw", "calibrated"]}}),
        REQUEST.validate_python("tests.measures.user_measures:LogitNorm"),
        REQUEST.validate_python("tests.measures.user_measures:logit_scale"),
    ]
    added = catalog(requests)[len(catalog()) :]
    assert [entry.measure for entry in added] == [
        "hessian_eigenvalue_6",
        "hessian_eigenvalue_7",
        "calibration_temperature",
        "my_logit_norm",
    ]
