"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.sharpness.average_sharpness import AverageSharpness
from orchestrator.measures.sharpness.flatness_profile import FlatnessProfile
from orchestrator.measures.sharpness.keskar_sharpness import KeskarSharpness
from orchestrator.measures.sharpness.local_entropy import LocalEntropy
from orchestrator.measures.sharpness.loss_slice import LossSlice
from orchestrator.measures.sharpness.pac_bayes_sigma import PacBayesSigma
from orchestrator.measures.sharpness.sam_sharpness import SamSharpness
from orchestrator.measures.sharpness.worst_case_radius import WorstCaseRadius
from orchestrator.measures.sharpness.worst_case_sharpness import WorstCaseSharpness
from orchestrator.study.measure_options.sharpness import (
    AverageSharpnessOptions,
    FlatnessProfileOptions,
    KeskarSharpnessOptions,
    LocalEntropyOptions,
    LossSliceOptions,
    PacBayesSigmaOptions,
    SamSharpnessOptions,
    WorstCaseRadiusOptions,
    WorstCaseSharpnessOptions,
)

SHARPNESS: MeasureFamily = {
    SamSharpnessOptions: SamSharpness,
    AverageSharpnessOptions: AverageSharpness,
    WorstCaseSharpnessOptions: WorstCaseSharpness,
    PacBayesSigmaOptions: PacBayesSigma,
    WorstCaseRadiusOptions: WorstCaseRadius,
    KeskarSharpnessOptions: KeskarSharpness,
    LossSliceOptions: LossSlice,
    FlatnessProfileOptions: FlatnessProfile,
    LocalEntropyOptions: LocalEntropy,
}
