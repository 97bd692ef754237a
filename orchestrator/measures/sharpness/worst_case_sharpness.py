"""The largest increase of the loss in a ball around the weights, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan

import torch
from torch import Tensor

from orchestrator.data.stratification import stratified_order
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import Examples, displaced_gradient
from orchestrator.measures.sharpness.normalized_logits import NormalizedLogits
from orchestrator.measures.sharpness.projected_ascent import Ascent, projected_ascent
from orchestrator.measures.sharpness.sam_sharpness import ball_text
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.random_streams import stream_seed
from orchestrator.study.measure_options.sharpness import WorstCaseSharpnessOptions


def worst_case_ascent(
    context: MeasureContext, examples: Examples, options: WorstCaseSharpnessOptions
) -> Ascent:
    """Maximize the mean loss of ``examples`` over the ball of ``options``.

    Args:
        context: The network.
        examples: Inputs as in the data set, and labels.
        options: The ball and the number of steps.

    Returns:
        Loss at θ, the largest loss seen, and δ / c there (δ itself in the plain ball).
    """
    theta = context.parameter_vector()
    scale = theta.abs() if options.adaptive else torch.ones_like(theta)
    loss = NormalizedLogits(context.loss) if options.normalize_logits else context.loss

    def objective(unit: Tensor) -> tuple[float, Tensor]:
        found, gradient = displaced_gradient(context, scale * unit, examples, loss=loss)
        return found.loss, scale * gradient

    return projected_ascent(
        objective,
        norm=options.norm,
        radius=options.rho,
        steps=options.steps,
        # Where c is 0 the loss does not change, so no part of the ball should be spent there.
        fallback=context.probe(0, "gaussian") * (scale > 0),
    )


def maximization_batches(
    context: MeasureContext, examples: int, batch_size: int
) -> Iterator[Examples]:
    """Yield training examples in batches of at most ``batch_size``, with sizes equal up to one.

    The batches are the same for every network of a data set and any ``examples_per_pass``. All
    measured training examples are put into a stratified random order, of which the first
    ``examples`` are split into as few batches as possible. Each batch has about the same shares of
    classes as the whole.
    """
    inputs, labels = context.data("train")
    order = stratified_order(labels, stream_seed(0, "maximization_batches"))[:examples]
    for chosen in order.tensor_split(-(-len(order) // batch_size)):
        here = chosen.to(labels.device)
        yield inputs[here], labels[here]


class WorstCaseSharpness(Measure, options=WorstCaseSharpnessOptions):
    """Mean over batches of max L_B(θ + δ) − L_B(θ) over ‖δ / c‖_p ≤ ρ: m-sharpness.

    The maximum is taken separately for each batch of m = ``batch_size`` training examples, and
    the maxima are averaged, weighted by examples (Foret et al., arXiv:2010.01412;
    Andriushchenko et al., arXiv:2302.07011). Larger batches give smaller values, so compare only
    values with equal ``batch_size``. The ball is defined by

    - ``norm``: p = 2 for l2, ∞ for linf;
    - ``adaptive``: c = |θ| for every trainable parameter (Kwon et al., arXiv:2102.11600, with
      η = 0), so that exact zeros stay zero; otherwise c = 1.

    With ``normalize_logits``, the loss is that of (z − z̄) / ‖z − z̄‖₂ (``NormalizedLogits``).

    The search is ``projected_ascent``, from δ = 0 without restarts. The value is therefore a lower
    bound of the defined one, at least 0, and at least ``sam_sharpness`` if a single batch contains
    all examples. The standard error is that of the mean over batches, treated as draws from the
    data, and describes how much the value would differ on other examples. Equal class shares in all
    batches make it too large rather than too small. With the default eight batches, a 95 %
    interval uses the t quantile 2.36. The standard error does not cover the distance of the ascent
    from the maximum, and is undefined for a single batch.

    Invariances: the adaptive variant does not change under rescaling of ReLU layers; with
    normalized logits it does not change with the logit scale either. Duplicated data fill the
    batches differently, and so change the value unless a single batch is used. Lower is flatter.
    Cost: ``steps`` + 1 gradients of the ``examples``.
    """

    version = 2
    entries = (
        CatalogEntry(
            measure="worst_case_sharpness",
            family="flatness",
            symbol="E_B max L_B(θ + δ) − L_B(θ), ‖δ/c‖ ≤ ρ",
            unit="loss",
            direction="lower",
            citation="Foret et al., arXiv:2010.01412; Kwon et al., arXiv:2102.11600; "
            "Andriushchenko et al., arXiv:2302.07011",
            cost="steps + 1 G of at most 1024 examples",
            invariances="layer rescaling (adaptive), logit scale (adaptive, normalized_logits)",
        ),
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: WorstCaseSharpnessOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the value."""
        options = self.options
        increases: list[float] = []
        sizes: list[int] = []
        for batch in maximization_batches(context, options.examples, options.batch_size):
            ascent = worst_case_ascent(context, batch, options)
            increases.append(ascent.value - ascent.start)
            sizes.append(len(batch[1]))
        value, error = weighted_mean(increases, sizes)
        variant = f"{options.norm}, {ball_text(options.rho, options.adaptive)}"
        yield Value(
            "worst_case_sharpness",
            value,
            error,
            variant + (", normalized_logits" if options.normalize_logits else ""),
            n_examples=sum(sizes),
            reason=None if isfinite(value) else "the loss is not finite in the ball",
        )


def weighted_mean(values: list[float], sizes: list[int]) -> tuple[float, float | None]:
    """Return the mean weighted by sizes, and its standard error; None for a single value.

    The variance is divided by the number of values minus one, as for equal weights. If a value is
    not finite, the mean is not finite and the error is NaN.
    """
    count, total = len(values), sum(sizes)
    mean = sum(size * value for size, value in zip(sizes, values, strict=True)) / total
    if count == 1:
        return mean, None
    if not all(map(isfinite, values)):
        return mean, nan
    squares = sum((s * (v - mean) / total) ** 2 for s, v in zip(sizes, values, strict=True))
    return mean, (squares * count / (count - 1)) ** 0.5
