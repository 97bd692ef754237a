"""The built-in measures of this family, by their options."""

from __future__ import annotations

from orchestrator.measures.base import MeasureFamily
from orchestrator.measures.norms.path_norm import PathNorm
from orchestrator.measures.norms.stable_rank import StableRank
from orchestrator.measures.norms.weight_norms import Norms
from orchestrator.study.measure_options.norms import (
    NormsOptions,
    PathNormOptions,
    StableRankOptions,
)

NORMS: MeasureFamily = {
    NormsOptions: Norms,
    PathNormOptions: PathNorm,
    StableRankOptions: StableRank,
}
