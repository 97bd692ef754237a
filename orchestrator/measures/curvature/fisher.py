"""Traces of the Fisher information, of its empirical namesake, and of the gradients' noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import isfinite, nan
from sys import float_info

import torch
from torch import Tensor

from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import ExactTrace
from orchestrator.measures.curvature.example_gradients import squared_gradient_norms
from orchestrator.measures.curvature.factor_draws import drawn_fisher
from orchestrator.measures.curvature.ggn_trace import exact_ggn_trace
from orchestrator.measures.curvature.loss_hessian import (
    MOST_SQUARES,
    LossHessian,
    softmax_squares,
)
from orchestrator.measures.precise_loss import PerExampleLoss, is_cross_entropy
from orchestrator.measures.scaling import norm
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.curvature import FisherOptions


def fisher_trace(context: MeasureContext) -> ExactTrace:
    """Trace of the Fisher information, 1/n Σ_i Σ_c p_ic ‖∇_θ log p_ic‖², and its parts.

    With p_i the softmax of example i's logits and J_i their Jacobian it is
    1/n Σ_i tr(J_iᵀ (diag(p_i) − p_i p_iᵀ) J_i): the trace of the Gauss-Newton matrix of
    cross-entropy. It needs no labels and no proof, and is exact. A network trained by
    cross-entropy shares it with ``ggn_trace``, and with ``hessian_trace`` where that is exact.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
    """

    def compute() -> ExactTrace:
        if is_cross_entropy(context.loss):
            return exact_ggn_trace(context)
        return ExactTrace.of(squared_gradient_norms(context, lambda z, y: softmax_squares(z)))

    return context.shared("fisher_trace", compute)


def empirical_fisher_trace(context: MeasureContext) -> ExactTrace:
    """1/n Σ_i ‖∇_θ ℓ_i‖² and its parts, with ℓ_i the training loss of example i.

    ``per_example`` has the squared norm of the gradient of each example's loss.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
    """

    def compute() -> ExactTrace:
        columns = partial(_loss_gradient, context.loss)
        return ExactTrace.of(squared_gradient_norms(context, columns))

    return context.shared("empirical_fisher_trace", compute)


def gradient_noise(context: MeasureContext) -> float:
    """1/n Σ_i ‖g_i − ḡ‖²: the trace of the covariance of the gradients of single examples.

    It is computed as 1/n Σ_i ‖g_i‖² − ‖ḡ‖². Differences within rounding of 0 are 0, as for a
    single example.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
    """
    mean_square = empirical_fisher_trace(context).total
    difference = mean_square - _squared_mean_gradient(context)
    rounding = 100 * torch.finfo(context.dtype).eps * mean_square
    return 0.0 if abs(difference) <= rounding else difference


class Fisher(Measure, options=FisherOptions):
    """tr F, the empirical tr F, and the noise of the gradients with its scale.

    - ``fisher_trace``: E_x Σ_c p_c ‖∇ log p_c‖² with classes drawn from the network's own
      softmax, whatever loss it was trained with. For cross-entropy it is the trace of the
      Gauss-Newton matrix, and equals tr ∇²L for piecewise linear networks only.
    - ``empirical_fisher_trace``: mean ‖g_i‖² with the true labels and the training loss. It is
      no estimate of the former (Kunstner et al., arXiv:1905.12558): it vanishes with the loss.
    - ``gradient_noise``: mean ‖g_i‖² − ‖ḡ‖², the trace of the covariance of g_i over the
      training examples, divided by n.
    - ``gradient_noise_scale``: gradient_noise / ‖ḡ‖², in examples, the simple noise scale:
      batches much larger than it barely improve the direction of a step. It is the ratio for
      this very training set, without correction for its finite size, and grows without bound
      towards a stationary point.

    With more than 257 classes the first is estimated, with a standard error, from random factors
    (``factor_draws``): the variant ``sampled_factors``. Otherwise all are exact for every network
    whose logits belong to one example each: linear layers,
    convolutions and batch normalizations never form a gradient of a single example; parameters
    of other kinds fall back to ``torch.func.vmap`` of the gradient, within the memory of one
    pass, or to one example after the other (``example_gradients``).

    Invariances: none under rescaling of layers or scaling of logits. Lower traces are flatter; of
    the noise neither is better. Cost: one gradient for the last three and classes − 1 for the
    first (16 to 256 with more than 257 classes), which is free where ``hessian_trace`` is exact.
    """

    needs = frozenset({"gradient_graph"})
    requires = PARAMETER_GRADIENTS
    version = 3
    entries = (
        CatalogEntry(
            measure="fisher_trace",
            family="flatness",
            symbol="E_x Σ_c p_c ‖∇ log p_c‖²",
            unit="loss / weight²",
            direction="lower",
            citation="Martens, arXiv:1412.1193",
            cost="classes − 1 G, or 16 to 256; shared with an exact hessian_trace",
        ),
        CatalogEntry(
            measure="empirical_fisher_trace",
            family="flatness",
            symbol="E_i ‖g_i‖²",
            unit="loss² / weight²",
            direction="lower",
            citation="Kunstner, Balles, Hennig, arXiv:1905.12558",
            cost="1 G",
        ),
        CatalogEntry(
            measure="gradient_noise",
            family="flatness",
            symbol="E_i ‖g_i − ḡ‖²",
            unit="loss² / weight²",
            direction="neutral",
            citation="McCandlish et al., arXiv:1812.06162",
            cost="2 G, shared",
        ),
        CatalogEntry(
            measure="gradient_noise_scale",
            family="flatness",
            symbol="E_i ‖g_i − ḡ‖² / ‖ḡ‖²",
            unit="examples",
            direction="neutral",
            citation="McCandlish et al., arXiv:1812.06162",
            cost="2 G, shared",
        ),
    )

    def __init__(self, options: FisherOptions) -> None:
        del options  # it has none

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the four values, of the training split.

        Raises:
            MeasureError: If logits of one example depend on others.
        """
        if context.classes - 1 <= MOST_SQUARES:
            yield _value("fisher_trace", fisher_trace(context).total)
        else:
            found = drawn_fisher(context).total
            yield replace(
                _value("fisher_trace", found.value),
                standard_error=found.standard_error,
                variant="sampled_factors",
            )
        yield from _of_gradients(context)


