"""Options of the sharpness measures: loss increase under perturbed weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions


class SamSharpnessOptions(MeasureOptions):
    """Loss increase after one ascent step of length rho, L(θ + ρ g/‖g‖) − L(θ)."""

    name: Literal["sam_sharpness"]
    values = ("sam_sharpness",)
    rho: PositiveFloat = 0.05
    adaptive: bool = Field(False, description="Scale the step by |θ| (ASAM, eta = 0).")


class AverageSharpnessOptions(MeasureOptions):
    """Mean loss increase under Gaussian noise of standard deviation rho per parameter."""

    name: Literal["average_sharpness"]
    values = ("average_sharpness",)
    rho: PositiveFloat = 0.01
    adaptive: bool = Field(False, description="Scale the noise by |θ|.")
    draws: PositiveInt = Field(64, description="Maximum number of noise draws.")
    relative_error: NonNegativeFloat = Field(
        0.05, description="Stop drawing at this standard error, relative to the estimate."
    )
    normalize_logits: bool = Field(
        False, description="Take the loss of (z − mean z) / ‖z − mean z‖, free of the logit scale."
    )


class WorstCaseSharpnessOptions(MeasureOptions):
    """Largest loss increase in a ball of radius rho, by projected ascent, averaged over batches."""

    name: Literal["worst_case_sharpness"]
    values = ("worst_case_sharpness",)
    norm: Literal["l2", "linf"] = Field("l2", description="Norm of the ball: Euclidean or box.")
    rho: PositiveFloat = Field(
        0.5, description="Radius. A box of the same radius is far larger; for linf try 0.01."
    )
    adaptive: bool = Field(True, description="Scale the ball by |θ| (ASAM, eta = 0).")
    normalize_logits: bool = Field(
        False, description="Take the loss of (z − mean z) / ‖z − mean z‖, free of the logit scale."
    )
    batch_size: PositiveInt = Field(
        128, description="Maximize separately on batches of at most this size (m-sharpness)."
    )
    examples: PositiveInt = Field(
        1024, description="Use a fixed stratified subset of at most this many training examples."
    )
    steps: PositiveInt = Field(20, description="Steps of the ascent in each batch.")


class PacBayesSigmaOptions(MeasureOptions):
    """Largest weight noise σ with at most a given mean drop in accuracy; also as 1/σ²."""

    name: Literal["pac_bayes_sigma"]
    values = ("pac_bayes_sigma", "inverse_square_sigma", "pac_bayes_complexity")
    magnitude_aware: bool = Field(False, description="Noise of variance σ² θ² + epsilon².")
    accuracy_drop: float = Field(0.1, gt=0, lt=1, description="Drop in training accuracy.")
    draws: PositiveInt = Field(48, description="Number of noise draws, the same for every σ.")
    largest: PositiveFloat = Field(2.0, description="Largest σ tried; larger ones are censored.")
    tolerance: PositiveFloat = Field(0.01, description="Precision of the search, relative to σ.")
    epsilon: NonNegativeFloat = Field(1e-3, description="Minimum noise, if magnitude-aware.")


class WorstCaseRadiusOptions(MeasureOptions):
    """Largest box around the weights in which accuracy drops by at most a given amount."""

    name: Literal["worst_case_radius"]
    values = ("worst_case_radius", "inverse_square_radius")
    magnitude_aware: bool = Field(False, description="Half-widths of α |θ| + epsilon.")
    accuracy_drop: float = Field(0.1, gt=0, lt=1, description="Drop in training accuracy.")
    steps: PositiveInt = Field(20, description="Steps of the ascent in each box.")
    largest: PositiveFloat = Field(2.0, description="Largest α tried; larger ones are censored.")
    tolerance: PositiveFloat = Field(0.02, description="Precision of the search, relative to α.")
    epsilon: NonNegativeFloat = Field(1e-3, description="Minimum half-width, if magnitude-aware.")


class KeskarSharpnessOptions(MeasureOptions):
    """Largest loss in a box of half-widths epsilon (|θ| + 1), relative to 1 + loss, in percent."""

    name: Literal["keskar_sharpness"]
    values = ("keskar_sharpness",)
    epsilons: tuple[PositiveFloat, ...] = Field(
        (1e-3, 5e-4), min_length=1, description="Box sizes; each gives one value."
    )
    steps: PositiveInt = Field(20, description="Steps of the ascent in each box.")
    subspace: PositiveInt | None = Field(
        None, description="Dimension of random subspaces (100 in the paper); null uses all weights."
    )
    draws: int = Field(5, ge=2, description="Number of random subspaces to average over.")


class LossSliceOptions(MeasureOptions):
    """Loss and error along one or two random filter-normalized directions."""

    name: Literal["loss_slice"]
    values = ("loss_slice_width",)
    dimensions: Literal[1, 2] = Field(1, description="Number of directions: a line or a plane.")
    points: PositiveInt = Field(25, description="Points per axis; odd numbers include the center.")
    extent: PositiveFloat = Field(1.0, description="Each axis runs from −extent to extent.")


class FlatnessProfileOptions(MeasureOptions):
    """Increase in training error under noise proportional to the weights, by noise size."""

    name: Literal["flatness_profile"]
    values = ("flatness_profile_mean",)
    sigmas: tuple[PositiveFloat, ...] = Field(
        (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
        min_length=1,
        description="Standard deviations of the noise, relative to each weight.",
    )
    draws: PositiveInt = Field(64, description="Number of noise draws, the same for every sigma.")


class LocalEntropyOptions(MeasureOptions):
    """Log of the mean of exp(−loss) over a Gaussian around the weights, by Langevin sampling."""

    name: Literal["local_entropy"]
    values = ("local_entropy",)
    gamma: PositiveFloat = Field(1000.0, description="Precision of the Gaussian around θ.")
    inverse_temperature: PositiveFloat = Field(1.0, description="Factor on the mean loss.")
    burn_in: PositiveInt = Field(20, description="Burn-in steps of each of five chains, discarded.")
    samples: PositiveInt = Field(
        80, description="Counted steps of each of five chains; small gamma needs more."
    )
