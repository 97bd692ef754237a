"""Stable rank: the effective number of directions in the weights of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan

from torch import nn
from torch.nn.modules.conv import _ConvNd

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import LayerFactor, layer_factors
from orchestrator.study.measure_options.norms import StableRankOptions


def stable_ranks(context: MeasureContext) -> list[float]:
    """Return ‖W_l‖_F² / ‖W_l‖₂² of each call of a linear layer or convolution, in order.

    For a layer of zeros the value is NaN.

    Raises:
        MeasureError: As ``layer_factors``.
    """
    return [
        (factor.frobenius / factor.spectral) ** 2 if factor.spectral else nan
        for factor in layer_factors(context)
        if _has_matrix(context, factor)
    ]


class StableRank(Measure, options=StableRankOptions):
    """Σ_l ‖W_l‖_F² / ‖W_l‖₂² over linear layers and convolutions, and each layer's term.

    The variants ``layer_1``, ``layer_2`` … are the layers in the order of their calls; the
    sum has no variant. The layers and norms are those of ``layer_factors`` except normalizations,
    which would not contribute a matrix to the sum. For a linear layer the term is between 1 and
    the rank. For a convolution, the Frobenius norm is that of the kernel, which counts once, and
    the spectral norm that of the operator on the image. The term is then less than the stable rank
    of the operator, by a factor of about the number of output positions, and may be below 1.

    Invariances: it does not change when a layer's weights are scaled as a whole, hence neither
    under rescaling of layers nor with the scale of logits; scaling single nodes changes it.
    Lower is less complex. If ``layer_factors`` is undefined, the value is NaN with the reason.
    Cost: one singular value per layer, shared with ``norms`` and the normalized margins.
    """

    version = 3
    entries = (
        CatalogEntry(
            measure="stable_rank",
            family="norm",
            symbol="Σ_l ‖W_l‖_F² / ‖W_l‖₂²",
            unit="1",
            direction="lower",
            citation="Jiang et al., arXiv:1912.02178, eq. 33",
            cost="one singular value per layer, shared",
            invariances="layer rescaling, logit scale",
        ),
    )

    requires = frozenset()

    def __init__(self, options: StableRankOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the sum, then each layer's term."""
        try:
            ranks = stable_ranks(context)
        except MeasureError as error:
            yield Value("stable_rank", nan, split=None, reason=error_text(error))
            return
        yield _value(sum(ranks), "")
        for number, rank in enumerate(ranks, start=1):
            yield _value(rank, f"layer_{number}")


def _value(rank: float, variant: str) -> Value:
    reason = None if isfinite(rank) else "a layer's weights are all zero or not finite"
    return Value("stable_rank", rank, variant=variant, split=None, reason=reason)


def _has_matrix(context: MeasureContext, factor: LayerFactor) -> bool:
    return isinstance(context.model.get_submodule(factor.name), nn.Linear | _ConvNd)
