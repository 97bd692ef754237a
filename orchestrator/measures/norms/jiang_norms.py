"""The norm and margin measures compared by Jiang et al."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log, nan, prod
from typing import TypeAlias

import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import margins, summarize
from orchestrator.measures.norms.layer_factors import WeightLayer, layer_factors, matrix_layers
from orchestrator.measures.norms.operator_norm import convolution_norm, matrix_norm
from orchestrator.measures.norms.path_norm import path_norm
from orchestrator.models.shared_tensors import copy_with_ties
from orchestrator.study.measure_options.norms import JiangNormsOptions

ROWS = (  # name, symbol, equations of arXiv:1912.02178
    ("inverse_squared_margin", "1 / γ²", "22"),
    ("log_spectral_initial_bound", "log(Π‖W‖₂² Σ‖W−W₀‖_F²/‖W‖₂² / γ²)", "29"),
    ("log_spectral_bound", "log(Π‖W‖₂² Σ‖W‖_F²/‖W‖₂² / γ²)", "30"),
    ("log_spectral_product_over_margin", "log(Π‖W‖₂² / γ²)", "31"),
    ("log_spectral_product", "log Π‖W‖₂²", "32"),
    ("frobenius_over_spectral", "Σ‖W‖_F²/‖W‖₂²", "33"),
    ("log_spectral_sum_over_margin", "log(d (Π‖W‖₂² / γ²)^(1/d))", "34"),
    ("log_spectral_sum", "log(d (Π‖W‖₂²)^(1/d))", "35"),
    ("log_frobenius_product_over_margin", "log(Π‖W‖_F² / γ²)", "36"),
    ("log_frobenius_product", "log Π‖W‖_F²", "37"),
    ("log_frobenius_sum_over_margin", "log(d (Π‖W‖_F² / γ²)^(1/d))", "38"),
    ("log_frobenius_sum", "log(d (Π‖W‖_F²)^(1/d))", "39"),
    ("frobenius_distance_sum", "Σ‖W−W₀‖_F²", "40"),
    ("spectral_distance_sum", "Σ‖W−W₀‖₂²", "41"),
    ("frobenius_norm_sum", "Σ‖W‖_F²", "42"),
    ("path_norm_over_margin", "‖path‖₂ / γ", "43"),
)
_OVER_MARGIN = (
    *("log_spectral_bound", "log_spectral_product_over_margin", "log_spectral_sum_over_margin"),
    *("log_frobenius_product_over_margin", "log_frobenius_sum_over_margin"),
    *("path_norm_over_margin", "frobenius_over_spectral"),
)
_OF_PRODUCTS = (
    *("inverse_squared_margin", "log_spectral_product", "log_spectral_sum"),
    *("log_frobenius_product", "log_frobenius_sum"),
)
_INVARIANCES = dict.fromkeys(_OVER_MARGIN, "layer rescaling, logit scale") | dict.fromkeys(
    _OF_PRODUCTS, "layer rescaling"
)
_Quantity: TypeAlias = float | str
"""A number, or the reason why it is undefined."""


class JiangNorms(Measure, options=JiangNormsOptions):
    """Products and sums of norms over layers, alone and divided by the margin.

    W_l are the weights of the d calls of linear layers and convolutions; γ is the 10th percentile
    of the training margins. Constants are omitted, as in the paper. Products are given as natural
    logarithms, because they overflow. Jiang et al. (arXiv:1912.02178, appendix C) then take
    sqrt(· / m) with m training examples, which changes no ranking at equal m. Their other measures
    have names of their own here: equation 20 is ``parameter_count``, equation 44 is
    ``path_norm``, and the sharpness measures are ``pac_bayes_sigma`` and ``worst_case_radius``.

    The products are those of ``layer_factors``: convolutions count with their operator norm, and
    batch normalization in eval mode with its own factor. d and the sums run over weights only.
    If γ is not positive, quantities divided by it are NaN with the reason. Taking its absolute
    value, as published code does, would make a network that misclassifies look accurate. Distances
    need the weights before training.

    Invariances: the products do not change under rescaling of bias-free layers; sums and
    distances do. Divided by γ², the spectral and Frobenius products do not change when the last
    layer is scaled. Lower is less complex. Cost: one singular value per layer and weight
    difference, shared; one forward pass for γ.
    """

    version = 4
    entries = tuple(
        CatalogEntry(
            measure=name,
            family="norm",
            symbol=symbol,
            unit="1",
            direction="lower",
            citation=f"Jiang et al., arXiv:1912.02178, eq. {equation}",
            cost="two singular values per layer, shared",
            invariances=_INVARIANCES.get(name, "none"),
        )
        for name, symbol, equation in ROWS
    )

    def __init__(self, options: JiangNormsOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield all values; those that are undefined are NaN with the reason."""
        quantities = jiang_norms(context)
        with_margin = {name for name, symbol, _ in ROWS if "γ" in symbol}
        for name, _, _ in ROWS:
            found = quantities[name]
            value, reason = (nan, found) if isinstance(found, str) else (found, None)
            if reason is None and not isfinite(value):
                reason = "weights or margins are zero or not finite"
            split = "train" if name in with_margin else None
            yield Value(name, value, split=split, reason=reason)  # type: ignore[arg-type]


