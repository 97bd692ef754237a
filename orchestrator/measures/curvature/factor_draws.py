"""The trace of a Gauss-Newton matrix from random factors of each example's A_i = ∂²ℓ_i/∂z².

For softmax cross-entropy, with independent ε_c = ±1,

    v = √p ∘ ε − p ⟨√p, ε⟩   has   E v vᵀ = diag(p) − p pᵀ = A ,

so that ‖Jᵀ v‖² is unbiased for tr(Jᵀ A J), from one gradient and without a matrix of classes ×
classes. A label drawn from p has the same mean, but where softmax is confident a class of tiny
probability carries it, and draws that miss that class all agree on a value far too small. Here
every draw has a part in every class: its spread is about 0.7 of the mean at every confidence.

Other losses get ⟨Jᵀ ε, Jᵀ A ε⟩ from two gradients (``paired_squares``).
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
"""Standard error, relative to the estimate, at which measures stop drawing by default."""

_USUAL_VARIANCE = 0.5  # of one draw of one example, relative to the square of its mean

Draw = Callable[[Tensor, Tensor, Tensor], LossHessian]
"""From logits, labels and signs, one of each for every class, to the random squares."""


def softmax_draw(logits: Tensor, signs: Tensor) -> LossHessian:
    """One random square for each example with diag(p) − ppᵀ as its mean.

    The entry of the likeliest class is minus the sum of the others, and square roots of
    probabilities are those of their logarithms, so that nothing cancels or vanishes where softmax
    is confident.

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
    """How random squares of the Hessian of ``loss`` in the logits are drawn."""
    if is_cross_entropy(loss):
        return lambda logits, labels, signs: softmax_draw(logits, signs)
    return lambda logits, labels, signs: paired_squares(loss, logits, labels, signs)


def drawn_trace(
    context: MeasureContext, draw: Draw, *, draws: int = MOST_SQUARES, relative_error: float = 0.0
) -> EstimatedTrace:
    """Estimate 1/n Σ_i tr(J_iᵀ A_i J_i) from random squares of each A_i.

    The standard error is that of the draws for these very examples, from the spread within each
    of them; as two or three draws of one example can agree by chance, the usual spread counts as
    one draw more. Where a single example carries the trace, only the draws of that one count: the
    degrees of freedom are those of Welch and Satterthwaite. Drawing stops after 16, 32, 64 …
    draws at ``relative_error``.

    Args:
        context: The network and its data. Draw number k of an example depends on the probes'
            seed, on k and on the example's place in the split.
        draw: How the squares of a few examples are drawn.
        draws: Most draws, at least 2.
        relative_error: Stop at a standard error of this times the estimate; 0 makes all draws.

    Raises:
        MeasureError: As ``squared_gradient_norms``.
        ValueError: If ``draws`` is below 2, which has no standard error.
    """
    if draws < 2:
        raise ValueError(f"a standard error needs at least 2 draws, got {draws}")
    whole, parts = _Moments(), {name: _Moments() for name in context.parameters}
    look = FEWEST_PROBES
    for index in range(draws):
        by_name = squared_gradient_norms(context, _Drawn(context, draw, index))
        whole.add(torch.stack(list(by_name.values())).sum(0))
        for name, values in by_name.items():
            parts[name].add(values)
        if not whole.mean.isfinite().all():
            break
        if index + 1 == look and index + 1 < draws:
            look *= 2
            found = whole.estimate()
            if found.standard_error <= relative_error * abs(found.value):
                break
    return EstimatedTrace(
        whole.estimate(), {name: moments.estimate() for name, moments in parts.items()}
    )


def drawn_ggn(context: MeasureContext) -> EstimatedTrace:
    """The trace of the Gauss-Newton matrix of the training loss, from 16 to 256 draws."""
    return context.shared(
        "drawn_ggn",
        lambda: drawn_trace(context, loss_draw(context.loss), relative_error=RELATIVE_ERROR),
    )


def drawn_fisher(context: MeasureContext) -> EstimatedTrace:
    """The trace of the Fisher information of the network's softmax, from 16 to 256 draws."""
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
    """One draw for every example, as ``squared_gradient_norms`` asks for them: in their order."""

    def __init__(self, context: MeasureContext, draw: Draw, index: int) -> None:
        self.draw = draw
        self.generator = context.generator("factor_draws", index)

    def __call__(self, logits: Tensor, labels: Tensor) -> list[LossHessian]:
        # Integers come one by one from the generator, so passes of any size get the same.
        bits = torch.randint(0, 2, logits.shape, generator=self.generator)
        signs = (2 * bits - 1).to(logits)
        return [self.draw(logits, labels, signs)]


class _Moments:
    """Means over draws and squared deviations from them, one for each example (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.unit = 1.0  # of mean; that of squares is its square, so that they don't underflow
        self.mean, self.squares = torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Count one more draw in, shape ``(n,)``."""
        if not self.count:
            self.unit = unit_of([values.abs().max().item()])
        self.count += 1
        values = values / self.unit
        before = values - self.mean
        self.mean = self.mean + before / self.count
        self.squares = self.squares + before * (values - self.mean)

    def estimate(self) -> TraceEstimate:
        """The mean over examples with the error that the draws leave."""
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
