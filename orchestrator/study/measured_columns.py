"""Which columns of ``wide`` a measure fills, by the names of its values: known without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

VALUES_OF = {
    "margin": "margin_mean margin_median margin_p10 margin_p25 margin_min margin_negative_share "
    "calibration_temperature",
    "hidden_margin": "hidden_margin_p10 hidden_margin_p25 hidden_margin_median hidden_margin_p75 "
    "hidden_margin_min hidden_margin_lower_fence hidden_margin_upper_fence "
    "hidden_margin_infinite_share",
    "margin_population_minimum": "margin_population_minimum margin_population_minimum_low "
    "margin_population_minimum_high",
    "margin_distribution": "margin_iqr",
    "hessian_trace": "hessian_trace",
    "hessian_spectrum": "hessian_eigenvalue_# hessian_eigenvalue_min hessian_eigenvalue_ratio",
    "edge_of_stability": "edge_of_stability stability_threshold",
    "hessian_spectral_density": "hessian_spectral_moment_# hessian_effective_rank",
    "hessian_frobenius_norm": "hessian_frobenius_norm",
    "relative_flatness": "relative_flatness",
    "ggn_trace": "ggn_trace",
    "gradient_norm": "gradient_norm",
    "fisher": "fisher_trace empirical_fisher_trace gradient_noise gradient_noise_scale",
    "fisher_rao_norm": "fisher_rao_norm",
    "sam_sharpness": "sam_sharpness",
    "average_sharpness": "average_sharpness",
    "worst_case_sharpness": "worst_case_sharpness",
    "pac_bayes_sigma": "pac_bayes_sigma inverse_square_sigma pac_bayes_complexity",
    "worst_case_radius": "worst_case_radius inverse_square_radius",
    "keskar_sharpness": "keskar_sharpness",
    "loss_slice": "loss_slice_width",
    "flatness_profile": "flatness_profile_mean",
    "local_entropy": "local_entropy",
    "norms": "parameter_count weight_norm distance_from_initialization spectral_norm_product "
    "frobenius_norm_product",
    "path_norm": "path_norm",
    "stable_rank": "stable_rank",
    "jiang_norms": "inverse_squared_margin log_spectral_initial_bound log_spectral_bound "
    "log_spectral_product_over_margin log_spectral_product frobenius_over_spectral "
    "log_spectral_sum_over_margin log_spectral_sum log_frobenius_product_over_margin "
    "log_frobenius_product log_frobenius_sum_over_margin log_frobenius_sum "
    "frobenius_distance_sum spectral_distance_sum frobenius_norm_sum path_norm_over_margin",
    "spectral_complexity": "spectral_complexity",
    "convolution_norms": "convolution_norm",
    "input_margin": "input_margin_median input_margin_p10 input_margin_p25 input_margin_min "
    "input_margin_mean input_margin_infinite_share input_margin_misclassified_share",
    "deepfool_margin": "deepfool_margin_median deepfool_margin_p10 deepfool_margin_p25 "
    "deepfool_margin_min deepfool_margin_mean deepfool_margin_infinite_share "
    "deepfool_margin_misclassified_share",
    "pgd_margin": "pgd_margin_median pgd_margin_p10 pgd_margin_p25 pgd_margin_min pgd_margin_mean "
    "pgd_margin_censored_share pgd_margin_misclassified_share",
    "robustness": "natural_accuracy perturbation_stability robust_accuracy "
    "robustness_zero_gradients",
    "local_lipschitz": "local_lipschitz_mean local_lipschitz_max local_lipschitz_zero_gradients",
    "separation": "separation separation_conflicts",
    "confidence": "confidence_mean calibration_error near_boundary_share",
    "singular_values": "effective_rank",
}
"""Name of a measure → the names of its values; ``#`` stands for a number."""


def measures_filling(column: str) -> list[str]:
    """The built-in measures that can fill a column of ``wide``, with whatever options.

    >>> measures_filling("margin_mean_spectral_test")
    ['margin']
    """
    return [
        measure
        for measure, values in VALUES_OF.items()
        if any(_pattern(value).fullmatch(column.lower()) for value in values.split())
    ]


def usual_columns(measures: Iterable[str]) -> list[str]:
    """The names of the values of some measures, to suggest one of them."""
    return [
        value.replace("#", "1")
        for measure in measures
        for value in VALUES_OF.get(measure, "").split()
    ]


def _pattern(value: str) -> re.Pattern[str]:
    # After it stand the variant and the split.
    return re.compile(re.escape(value).replace(r"\#", r"\d+") + "(_[a-z0-9_]*)?")
