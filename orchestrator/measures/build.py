"""From a study file's options to a measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.measures.average_sharpness import AverageSharpness
from orchestrator.measures.base import Measure
from orchestrator.measures.custom import FunctionMeasure
from orchestrator.measures.fisher import Fisher
from orchestrator.measures.fisher_rao import FisherRaoNorm
from orchestrator.measures.gradient import GradientNorm
from orchestrator.measures.hessian_frobenius import HessianFrobeniusNorm
from orchestrator.measures.hessian_spectrum import HessianSpectrum
from orchestrator.measures.hessian_trace import HessianTrace
from orchestrator.measures.margins import Margin
from orchestrator.measures.norms import Norms
from orchestrator.measures.path_norm import PathNorm
from orchestrator.measures.sam_sharpness import SamSharpness
from orchestrator.measures.stable_rank import StableRank
from orchestrator.study.import_path import resolve_import_path
from orchestrator.study.measure_options import (
    AverageSharpnessOptions,
    CustomMeasure,
    FisherOptions,
    FisherRaoNormOptions,
    GradientNormOptions,
    HessianFrobeniusNormOptions,
    HessianSpectrumOptions,
    HessianTraceOptions,
    MarginOptions,
    MeasureOptions,
    NormsOptions,
    PathNormOptions,
    SamSharpnessOptions,
    StableRankOptions,
)

BUILT_IN: dict[type[MeasureOptions], Callable[[Any], Measure]] = {
    MarginOptions: Margin,
    HessianTraceOptions: HessianTrace,
    HessianSpectrumOptions: HessianSpectrum,
    GradientNormOptions: GradientNorm,
    SamSharpnessOptions: SamSharpness,
    AverageSharpnessOptions: AverageSharpness,
    NormsOptions: Norms,
    FisherOptions: Fisher,
    FisherRaoNormOptions: FisherRaoNorm,
    PathNormOptions: PathNorm,
    StableRankOptions: StableRank,
    HessianFrobeniusNormOptions: HessianFrobeniusNorm,
}


def build_measure(options: MeasureOptions) -> Measure:
    """Build what one request of a study file asks for.

    The user's own measure is named by import path or entry point: a callable
    ``(context, **arguments)`` (see ``custom``), or a subclass of :class:`Measure`, which is
    given the arguments by keyword.

    Raises:
        ImportPathError: If the user's own measure cannot be imported or called.
        MeasureError: If the options cannot be met.
    """
    if isinstance(options, CustomMeasure):
        component: Any = resolve_import_path(options.name, "measures")
        if isinstance(component, type) and issubclass(component, Measure):
            return component(**options.arguments)
        return FunctionMeasure(options.name, component, options.arguments)
    return BUILT_IN[type(options)](options)
