"""Options of weight norms and other capacity measures."""

from __future__ import annotations

from typing import Literal

from orchestrator.study.measure_options.base import MeasureOptions


class NormsOptions(MeasureOptions):
    """Norms of the weights; data-free."""

    name: Literal["norms"]
    values = (
        "parameter_count",
        "weight_norm",
        "distance_from_initialization",
        "spectral_norm_product",
        "frobenius_norm_product",
    )


class PathNormOptions(MeasureOptions):
    """Path norm of a ReLU network; data-free."""

    name: Literal["path_norm"]
    values = ("path_norm",)


class StableRankOptions(MeasureOptions):
    """Stable rank of each layer's weights, and their sum; data-free."""

    name: Literal["stable_rank"]
    values = ("stable_rank",)


class JiangNormsOptions(MeasureOptions):
    """Products and sums of norms over layers, alone and divided by the margin."""

    name: Literal["jiang_norms"]
    values = (
        "inverse_squared_margin",
        "log_spectral_initial_bound",
        "log_spectral_bound",
        "log_spectral_product_over_margin",
        "log_spectral_product",
        "frobenius_over_spectral",
        "log_spectral_sum_over_margin",
        "log_spectral_sum",
        "log_frobenius_product_over_margin",
        "log_frobenius_product",
        "log_frobenius_sum_over_margin",
        "log_frobenius_sum",
        "frobenius_distance_sum",
        "spectral_distance_sum",
        "frobenius_norm_sum",
        "path_norm_over_margin",
    )


class SpectralComplexityOptions(MeasureOptions):
    """Spectral complexity, the norm in a margin bound; data-free."""

    name: Literal["spectral_complexity"]
    values = ("spectral_complexity",)


class ConvolutionNormsOptions(MeasureOptions):
    """Three norms per convolution: of the operator, of the kernel, and on a torus."""

    name: Literal["convolution_norms"]
    values = ("convolution_norm",)
