"""Options of measures in input space: distances to the decision boundary, and robustness."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from orchestrator.study.measure_options.base import MeasureOptions

Norm = Literal["l2", "linf"]
_EXAMPLES = "Maximum number of examples per split, a fixed stratified subset."
_NORM = "Norm of input perturbations, in units of the standardized inputs."


def _distances(measure: str, unbounded: str) -> tuple[str, ...]:
    names = ("median", "p10", "p25", "min", "mean", unbounded, "misclassified_share")
    return tuple(f"{measure}_{name}" for name in names)


class InputMarginOptions(MeasureOptions):
    """Distances to the decision boundary in input space, to first order."""

    name: Literal["input_margin"]
    values = _distances("input_margin", "infinite_share")
    takes_subset = True
    norms: tuple[Norm, ...] = Field(("l2", "linf"), description=_NORM)
    examples: PositiveInt = Field(256, description=_EXAMPLES)


class DeepfoolMarginOptions(MeasureOptions):
    """Distances to the decision boundary in input space, by DeepFool."""

    name: Literal["deepfool_margin"]
    values = _distances("deepfool_margin", "infinite_share")
    takes_subset = True
    norm: Norm = Field("l2", description=_NORM)
    examples: PositiveInt = Field(256, description=_EXAMPLES)
    iterations: PositiveInt = Field(50, description="Maximum number of linearizations.")
    overshoot: NonNegativeFloat = Field(
        0.02, description="Relative overshoot, to cross the boundary."
    )


class PgdMarginOptions(MeasureOptions):
    """Distances to the decision boundary in input space, by PGD and bisection."""

    name: Literal["pgd_margin"]
    values = _distances("pgd_margin", "censored_share")
    takes_subset = True
    norm: Norm = Field("l2", description=_NORM)
    examples: PositiveInt = Field(128, description=_EXAMPLES)
    steps: PositiveInt = Field(20, description="Steps per ascent.")
    restarts: PositiveInt = Field(
        1, description="Number of ascents; the first starts at the input."
    )
    bisections: PositiveInt = Field(8, description="Number of interval halvings.")
    largest: PositiveFloat | None = Field(
        None,
        description="Radius beyond which distances are censored; by default half a standard "
        "deviation of the data in every coordinate.",
    )


class RobustnessOptions(MeasureOptions):
    """Accuracy and stability under projected gradient ascent."""

    name: Literal["robustness"]
    values = (
        "natural_accuracy",
        "perturbation_stability",
        "robust_accuracy",
        "robustness_zero_gradients",
    )
    takes_subset = True
    norm: Norm = Field("linf", description=_NORM)
    radius: PositiveFloat = Field(0.1, description="Radius of the ball around each input.")
    examples: PositiveInt = Field(256, description=_EXAMPLES)
    steps: PositiveInt = Field(20, description="Steps per ascent.")
    restarts: PositiveInt = Field(
        2, description="Number of ascents; the first starts at the input."
    )


class LocalLipschitzOptions(MeasureOptions):
    """Change of the logits per unit of distance, within a ball around each input."""

    name: Literal["local_lipschitz"]
    values = ("local_lipschitz_mean", "local_lipschitz_max", "local_lipschitz_zero_gradients")
    takes_subset = True
    norm: Norm = Field("linf", description=_NORM)
    radius: PositiveFloat = Field(0.1, description="Radius of the ball around each input.")
    examples: PositiveInt = Field(256, description=_EXAMPLES)
    steps: PositiveInt = Field(10, description="Steps of the ascent.")


class SeparationOptions(MeasureOptions):
    """Smallest distance between differently labelled examples: a property of the data."""

    name: Literal["separation"]
    values = ("separation", "separation_conflicts")
    takes_subset = True
    norms: tuple[Norm, ...] = Field(("l2", "linf"), description=_NORM)
    examples: PositiveInt = Field(1000, description=_EXAMPLES)


class ConfidenceOptions(MeasureOptions):
    """Distribution of the predicted probabilities."""

    name: Literal["confidence"]
    values = ("confidence_mean", "calibration_error", "near_boundary_share")
    near: PositiveFloat = Field(
        0.1,
        lt=1,
        description="Top-two probability gaps up to this count as near the boundary.",
    )
    bins: PositiveInt = Field(20, description="Number of histogram bins.")


class SingularValuesOptions(MeasureOptions):
    """Singular values and effective rank of each layer's weights; data-free."""

    name: Literal["singular_values"]
    values = ("effective_rank",)
