"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.robustness.confidence import Confidence
from orchestrator.measures.robustness.deepfool import DeepfoolMargin
from orchestrator.measures.robustness.input_margin import InputMargin
from orchestrator.measures.robustness.local_lipschitz import LocalLipschitz
from orchestrator.measures.robustness.pgd_margin import PgdMargin
from orchestrator.measures.robustness.robust_accuracy import Robustness
from orchestrator.measures.robustness.separation import Separation
from orchestrator.measures.robustness.singular_values import SingularValues
from orchestrator.study.measure_options.robustness import (
    ConfidenceOptions,
    DeepfoolMarginOptions,
    InputMarginOptions,
    LocalLipschitzOptions,
    PgdMarginOptions,
    RobustnessOptions,
    SeparationOptions,
    SingularValuesOptions,
)

ROBUSTNESS: MeasureFamily = {
    InputMarginOptions: InputMargin,
    DeepfoolMarginOptions: DeepfoolMargin,
    PgdMarginOptions: PgdMargin,
    RobustnessOptions: Robustness,
    LocalLipschitzOptions: LocalLipschitz,
    SeparationOptions: Separation,
    ConfidenceOptions: Confidence,
    SingularValuesOptions: SingularValues,
}
