"""Options of the measures of curvature: the Hessian and its relatives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions


class HessianTraceOptions(MeasureOptions):
    """Trace of the Hessian of the training loss."""

    name: Literal["hessian_trace"]
    values = ("hessian_trace",)
    method: Literal["auto", "exact", "control_variate", "hutchinson", "hutch++"] = Field(
        "auto",
        description="auto: exact where that is provably right; elsewhere the exact trace of the "
        "Gauss-Newton matrix and an estimate of the rest, or of all where there is none.",
    )
    per_layer: bool = Field(False, description="Whether to give each parameter's share besides.")
    probes: PositiveInt = Field(
        256, description="Most probes the estimate may use; of hutch++ all products."
    )
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class HessianSpectrumOptions(MeasureOptions):
    """Largest and smallest eigenvalues of the Hessian of the training loss, by Lanczos."""

    name: Literal["hessian_spectrum"]
    values = ("hessian_eigenvalue_#", "hessian_eigenvalue_min", "hessian_eigenvalue_ratio")
    top: PositiveInt = Field(5, description="How many of the largest eigenvalues.")
    iterations: PositiveInt = Field(100, description="Most Lanczos iterations.")
    tolerance: PositiveFloat = Field(
        1e-3, description="Residual norm, relative to the eigenvalue it belongs to."
    )


class EdgeOfStabilityOptions(MeasureOptions):
    """Largest eigenvalue of the Hessian against the threshold of the learning rate."""

    name: Literal["edge_of_stability"]
    values = ("edge_of_stability", "stability_threshold")
    iterations: int = Field(100, ge=5, description="Most Lanczos iterations.")
    tolerance: PositiveFloat = Field(
        1e-3, description="Residual norm, relative to the eigenvalue it belongs to."
    )


class HessianSpectralDensityOptions(MeasureOptions):
    """Density of the Hessian's eigenvalues, by stochastic Lanczos quadrature."""

    name: Literal["hessian_spectral_density"]
    values = ("hessian_spectral_moment_#", "hessian_effective_rank")
    probes: PositiveInt = Field(16, description="Random start vectors to average over.")
    iterations: PositiveInt = Field(32, description="Lanczos iterations from each of them.")
    moments: PositiveInt = Field(4, description="How many means of powers of the eigenvalues.")
    grid_points: int = Field(256, ge=2, description="Points at which the density is given.")
    width: PositiveFloat = Field(
        0.01, description="Of the Gaussian for each eigenvalue, relative to their range."
    )


class HessianFrobeniusNormOptions(MeasureOptions):
    """Frobenius norm of the Hessian of the training loss, estimated."""

    name: Literal["hessian_frobenius_norm"]
    values = ("hessian_frobenius_norm",)
    probes: PositiveInt = Field(256, description="Most probes the estimate may use.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class RelativeFlatnessOptions(MeasureOptions):
    """Curvature of a layer weighed by its weights, free of their scale."""

    name: Literal["relative_flatness"]
    values = ("relative_flatness",)
    layers: Literal["last", "all"] = Field(
        "last", description="The layer called last, usually the head, or every one besides."
    )
    probes: PositiveInt = Field(256, description="Most probes an estimate may use.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class GgnTraceOptions(MeasureOptions):
    """Trace of the Gauss-Newton matrix of the training loss."""

    name: Literal["ggn_trace"]
    values = ("ggn_trace",)
    label_samples: int | None = Field(
        None,
        ge=2,
        description="Draw so many random factors per example where there are more classes; if "
        "not given, exact up to 257 classes.",
    )


class GradientNormOptions(MeasureOptions):
    """Euclidean norm of the gradient of the loss."""

    name: Literal["gradient_norm"]
    values = ("gradient_norm",)


class FisherOptions(MeasureOptions):
    """Traces of the Fisher information, exact and empirical, and the noise of the gradients."""

    name: Literal["fisher"]
    values = ("fisher_trace", "empirical_fisher_trace", "gradient_noise", "gradient_noise_scale")


class FisherRaoNormOptions(MeasureOptions):
    """Fisher-Rao norm of the parameters, the value θᵀFθ."""

    name: Literal["fisher_rao_norm"]
    values = ("fisher_rao_norm",)
