"""Options of the margin measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions

Normalizer = Literal[
    "raw",
    "spectral",
    "frobenius",
    "logit_norm",
    "total_variation",
    "probability",
    "calibrated",
    "spectral_complexity",
    "homogeneous",
]


class MarginOptions(MeasureOptions):
    """Output margins: true logit minus the largest other, summarized over examples."""

    name: Literal["margin"]
    values = (
        "margin_mean",
        "margin_median",
        "margin_p10",
        "margin_p25",
        "margin_min",
        "margin_negative_share",
        "calibration_temperature",
    )
    normalizations: tuple[Normalizer, ...] = (
        "raw",
        "spectral",
        "frobenius",
        "logit_norm",
        "total_variation",
    )


class HiddenMarginOptions(MeasureOptions):
    """First-order distances to the decision boundary in the space of each hidden layer."""

    name: Literal["hidden_margin"]
    values = (
        "hidden_margin_p10",
        "hidden_margin_p25",
        "hidden_margin_median",
        "hidden_margin_p75",
        "hidden_margin_min",
        "hidden_margin_lower_fence",
        "hidden_margin_upper_fence",
        "hidden_margin_infinite_share",
    )
    norm: Literal["l2", "linf"] = Field("l2", description="Norm of the distance in a hidden layer.")
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Names of the modules whose outputs are used; by default all activations.",
    )


class PopulationMinimumOptions(MeasureOptions):
    """The smallest margin of the population, estimated from the smallest measured margins."""

    name: Literal["margin_population_minimum"]
    values = (
        "margin_population_minimum",
        "margin_population_minimum_low",
        "margin_population_minimum_high",
    )
    tail: float = Field(0.1, gt=0, le=0.5, description="Share of the examples in the tail.")
    least: PositiveInt = Field(30, description="Minimum number of examples in the tail.")
    resamples: PositiveInt = Field(200, description="Number of bootstrap resamples.")


class MarginDistributionOptions(MeasureOptions):
    """Quantiles of the training margins, and the examples with the smallest of them."""

    name: Literal["margin_distribution"]
    values = ("margin_iqr",)
    quantiles: int = Field(
        101,
        ge=5,
        description="Number of evenly spaced quantiles, from the smallest margin to the largest.",
    )
    smallest: PositiveInt = Field(
        16, description="Number of smallest margins whose examples are listed."
    )
    normalization: Normalizer = Field("raw", description="Quantity that margins are divided by.")
