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


class JiangNormsOptions(MeasureOptions):
    """Products and sums of norms over layers, alone and over the margin."""

    name: Literal["jiang_norms"]


class SpectralComplexityOptions(MeasureOptions):
    """Spectral complexity, the norm of a margin bound: data-free."""

    name: Literal["spectral_complexity"]


class ConvolutionNormsOptions(MeasureOptions):
    """Three norms of each convolution: of the operator, of the kernel, on a torus."""

    name: Literal["convolution_norms"]


NORMS: tuple[type[MeasureOptions], ...] = (
    NormsOptions,
    PathNormOptions,
    StableRankOptions,
    JiangNormsOptions,
    SpectralComplexityOptions,
    ConvolutionNormsOptions,
)