def _of_gradients(context: MeasureContext) -> Iterator[Value]:
    """The values from squares of gradients, unless these squares are below the least float64."""
    mean_square, square = empirical_fisher_trace(context).total, _squared_mean_gradient(context)
    length = norm(context.gradient("train"))
    if length > 0 and min(mean_square, length**2) < float_info.min:
        reason = f"the mean gradient has the length {length:.3g}, whose square is no float64"
        for name in ("empirical_fisher_trace", "gradient_noise", "gradient_noise_scale"):
            yield Value(name, nan, reason=reason)
        return
    noise = gradient_noise(context)
    yield _value("empirical_fisher_trace", mean_square)
    yield _value("gradient_noise", noise)
    if square == 0:
        reason = "the mean gradient is zero, so that no scale compares with its noise"
        yield Value("gradient_noise_scale", nan, reason=reason)
    else:
        yield _value("gradient_noise_scale", noise / square)


def _value(name: str, value: float) -> Value:
    finite = isfinite(value)
    return Value(
        name, value, reason=None if finite else "gradients are not finite at these weights"
    )


def _squared_mean_gradient(context: MeasureContext) -> float:
    return float(context.gradient("train").to(torch.float64).square().sum())


def _loss_gradient(loss: PerExampleLoss, logits: Tensor, labels: Tensor) -> list[LossHessian]:
    """∂ℓ_i/∂z as the one column of each example."""
    logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.per_example(logits, labels).sum()
        (gradient,) = torch.autograd.grad(total, logits)
    return [LossHessian(gradient[None], None)]