def jiang_norms(context: MeasureContext) -> dict[str, _Quantity]:
    """Return the values of :class:`JiangNorms` by name, or the reason if one is undefined."""
    log_margin = _log_margin(context)
    try:
        factors, layers = layer_factors(context), matrix_layers(context)
    except MeasureError as error:
        found: dict[str, _Quantity] = dict.fromkeys(
            (name for name, _, _ in ROWS), error_text(error)
        )
        found["inverse_squared_margin"] = _exp(_minus(0.0, log_margin, 2))
        found["path_norm_over_margin"] = _path(context, log_margin)
        return found
    d = len(layers)
    spectral = 2 * _log(prod(factor.spectral for factor in factors))
    frobenius = 2 * _log(prod(factor.frobenius for factor in factors))
    ratio = _sum(_ratio(layer.factor.frobenius, layer.factor.spectral) for layer in layers)
    distances = [_norms_of_change(layer) for layer in layers]
    missing = "the network's weights before training are not known"
    moved: _Quantity = missing
    moved_ratio: _Quantity = missing
    moved_spectral: _Quantity = missing
    known = [distance for distance in distances if distance is not None]
    if len(known) == d:
        moved = _sum(frobenius**2 for frobenius, _ in known)
        moved_spectral = _sum(spectral**2 for _, spectral in known)
        moved_ratio = _sum(
            _ratio(norm, layer.factor.spectral)
            for (norm, _), layer in zip(known, layers, strict=True)
        )
    over = _minus(spectral, log_margin, 2)
    frobenius_over = _minus(frobenius, log_margin, 2)
    return {
        "inverse_squared_margin": _exp(_minus(0.0, log_margin, 2)),
        "log_spectral_initial_bound": _plus(
            over, moved_ratio if isinstance(moved_ratio, str) else _log(moved_ratio)
        ),
        "log_spectral_bound": _plus(over, _log(ratio)),
        "log_spectral_product_over_margin": over,
        "log_spectral_product": spectral,
        "frobenius_over_spectral": ratio,
        "log_spectral_sum_over_margin": _per_layer(over, d),
        "log_spectral_sum": _per_layer(spectral, d),
        "log_frobenius_product_over_margin": frobenius_over,
        "log_frobenius_product": frobenius,
        "log_frobenius_sum_over_margin": _per_layer(frobenius_over, d),
        "log_frobenius_sum": _per_layer(frobenius, d),
        "frobenius_distance_sum": moved,
        "spectral_distance_sum": moved_spectral,
        "frobenius_norm_sum": _sum(layer.factor.frobenius**2 for layer in layers),
        "path_norm_over_margin": _path(context, log_margin),
    }


def _log_margin(context: MeasureContext) -> _Quantity:
    try:
        raw = margins(context.logits("train"), context.data.labels("train"))
    except MeasureError as error:
        return error_text(error)
    p10 = summarize(raw)["p10"]
    if p10 > 0:
        return log(p10)
    return f"the 10th percentile of the training margins is {p10:.3g}, not positive"


def _path(context: MeasureContext, log_margin: _Quantity) -> _Quantity:
    try:
        return _exp(_minus(_log(path_norm(context)), log_margin, 1))
    except MeasureError as error:
        return error_text(error)


def _norms_of_change(layer: WeightLayer) -> tuple[float, float] | None:
    """Return ‖W − W₀‖_F and ‖W − W₀‖₂; None if W₀ is not known."""
    if layer.change is None:
        return None
    frobenius = float(torch.linalg.vector_norm(layer.change))
    if isinstance(layer.module, nn.Linear):
        return frobenius, matrix_norm(layer.change)
    changed = copy_with_ties(layer.module, "the layer").to(torch.float64)
    changed.weight = nn.Parameter(layer.change, requires_grad=False)
    return frobenius, convolution_norm(changed, layer.factor.input_shape)


def _ratio(norm: float, spectral: float) -> float:
    return (norm / spectral) ** 2 if spectral else nan


def _log(value: float) -> float:
    return log(value) if value > 0 and isfinite(value) else nan


def _sum(values: Iterator[float]) -> float:
    return float(sum(values))


def _exp(value: _Quantity) -> _Quantity:
    return value if isinstance(value, str) else float(Tensor.exp(torch.tensor(value)))


def _plus(one: _Quantity, other: _Quantity) -> _Quantity:
    if isinstance(one, str):
        return one
    return other if isinstance(other, str) else one + other


def _minus(one: float, other: _Quantity, times: int) -> _Quantity:
    return other if isinstance(other, str) else one - times * other


def _per_layer(logarithm: _Quantity, d: int) -> _Quantity:
    if isinstance(logarithm, str) or not d:
        return logarithm
    return log(d) + logarithm / d
