"""The singular values of each layer's weights."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from orchestrator.measures.base import CatalogEntry, Curve, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.study.measure_options.robustness import SingularValuesOptions

_CITATION = "Roy, Vetterli 2007, The effective rank; Wen, Li, Jia, ICML 2020"


def weight_matrices(context: MeasureContext) -> dict[str, Tensor]:
    """Return the weights of linear layers and convolutions by the name of the layer.

    A kernel is taken as the matrix of shape (output channels, all else) that acts on patches; its
    singular values are not those of the convolution on an image.
    """
    return {
        name: module.weight.detach().flatten(1).to(torch.float64)
        for name, module in context.model.named_modules()
        if isinstance(module, nn.Linear | _ConvNd)
    }


def effective_rank(singular_values: Tensor) -> float:
    """Return exp of the entropy of σ_i / Σ σ, between 1 and the rank; NaN for a zero matrix."""
    total = singular_values.sum()
    if not total > 0:
        return nan
    p = singular_values / total
    return float(torch.special.entr(p).sum().exp())


class SingularValues(Measure, options=SingularValuesOptions):
    """Effective rank of each layer's weights, and the curve of its singular values, descending.

    The variants are ``layer_1``, ``layer_2`` … in the order of the network's modules. The curve
    ``singular_values`` has the position of each value as x, from 1. The effective rank does not
    change when the layer is scaled, hence not under rescaling of layers; the values do change. A
    lower rank is less complex. Cost: one singular value decomposition per layer; no data.
    """

    entries = (
        CatalogEntry(
            "effective_rank",
            "norm",
            "exp H(σ / Σσ)",
            "1",
            "lower",
            _CITATION,
            "SVD",
            "layer rescaling, logit scale",
        ),
        CatalogEntry("singular_values", "norm", "σ_i(W_l)", "weight", "neutral", _CITATION, "SVD"),
    )

    requires = frozenset()

    curves = "if finite"

    def __init__(self, options: SingularValuesOptions) -> None:
        del options  # it has none

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the effective rank and the curve of each layer."""
        matrices = list(weight_matrices(context).values())
        if not matrices:
            reason = "the network has neither linear layers nor convolutions"
            yield Value("effective_rank", nan, split=None, reason=reason)
        for number, matrix in enumerate(matrices, start=1):
            variant = f"layer_{number}"
            if not matrix.isfinite().all():
                reason = "the layer's weights are not finite"
                yield Value("effective_rank", nan, variant=variant, split=None, reason=reason)
                continue
            values = torch.linalg.svdvals(matrix)
            rank = effective_rank(values)
            reason_of_nan = "the layer's weights are all zero" if rank != rank else None
            yield Value("effective_rank", rank, variant=variant, split=None, reason=reason_of_nan)
            ranks = [float(i) for i in range(1, len(values) + 1)]
            yield Curve("singular_values", ranks, values.tolist(), variant=variant, split=None)
