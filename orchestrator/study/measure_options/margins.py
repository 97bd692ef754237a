"""Options of the margins."""

from __future__ import annotations

from typing import Literal

from orchestrator.study.measure_options.base import MeasureOptions

Normalizer = Literal["raw", "spectral", "frobenius", "logit_norm", "total_variation"]


class MarginOptions(MeasureOptions):
    """Output margins: true logit minus the largest other, summarized over examples."""

    name: Literal["margin"]
    normalizations: tuple[Normalizer, ...] = (
        "raw",
        "spectral",
        "frobenius",
        "logit_norm",
        "total_variation",
    )


MARGINS: tuple[type[MeasureOptions], ...] = (MarginOptions,)
