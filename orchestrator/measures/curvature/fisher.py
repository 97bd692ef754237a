"""Traces of the Fisher information, the empirical Fisher and the gradient noise."""

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
    """Return the Fisher information trace, 1/n Σ_i Σ_c p_ic ‖∇_θ log p_ic‖², and its parts.

    With p_i the softmax of example i's logits and J_i their Jacobian, it is
    1/n Σ_i tr(J_iᵀ (diag(p_i) − p_i p_iᵀ) J_i), the trace of the Gauss-Newton matrix of
    cross-entropy. It is exact and needs neither labels nor a proof. For a network trained with
    cross-entropy it is shared with ``ggn_trace``, and with ``hessian_trace`` if that is exact.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
    """

    def compute() -> ExactTrace:
        if is_cross_entropy(context.loss):
            return exact_ggn_trace(context)
        return ExactTrace.of(squared_gradient_norms(context, lambda z, y: softmax_squares(z)))

    return context.shared("fisher_trace", compute)


def empirical_fisher_trace(context: MeasureContext) -> ExactTrace:
    """Return 1/n Σ_i ‖∇_θ ℓ_i‖² and its parts, with ℓ_i the training loss of example i.

    ``per_example`` contains the squared gradient norm of each example's loss.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
    """

    def compute() -> ExactTrace:
        columns = partial(_loss_gradient, context.loss)
        return ExactTrace.of(squared_gradient_norms(context, columns))

    return context.shared("empirical_fisher_trace", compute)


def gradient_noise(context: MeasureContext) -> float:
    """Return 1/n Σ_i ‖g_i − ḡ‖², the trace of the covariance of per-example gradients.

    It is computed as 1/n Σ_i ‖g_i‖² − ‖ḡ‖². Differences within rounding of 0, as for a single
    example, are set to 0.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
    """
    mean_square = empirical_fisher_trace(context).total
    difference = mean_square - _squared_mean_gradient(context)
    rounding = 100 * torch.finfo(context.dtype).eps * mean_square
    return 0.0 if abs(difference) <= rounding else difference


class Fisher(Measure, options=FisherOptions):
    """tr F, the empirical tr F, the gradient noise and the gradient noise scale.

    - ``fisher_trace``: E_x Σ_c p_c ‖∇ log p_c‖² with classes drawn from the network's own
      softmax, for any training loss. For cross-entropy it is the trace of the Gauss-Newton
      matrix; it equals tr ∇²L for piecewise linear networks only.
    - ``empirical_fisher_trace``: mean ‖g_i‖² with the true labels and the training loss. It does
      not estimate ``fisher_trace`` (Kunstner et al., arXiv:1905.12558), as it vanishes with the
      loss.
    - ``gradient_noise``: mean ‖g_i‖² − ‖ḡ‖², the trace of the covariance of g_i over the
      training examples, divided by n.
    - ``gradient_noise_scale``: gradient_noise / ‖ḡ‖², the simple noise scale, in examples.
      Batches much larger than this barely improve the direction of a step. It is the ratio for
      the given training set, without correction for its finite size, and grows without bound
      towards a stationary point.

    With more than 257 classes, ``fisher_trace`` is estimated from random factors
    (``factor_draws``), with a standard error: variant ``sampled_factors``. Otherwise all values
    are exact for every network whose logits each depend on one example. Linear layers,
    convolutions and batch normalizations never form a per-example gradient. Other parameters
    use ``torch.func.vmap`` of the gradient, within the memory of one pass, or process one example
    at a time (``example_gradients``).

    Invariances: none under rescaling of layers or scaling of logits. Lower traces are flatter;
    the direction of the noise is neutral. Cost: one gradient for the last three values, and
    classes − 1 for the first (16 to 256 with more than 257 classes), which is free if
    ``hessian_trace`` is exact.
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
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the four values on the training split.

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
    """Yield the values from squared gradients, unless these squares underflow in float64."""
    mean_square, square = empirical_fisher_trace(context).total, _squared_mean_gradient(context)
    length = norm(context.gradient("train"))
    if length > 0 and min(mean_square, length**2) < float_info.min:
        reason = f"the mean gradient has length {length:.3g}, whose square underflows in float64"
        for name in ("empirical_fisher_trace", "gradient_noise", "gradient_noise_scale"):
            yield Value(name, nan, reason=reason)
        return
    noise = gradient_noise(context)
    yield _value("empirical_fisher_trace", mean_square)
    yield _value("gradient_noise", noise)
    if square == 0:
        reason = "the mean gradient is zero, so the noise scale is undefined"
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
    """Return ∂ℓ_i/∂z as the only column of each example."""
    logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.per_example(logits, labels).sum()
        (gradient,) = torch.autograd.grad(total, logits)
    return [LossHessian(gradient[None], None)]
