"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.curvature.edge_of_stability import EdgeOfStability
from orchestrator.measures.curvature.fisher import Fisher
from orchestrator.measures.curvature.fisher_rao import FisherRaoNorm
from orchestrator.measures.curvature.ggn_trace import GgnTrace
from orchestrator.measures.curvature.gradient import GradientNorm
from orchestrator.measures.curvature.hessian_frobenius import HessianFrobeniusNorm
from orchestrator.measures.curvature.hessian_spectral_density import HessianSpectralDensity
from orchestrator.measures.curvature.hessian_spectrum import HessianSpectrum
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.measures.curvature.relative_flatness import RelativeFlatness
from orchestrator.study.measure_options.curvature import (
    EdgeOfStabilityOptions,
    FisherOptions,
    FisherRaoNormOptions,
    GgnTraceOptions,
    GradientNormOptions,
    HessianFrobeniusNormOptions,
    HessianSpectralDensityOptions,
    HessianSpectrumOptions,
    HessianTraceOptions,
    RelativeFlatnessOptions,
)

CURVATURE: MeasureFamily = {
    HessianTraceOptions: HessianTrace,
    HessianSpectrumOptions: HessianSpectrum,
    EdgeOfStabilityOptions: EdgeOfStability,
    HessianSpectralDensityOptions: HessianSpectralDensity,
    HessianFrobeniusNormOptions: HessianFrobeniusNorm,
    RelativeFlatnessOptions: RelativeFlatness,
    GgnTraceOptions: GgnTrace,
    GradientNormOptions: GradientNorm,
    FisherOptions: Fisher,
    FisherRaoNormOptions: FisherRaoNorm,
}
