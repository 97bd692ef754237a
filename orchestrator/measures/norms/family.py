"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.norms.convolution_norms import ConvolutionNorms
from orchestrator.measures.norms.jiang_norms import JiangNorms
from orchestrator.measures.norms.path_norm import PathNorm
from orchestrator.measures.norms.spectral_complexity import SpectralComplexity
from orchestrator.measures.norms.stable_rank import StableRank
from orchestrator.measures.norms.weight_norms import Norms
from orchestrator.study.measure_options.norms import (
    ConvolutionNormsOptions,
    JiangNormsOptions,
    NormsOptions,
    PathNormOptions,
    SpectralComplexityOptions,
    StableRankOptions,
)

NORMS: MeasureFamily = {
    NormsOptions: Norms,
    PathNormOptions: PathNorm,
    StableRankOptions: StableRank,
    JiangNormsOptions: JiangNorms,
    SpectralComplexityOptions: SpectralComplexity,
    ConvolutionNormsOptions: ConvolutionNorms,
}
