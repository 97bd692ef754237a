"""Options of the measures of sharpness: how the loss grows under perturbed weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions


class SamSharpnessOptions(MeasureOptions):
    """Loss increase after one ascent step of length rho, L(θ + ρ g/‖g‖) − L(θ)."""

    name: Literal["sam_sharpness"]
    rho: PositiveFloat = 0.05
    adaptive: bool = Field(False, description="Scale the step by |θ| (ASAM, eta = 0).")


class AverageSharpnessOptions(MeasureOptions):
    """Mean loss increase under Gaussian noise of standard deviation rho per parameter."""

    name: Literal["average_sharpness"]
    rho: PositiveFloat = 0.01
    adaptive: bool = Field(False, description="Scale the noise by |θ|.")
    draws: PositiveInt = Field(64, description="Most draws the estimate may use.")
    relative_error: NonNegativeFloat = Field(
        0.05, description="Stop drawing at this standard error, relative to the estimate."
    )
    normalize_logits: bool = Field(
        False, description="Take the loss of (z − mean z) / ‖z − mean z‖: free of the logit scale."
    )


class WorstCaseSharpnessOptions(MeasureOptions):
    """Largest loss increase in a ball of radius rho, by projected ascent, averaged over batches."""

    name: Literal["worst_case_sharpness"]
    norm: Literal["l2", "linf"] = Field("l2", description="Norm of the ball: Euclidean or box.")
    rho: PositiveFloat = Field(
        0.5, description="Radius. A box of that radius is far larger: linf needs about 0.001."
    )
    adaptive: bool = Field(True, description="Scale the ball by |θ| (ASAM, eta = 0).")
    normalize_logits: bool = Field(
        False, description="Take the loss of (z − mean z) / ‖z − mean z‖: free of the logit scale."
    )
    batch_size: PositiveInt = Field(
        128, description="Maximize separately on batches of at most this size (m-sharpness)."
    )
    examples: PositiveInt = Field(
        1024, description="Use a fixed stratified subset of at most this many training examples."
    )
    steps: PositiveInt = Field(20, description="Steps of the ascent in each batch.")


SHARPNESS: tuple[type[MeasureOptions], ...] = (
    SamSharpnessOptions,
    AverageSharpnessOptions,
    WorstCaseSharpnessOptions,
)
