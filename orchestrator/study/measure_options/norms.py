"""Options of the norms of weights and other measures of capacity."""

from __future__ import annotations

from typing import Literal

from orchestrator.study.measure_options.base import MeasureOptions


class NormsOptions(MeasureOptions):
    """Norms of the weights: data-free."""

    name: Literal["norms"]


class PathNormOptions(MeasureOptions):
    """Path norm of a ReLU network: data-free."""

    name: Literal["path_norm"]


class StableRankOptions(MeasureOptions):
    """Stable rank of the layers' weights, and their sum: data-free."""

    name: Literal["stable_rank"]


NORMS: tuple[type[MeasureOptions], ...] = (NormsOptions, PathNormOptions, StableRankOptions)
