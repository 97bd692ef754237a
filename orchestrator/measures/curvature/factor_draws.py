"""The Gauss-Newton trace estimated from random factors of each example's A_i = ∂²ℓ_i/∂z².

For softmax cross-entropy, with independent ε_c = ±1,

    v = √p ∘ ε − p ⟨√p, ε⟩   has   E v vᵀ = diag(p) − p pᵀ = A ,

so ‖Jᵀ v‖² is an unbiased estimate of tr(Jᵀ A J) from one gradient, without a classes × classes
matrix. A label drawn from p has the same mean. For a confident softmax, however, a class of tiny
probability dominates that mean, and draws that miss this class all agree on a value far too small.
Here every draw includes every class, and its spread is about 0.7 of the mean at every confidence.

For other losses the estimate is ⟨Jᵀ ε, Jᵀ A ε⟩, from two gradients (``paired_squares``).
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.example_gradients import squared_gradient_norms
from orchestrator.measures.curvature.hutchinson import (
    FEWEST_PROBES,
    EstimatedTrace,
    TraceEstimate,
    stated_error,
)
from orchestrator.measures.curvature.loss_hessian import (
    MOST_SQUARES,
    LossHessian,
    paired_squares,
)
from orchestrator.measures.precise_loss import PerExampleLoss, is_cross_entropy
from orchestrator.measures.scaling import unit_of

RELATIVE_ERROR = 0.05
"""Default relative standard error at which measures stop drawing."""

_USUAL_VARIANCE = 0.5  # Variance of one draw of one example, relative to its squared mean.

Draw = Callable[[Tensor, Tensor, Tensor], LossHessian]
"""Function from logits, labels and signs (one per class) to the random squares."""


def softmax_draw(logits: Tensor, signs: Tensor) -> LossHessian:
    """Return one random square per example, with mean diag(p) − ppᵀ.

    The entry of the most likely class is minus the sum of the others, and square roots of
    probabilities are computed from their logarithms. This avoids cancellation and underflow for a
    confident softmax.

    Args:
        logits: Shape ``(n, classes)``.
        signs: ε, independent entries ±1, shape ``(n, classes)``.
    """
    log_p = logits.log_softmax(1)
    roots = (0.5 * log_p).exp() * signs
    others = roots - log_p.exp() * roots.sum(1, keepdim=True)
    likeliest = log_p.argmax(1, keepdim=True)
    others = others.scatter(1, likeliest, 0)
    column = others.scatter(1, likeliest, -others.sum(1, keepdim=True))
    return LossHessian(column[None], None)


def loss_draw(loss: PerExampleLoss) -> Draw:
    """Return the function that draws random squares of the Hessian of ``loss`` in the logits."""
    if is_cross_entropy(loss):
        return lambda logits, labels, signs: softmax_draw(logits, signs)
    return lambda logits, labels, signs: paired_squares(loss, logits, labels, signs)


def drawn_trace(
    context: MeasureContext, draw: Draw, *, draws: int = MOST_SQUARES, relative_error: float = 0.0
) -> EstimatedTrace:
    """Estimate 1/n Σ_i tr(J_iᵀ A_i J_i) from random squares of each A_i.

    The standard error covers the draws for the given examples, based on the spread within each
    example. Two or three draws of one example can agree by chance, so the usual spread counts as
    one additional draw. If a single example dominates the trace, only its draws count: the degrees
    of freedom follow Welch and Satterthwaite. The precision ``relative_error`` is checked after
    16, 32, 64 … draws.

    Args:
        context: The network and its data. Draw number k of an example depends on the probes'
            seed, on k and on the example's position in the split.
        draw: Function that draws the squares of a few examples.
        draws: Maximum number of draws, at least 2.
        relative_error: Stop when the standard error is at most this times the estimate; 0 uses
            all draws.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
        ValueError: If ``draws`` is below 2, too few for a standard error.
    """
    if draws < 2:
        raise ValueError(f"a standard error needs at least 2 draws, got {draws}")
    whole, parts = _Moments(), {name: _Moments() for name in context.parameters}
    next_check = FEWEST_PROBES
    for index in range(draws):
        by_name = squared_gradient_norms(context, _Drawn(context, draw, index))
        whole.add(torch.stack(list(by_name.values())).sum(0))
        for name, values in by_name.items():
            parts[name].add(values)
        if not whole.mean.isfinite().all():
            break
        if index + 1 == next_check and index + 1 < draws:
            next_check *= 2
            found = whole.estimate()
            if found.standard_error <= relative_error * abs(found.value):
                break
    return EstimatedTrace(
        whole.estimate(), {name: moments.estimate() for name, moments in parts.items()}
    )


def drawn_ggn(context: MeasureContext) -> EstimatedTrace:
    """Estimate the Gauss-Newton trace of the training loss from 16 to 256 draws."""
    return context.shared(
        "drawn_ggn",
        lambda: drawn_trace(context, loss_draw(context.loss), relative_error=RELATIVE_ERROR),
    )


def drawn_fisher(context: MeasureContext) -> EstimatedTrace:
    """Estimate the Fisher information trace of the network's softmax from 16 to 256 draws."""
    if is_cross_entropy(context.loss):
        return drawn_ggn(context)
    return context.shared(
        "drawn_fisher",
        lambda: drawn_trace(
            context,
            lambda logits, labels, signs: softmax_draw(logits, signs),
            relative_error=RELATIVE_ERROR,
        ),
    )


class _Drawn:
    """One draw per example, in the order in which ``squared_gradient_norms`` requests them."""

    def __init__(self, context: MeasureContext, draw: Draw, index: int) -> None:
        self.draw = draw
        self.generator = context.generator("factor_draws", index)

    def __call__(self, logits: Tensor, labels: Tensor) -> list[LossHessian]:
        # The generator draws integers one by one, so the result does not depend on pass size.
        bits = torch.randint(0, 2, logits.shape, generator=self.generator)
        signs = (2 * bits - 1).to(logits)
        return [self.draw(logits, labels, signs)]


class _Moments:
    """Per-example means over draws and sums of squared deviations (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.unit = 1.0  # Unit of mean; squares use its square, to avoid underflow.
        self.mean, self.squares = torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Add one more draw, shape ``(n,)``."""
        if not self.count:
            self.unit = unit_of([values.abs().max().item()])
        self.count += 1
        values = values / self.unit
        before = values - self.mean
        self.mean = self.mean + before / self.count
        self.squares = self.squares + before * (values - self.mean)

    def estimate(self) -> TraceEstimate:
        """Return the mean over examples with the standard error due to the draws."""
        value = self.unit * self.mean.mean().item()
        if not self.mean.isfinite().all():
            return TraceEstimate(nan, nan, self.count)
        of_examples = (self.squares + _USUAL_VARIANCE * self.mean.square()) / self.count**2
        variance = of_examples.sum().item()
        error = self.unit * variance**0.5 / len(self.mean)
        if variance == 0:
            return TraceEstimate(value, 0.0, self.count)
        shares = of_examples / variance
        freedom = self.count / shares.square().sum().item()
        return TraceEstimate(value, stated_error(error, freedom), self.count)
