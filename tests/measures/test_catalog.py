from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from orchestrator.measures import catalog, measure_snapshot
from orchestrator.measures.build import BUILT_IN
from orchestrator.measures.norms.jiang_norms import ROWS as JIANG
from orchestrator.study.measure_options import BUILT_IN_OPTIONS, MeasureRequest, name_of
from tests.measures.cases import CASES, Case

REQUEST: TypeAdapter[Any] = TypeAdapter(MeasureRequest)

HIDDEN = ("p10", "p25", "median", "p75", "min", "lower_fence", "upper_fence")


def distances(measure: str, unbounded: str) -> set[str]:
    names = ("median", "p10", "p25", "min", "mean", unbounded, "misclassified_share")
    return {f"{measure}_{name}" for name in names}


NAMES = {
    "margin": {
        "margin_mean",
        "margin_median",
        "margin_p10",
        "margin_p25",
        "margin_min",
        "margin_negative_share",
        "margin_iqr",
        "margin_quantiles",
        "smallest_margins",
        "smallest_margin_predictions",
        *(f"margin_population_minimum{end}" for end in ("", "_low", "_high")),
        *(f"hidden_margin_{name}" for name in HIDDEN),
        "hidden_margin_infinite_share",
        *distances("input_margin", "infinite_share"),
        *distances("deepfool_margin", "infinite_share"),
        *distances("pgd_margin", "censored_share"),
    },
    "flatness": {
        "hessian_trace",
        "hessian_eigenvalue_1",
        "hessian_eigenvalue_2",
        "hessian_eigenvalue_3",
        "hessian_eigenvalue_4",
        "hessian_eigenvalue_5",
        "hessian_eigenvalue_min",
        "hessian_eigenvalue_ratio",
        "hessian_spectral_density",
        "hessian_spectral_moment_1",
        "hessian_spectral_moment_2",
        "hessian_spectral_moment_3",
        "hessian_spectral_moment_4",
        "hessian_effective_rank",
        "edge_of_stability",
        "stability_threshold",
        "relative_flatness",
        "hessian_frobenius_norm",
        "ggn_trace",
        "gradient_norm",
        "fisher_trace",
        "empirical_fisher_trace",
        "gradient_noise",
        "gradient_noise_scale",
        "sam_sharpness",
        "average_sharpness",
        "worst_case_sharpness",
        "local_entropy",
        "flatness_profile",
        "flatness_profile_mean",
        "loss_slice",
        "error_slice",
        "loss_slice_width",
        "keskar_sharpness",
        "worst_case_radius",
        "inverse_square_radius",
        "pac_bayes_sigma",
        "inverse_square_sigma",
        "pac_bayes_complexity",
    },
    "robustness": {
        "natural_accuracy",
        "perturbation_stability",
        "robust_accuracy",
        "robustness_zero_gradients",
        "local_lipschitz_mean",
        "local_lipschitz_max",
        "local_lipschitz_zero_gradients",
        "separation",
        "separation_conflicts",
        "confidence_mean",
        "calibration_error",
        "near_boundary_share",
        "confidence_histogram",
    },
    "norm": {
        *(name for name, _, _ in JIANG),
        "spectral_complexity",
        "convolution_norm",
        "effective_rank",
        "singular_values",
        "weight_norm",
        "spectral_norm_product",
        "frobenius_norm_product",
        "distance_from_initialization",
        "parameter_count",
        "path_norm",
        "stable_rank",
        "fisher_rao_norm",
    },
}


def all_requests() -> dict[str, Any]:
    return {
        name_of(options): REQUEST.validate_python(name_of(options)) for options in BUILT_IN_OPTIONS
    }


def test_every_option_has_a_measure() -> None:
    assert list(BUILT_IN) == list(BUILT_IN_OPTIONS)


def test_names_are_the_promised_ones_each_once() -> None:
    found: dict[str, list[str]] = {}
    for entry in catalog():
        found.setdefault(entry.family, []).append(entry.measure)
    assert {family: sorted(names) for family, names in found.items()} == {
        family: sorted(names) for family, names in NAMES.items()
    }


@pytest.mark.parametrize("entry", catalog(), ids=lambda entry: entry.measure)
def test_an_entry_says_everything(entry: Any) -> None:
    assert entry.measure in NAMES[entry.family]
    assert entry.direction in {"higher", "lower", "neutral"}
    assert entry.symbol
    assert entry.unit
    assert entry.cost
    named = re.sub(r" \([^)]*\)", "", entry.invariances)
    assert named in {"none", "layer rescaling", "logit scale", "layer rescaling, logit scale"}
    assert "arXiv:" in entry.citation or re.search(r"\b(19|20)\d\d\b", entry.citation)


def test_directions_are_signed_once_and_right() -> None:
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
        *(f"hidden_margin_{name}" for name in HIDDEN),
        *("natural_accuracy", "perturbation_stability", "robust_accuracy", "separation"),
        *("pac_bayes_sigma", "worst_case_radius", "loss_slice_width", "local_entropy"),
    }
    assert directions["hessian_trace"] == directions["margin_negative_share"] == "lower"


@pytest.mark.parametrize(
    "name", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tanh", "cnn"))]
)
def test_everything_measured_is_in_the_catalog(name: str) -> None:
    subject: Case = {case.name: case for case in CASES}[name]
    rows = list(measure_snapshot(subject.context(), all_requests()))
    assert {row.get("measure") or row["curve"] for row in rows} == {
        entry.measure for entry in catalog()
    }


def test_requests_add_what_only_they_bring() -> None:
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
