"""The loss along random filter-normalized directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isfinite, nan

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Curve, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import displaced
from orchestrator.study.measure_options.sharpness import LossSliceOptions

_R = "layer rescaling"
_SUMMARY: tuple[tuple[str, str, str, Direction, str, str], ...] = (
    ("loss_slice", "L(θ + x d₁ + y d₂)", "loss", "neutral", "points F", _R),
    (
        "error_slice",
        "err(θ + x d₁ + y d₂)",
        "1",
        "neutral",
        "points F",
        "layer rescaling, logit scale (no bias in the last layer)",
    ),
    ("loss_slice_width", "|t|: L(θ + t d) = 2 L(θ)", "1", "higher", "20 F for each half-axis", _R),
)
_WIDTH_TOLERANCE = 1e-3
_LEAST_WIDTH = 1e-12  # Relative to the extent: bisection ends here if every step exceeds 2 L(θ).


def filter_normalized_direction(context: MeasureContext, index: int) -> Tensor:
    """Return random direction number ``index``, each filter as long as the network's own.

    The entries are independent Gaussians. Each slice of a weight along its first axis (the
    incoming weights of one unit of a linear layer or one channel of a convolution) is scaled to
    the Euclidean norm of the same slice of θ. Parameters with fewer than two axes (biases,
    scales and shifts of normalizations) do not move (Li et al., arXiv:1712.09913, section 4).

    The Gaussian numbers are the same for every checkpoint of a trial.

    Returns:
        Flat vector of length ``n_parameters``.
    """
    parts = []
    moves = context.unflatten(context.probe(index, "gaussian"))
    for parameter, move in zip(context.parameters.values(), moves, strict=True):
        if parameter.ndim < 2:
            parts.append(torch.zeros_like(move))
            continue
        own, drawn = (
            torch.linalg.vector_norm(tensor.detach().flatten(1), dim=1)
            for tensor in (parameter, move)
        )
        parts.append(move * (own / drawn).view(-1, *[1] * (move.ndim - 1)))
    return context.flatten(parts)


def slice_width(context: MeasureContext, direction: Tensor, ts: Sequence[float]) -> float:
    """Return the smallest t > 0 at which L(θ + t d) reaches 2 L(θ), to 0.1 %.

    Args:
        context: The network and its data.
        direction: d, flat.
        ts: Increasing positive distances to check; the interval that ends with the first one to
            reach 2 L(θ) is then bisected.

    Returns:
        The distance; infinite if none of ``ts`` reaches 2 L(θ).
    """
    goal = 2 * context.loss_value("train")
    low = 0.0
    for high in ts:
        # Not >=: a NaN loss counts as having reached the goal.
        if not context.loss_at(high * direction) < goal:
            break
        low = high
    else:
        return inf
    while high - low > _WIDTH_TOLERANCE * high and high > _LEAST_WIDTH * ts[-1]:
        middle = (low + high) / 2
        if context.loss_at(middle * direction) < goal:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class LossSlice(Measure, options=LossSliceOptions):
    """L(θ + x d₁) or L(θ + x d₁ + y d₂) on a grid, and the width of the valley.

    - curves ``loss_slice`` and ``error_slice``: loss and error (share of misclassified
      examples) of the training examples at ``points`` values of x, evenly spaced from
      −``extent`` to ``extent``; with two ``dimensions``, at all pairs (x, y), with x varying
      faster.
    - ``loss_slice_width``: the distance from θ at which the loss has doubled, the mean over
      the two half-axes (four with two dimensions). A half-axis along which it does not double
      within ``extent`` counts as ``extent``, and the value is marked ``censored``.

    The directions are those of ``filter_normalized_direction``, the same for every checkpoint of
    a trial. They are a sample of one (or two): other directions have other widths, and no error is
    given for this. If the loss at θ is not positive, the width is undefined.

    Invariances: the slices do not change under rescaling of ReLU layers by one factor per layer;
    they change with the logit scale. A larger width is flatter. Cost: ``points`` forward passes
    (their square with two dimensions), and about 20 per half-axis.
    """

    version = 2
    entries = tuple(
        CatalogEntry(
            name,
            "flatness",
            symbol,
            unit,
            direction,
            "Li et al., arXiv:1712.09913",
            cost,
            invariances,
        )
        for name, symbol, unit, direction, cost, invariances in _SUMMARY
    )

    curves = "always"

    def __init__(self, options: LossSliceOptions) -> None:
        if options.points < 2:
            raise MeasureError(f"loss_slice: points is {options.points}, expected at least 2")
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the two curves and the width."""
        two = self.options.dimensions == 2
        directions = [filter_normalized_direction(context, index) for index in range(1 + two)]
        variant = f"dimensions={self.options.dimensions}"
        axis = torch.linspace(-1, 1, self.options.points, dtype=torch.float64)
        axis *= self.options.extent
        points = torch.cartesian_prod(*[axis] * len(directions)).view(-1, len(directions)).flip(1)
        found = [
            displaced(context, torch.stack(directions).T @ point.to(directions[0]))
            for point in points
        ]
        x = points[:, 0].tolist()
        y = points[:, 1].tolist() if two else None
        losses, errors = [at.loss for at in found], [at.error for at in found]
        for name, values in (("loss_slice", losses), ("error_slice", errors)):
            reason = None if all(map(isfinite, values)) else "not finite at some of the points"
            yield Curve(name, x, values, y, variant=variant, reason=reason)
        yield self._width(context, directions, variant)

    def _width(self, context: MeasureContext, directions: list[Tensor], variant: str) -> Value:
        loss, extent = context.loss_value("train"), self.options.extent
        if not 0 < loss < inf:
            reason = f"a loss of {loss:g} cannot double"
            return Value("loss_slice_width", nan, None, variant, reason=reason)
        steps = self.options.points // 2
        ts = [extent * (step + 1) / steps for step in range(steps)]
        widths = [
            slice_width(context, sign * direction, ts)
            for direction in directions
            for sign in (1, -1)
        ]
        censored = widths.count(inf)
        value = sum(min(width, extent) for width in widths) / len(widths)
        reason = f"censored: not doubled within {extent:g} on {censored} of {len(widths)} half-axes"
        return Value("loss_slice_width", value, None, variant, reason=reason if censored else None)
