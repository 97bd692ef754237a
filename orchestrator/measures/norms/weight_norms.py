"""Norms of the weights, which need no data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import nan

import torch

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import frobenius_product, spectral_product
from orchestrator.study.measure_options.norms import NormsOptions


def weight_norm(context: MeasureContext) -> float:
    """Return ‖θ‖₂ over all trainable parameters, biases and normalization included."""
    return float(torch.linalg.vector_norm(context.parameter_vector(), dtype=torch.float64))


def distance_from_initialization(context: MeasureContext) -> float:
    """Return ‖θ − θ₀‖₂ over all trainable parameters.

    Raises:
        MeasureError: If the state before training is not known or does not fit the network.
    """
    initial = context.initial_state
    if initial is None:
        raise MeasureError(
            "distance_from_initialization needs the network's state before training",
            "pass initial_state, the state_dict before training",
        )
    before = []
    for name, parameter in context.parameters.items():
        shape = tuple(initial[name].shape) if name in initial else "nothing"
        if shape != tuple(parameter.shape):
            raise MeasureError(
                f"initial_state has {shape} for parameter {name!r}, "
                f"expected shape {tuple(parameter.shape)}"
            )
        before.append(initial[name].to(device=context.device, dtype=torch.float64))
    difference = context.parameter_vector().to(torch.float64) - context.flatten(before)
    return float(torch.linalg.vector_norm(difference))


class Norms(Measure, options=NormsOptions):
    """Parameter count, ‖θ‖₂, ‖θ − θ₀‖₂, Π_l ‖W_l‖₂ and Π_l ‖W_l‖_F.

    ``layer_factors`` defines which layers the products run over. The values are neither squared
    nor logarithms (arXiv:1912.02178, equations 32 and 36, take squares). Values that are
    undefined for a network are NaN with the reason.

    Invariances: the products do not change under rescaling of bias-free ReLU layers, nor with
    the scale of weights before a batch normalization in eval mode; ‖θ‖₂ and ‖θ − θ₀‖₂ change
    under both. Lower is less complex. Cost: about one singular value decomposition per layer,
    shared with the margins; of the data, only the shapes of one example are used.
    """

    version = 3
    entries = tuple(
        CatalogEntry(name, "norm", symbol, unit, "lower", citation, cost, invariances)
        for name, symbol, unit, citation, cost, invariances in (
            (
                "parameter_count",
                "P",
                "1",
                "Jiang et al., arXiv:1912.02178, eq. 20",
                "0",
                "layer rescaling, logit scale",
            ),
            (
                "weight_norm",
                "‖θ‖₂",
                "weight",
                "Jiang et al., arXiv:1912.02178, eq. 42",
                "0",
                "none",
            ),
            (
                "distance_from_initialization",
                "‖θ − θ₀‖₂",
                "weight",
                "Jiang et al., arXiv:1912.02178, eq. 40",
                "0",
                "none",
            ),
            (
                "spectral_norm_product",
                "Π ‖W_l‖₂",
                "1",
                "Bartlett et al., arXiv:1706.08498, eq. 1.2",
                "one singular value per layer",
                "layer rescaling",
            ),
            (
                "frobenius_norm_product",
                "Π ‖W_l‖_F",
                "1",
                "Neyshabur et al., arXiv:1503.00036",
                "one pass over the weights",
                "layer rescaling",
            ),
        )
    )

    requires = frozenset()

    def __init__(self, options: NormsOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the five values."""
        norms: dict[str, Callable[[MeasureContext], float]] = {
            "parameter_count": lambda context: float(context.n_parameters),
            "weight_norm": weight_norm,
            "distance_from_initialization": distance_from_initialization,
            "spectral_norm_product": spectral_product,
            "frobenius_norm_product": frobenius_product,
        }
        for name, norm in norms.items():
            try:
                yield Value(name, norm(context), split=None)
            except MeasureError as error:
                yield Value(name, nan, split=None, reason=error_text(error))
