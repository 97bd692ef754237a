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


SHARPNESS: tuple[type[MeasureOptions], ...] = (SamSharpnessOptions, AverageSharpnessOptions)
