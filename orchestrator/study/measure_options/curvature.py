"""Options of the curvature measures: the Hessian and related matrices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions


class HessianTraceOptions(MeasureOptions):
    """Trace of the Hessian of the training loss."""

    name: Literal["hessian_trace"]
    values = ("hessian_trace",)
    method: Literal["auto", "exact", "control_variate", "hutchinson", "hutch++", "xtrace"] = Field(
        "auto",
        description="auto: exact where provably correct; otherwise the exact Gauss-Newton trace "
        "plus an estimate of the rest, or an estimate of the whole where that trace is undefined.",
    )
    per_layer: bool = Field(False, description="Whether to also give each parameter's share.")
    probes: PositiveInt = Field(
        256, description="Maximum number of probes; for hutch++ and xtrace, of products."
    )
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class HessianSpectrumOptions(MeasureOptions):
    """Largest and smallest eigenvalues of the Hessian of the training loss, by Lanczos."""

    name: Literal["hessian_spectrum"]
    values = ("hessian_eigenvalue_#", "hessian_eigenvalue_min", "hessian_eigenvalue_ratio")
    top: PositiveInt = Field(5, description="Number of largest eigenvalues.")
    iterations: PositiveInt = Field(
        100, description="Maximum number of Lanczos iterations per start vector."
    )
    tolerance: PositiveFloat = Field(
        1e-3, description="Largest error of an eigenvalue, relative to it."
    )
    smallest: bool = Field(
        True, description="Whether to find the smallest eigenvalue, too, which takes longest."
    )


class EdgeOfStabilityOptions(MeasureOptions):
    """Largest eigenvalue of the Hessian, relative to the learning rate's stability threshold."""

    name: Literal["edge_of_stability"]
    values = ("edge_of_stability", "stability_threshold")
    iterations: int = Field(
        100, ge=5, description="Maximum number of Lanczos iterations per start vector."
    )
    tolerance: PositiveFloat = Field(
        1e-3, description="Largest error of an eigenvalue, relative to it."
    )


class HessianSpectralDensityOptions(MeasureOptions):
    """Density of the Hessian's eigenvalues, by stochastic Lanczos quadrature."""

    name: Literal["hessian_spectral_density"]
    values = ("hessian_spectral_moment_#", "hessian_effective_rank")
    probes: PositiveInt = Field(16, description="Random start vectors to average over.")
    iterations: PositiveInt = Field(32, description="Lanczos iterations per start vector.")
    moments: PositiveInt = Field(
        4, description="Number of moments (mean powers) of the eigenvalues."
    )
    grid_points: int = Field(
        256, ge=2, description="Number of points at which the density is given."
    )
    width: PositiveFloat = Field(
        0.01, description="Width of the Gaussian per eigenvalue, relative to their range."
    )


class HessianFrobeniusNormOptions(MeasureOptions):
    """Frobenius norm of the Hessian of the training loss, estimated."""

    name: Literal["hessian_frobenius_norm"]
    values = ("hessian_frobenius_norm",)
    probes: PositiveInt = Field(256, description="Maximum number of probes.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class RelativeFlatnessOptions(MeasureOptions):
    """Curvature of a layer weighted by its weights, independent of their scale."""

    name: Literal["relative_flatness"]
    values = ("relative_flatness",)
    layers: Literal["last", "all"] = Field(
        "last", description="The layer called last, usually the head; all adds every other layer."
    )
    probes: PositiveInt = Field(256, description="Maximum number of probes per estimate.")
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
        description="Random factors drawn per example where there are more classes; by default "
        "the trace is exact up to 257 classes.",
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
