"""Options of the measures of curvature: the Hessian and its relatives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions


class HessianTraceOptions(MeasureOptions):
    """Trace of the Hessian of the training loss."""

    name: Literal["hessian_trace"]
    method: Literal["auto", "exact", "hutchinson"] = Field(
        "auto", description="auto: exact where that is provably right, Hutchinson elsewhere."
    )
    probes: PositiveInt = Field(256, description="Most probes the estimate may use.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class HessianSpectrumOptions(MeasureOptions):
    """Largest and smallest eigenvalues of the Hessian of the training loss, by Lanczos."""

    name: Literal["hessian_spectrum"]
    top: PositiveInt = Field(5, description="How many of the largest eigenvalues.")
    iterations: PositiveInt = Field(100, description="Most Lanczos iterations.")
    tolerance: PositiveFloat = Field(
        1e-3, description="Residual norm, relative to the eigenvalue it belongs to."
    )


class HessianFrobeniusNormOptions(MeasureOptions):
    """Frobenius norm of the Hessian of the training loss, estimated."""

    name: Literal["hessian_frobenius_norm"]
    probes: PositiveInt = Field(256, description="Most probes the estimate may use.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class GradientNormOptions(MeasureOptions):
    """Euclidean norm of the gradient of the loss."""

    name: Literal["gradient_norm"]


class FisherOptions(MeasureOptions):
    """Traces of the Fisher information, exact and empirical, and the noise of the gradients."""

    name: Literal["fisher"]


class FisherRaoNormOptions(MeasureOptions):
    """Fisher-Rao norm of the parameters, the value θᵀFθ."""

    name: Literal["fisher_rao_norm"]


CURVATURE: tuple[type[MeasureOptions], ...] = (
    HessianTraceOptions,
    HessianSpectrumOptions,
    HessianFrobeniusNormOptions,
    GradientNormOptions,
    FisherOptions,
    FisherRaoNormOptions,
)
