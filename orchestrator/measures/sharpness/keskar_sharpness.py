"""The largest loss in a box around the weights, relative to the loss."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.sharpness.displaced import displaced_gradient
from orchestrator.measures.sharpness.projected_ascent import Ascent, projected_ascent
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.sharpness import KeskarSharpnessOptions


def box_ascent(
    context: MeasureContext, epsilon: float, steps: int, basis: Tensor | None = None
) -> Ascent:
    """Maximize the training loss over θ + A y, |y_i| ≤ ε (|(A⁺θ)_i| + 1).

    Args:
        context: The network and its data.
        epsilon: ε.
        steps: Steps of the ascent.
        basis: A, shape (parameters, dimensions), with independent columns; None for the identity.

    Returns:
        Loss at θ, the largest loss seen, and y / (ε (|A⁺θ| + 1)) there.
    """
    center = context.parameter_vector()
    if basis is not None:
        center = torch.linalg.lstsq(basis, center[:, None]).solution[:, 0]
    half_widths = epsilon * (center.abs() + 1)

    def objective(unit: Tensor) -> tuple[float, Tensor]:
        y = half_widths * unit
        found, gradient = displaced_gradient(context, y if basis is None else basis @ y)
        return found.loss, half_widths * (gradient if basis is None else basis.T @ gradient)

    fallback = context.probe(0, "gaussian")[: len(center)]
    return projected_ascent(objective, norm="linf", radius=1.0, steps=steps, fallback=fallback)


class KeskarSharpness(Measure, options=KeskarSharpnessOptions):
    """100 · (max L(θ + A y) − L(θ)) / (1 + L(θ)), |y_i| ≤ ε (|(A⁺θ)_i| + 1).

    Metric 2.1 of Keskar et al., arXiv:1609.04836, for each ε. By default it uses the full space
    (A is the identity). With ``subspace`` it uses random subspaces of that dimension (100 in the
    paper), where A has independent standard normal entries, a choice that the paper leaves open.
    The value is then the mean over ``draws`` of A, the same for every ε and checkpoint, with the
    standard error over these draws.

    The paper maximizes with a few iterations of L-BFGS-B. Here, projected gradient ascent on all
    measured training examples (``projected_ascent``) gives a lower bound of the maximum. It is no
    less accurate in boxes this small, where the loss is almost linear.

    Invariances: none under rescaling of layers, because of the 1 in the box, nor with the logit
    scale. Lower is flatter. Cost: ``steps`` + 1 gradients per ε and draw; a subspace needs memory
    for ``subspace`` × parameters numbers.
    """

    version = 3
    entries = (
        CatalogEntry(
            measure="keskar_sharpness",
            family="flatness",
            symbol="100 (max L(θ + Ay) − L)/(1 + L), |y| ≤ ε(|A⁺θ| + 1)",
            unit="%",
            direction="lower",
            citation="Keskar et al., arXiv:1609.04836, metric 2.1",
            cost="steps + 1 G for each epsilon and draw",
        ),
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: KeskarSharpnessOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield one value per ε."""
        epsilons = tuple(dict.fromkeys(self.options.epsilons))
        subspace = self.options.subspace
        draws = range(1 if subspace is None else self.options.draws)
        found: dict[float, list[float]] = {epsilon: [] for epsilon in epsilons}
        for draw in draws:
            basis = None if subspace is None else _random_basis(context, subspace, draw)
            for epsilon in epsilons:
                ascent = box_ascent(context, epsilon, self.options.steps, basis)
                found[epsilon].append(100 * (ascent.value - ascent.start) / (1 + ascent.start))
        for epsilon, values in found.items():
            mean = sum(values) / len(values)
            finite = len(values) > 1 and isfinite(mean)
            error = standard_error(values) if finite else None
            variant = f"epsilon={epsilon!r}"
            if subspace is not None:
                variant += f", subspace={subspace}"
            reason = None if isfinite(mean) else "the loss is not finite in the box"
            yield Value("keskar_sharpness", mean, error, variant, reason=reason)


def _random_basis(context: MeasureContext, dimensions: int, draw: int) -> Tensor:
    """Return the matrix A of a draw, shape (parameters, dimensions)."""
    if dimensions > context.n_parameters:
        raise MeasureError(
            f"keskar_sharpness: subspace has {dimensions} dimensions, but the network has "
            f"{context.n_parameters:,} parameters; expected at most that many"
        )
    first = draw * dimensions
    columns = [context.probe(first + number, "gaussian") for number in range(dimensions)]
    return torch.stack(columns, dim=1)
