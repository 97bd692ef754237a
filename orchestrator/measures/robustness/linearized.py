"""The classifier linearized at an input: gradients and nearest boundaries."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.ball import Norm, dual_lengths, lengths
from orchestrator.measures.rounding import FAR, UNSTEADY, set_by_rounding, shaken, unresolved

GRADIENT_NUMBERS = 2**24
"""Maximum size of the gradients of all classes for which they are kept together, in numbers."""


class Boundaries:
    """The boundaries of the linearized classifier between the label and each other class.

    The gradients of all logits are kept if they are at most ``GRADIENT_NUMBERS`` numbers.
    Otherwise classes are processed one at a time, so that memory does not grow with
    classes × input size. This takes one more backward pass, and another per call of :meth:`slope`.

    Gradients that are only rounding count as zero (:mod:`orchestrator.measures.rounding`).

    Args:
        context: The network; in eval mode an example's logits depend on that example alone.
        x: Inputs of one pass, shape ``(n, *input_shape)``.
        labels: Shape ``(n,)``.
        norm: Norm of the distances.

    Attributes:
        logits: Shape ``(n, classes)``, detached.
        distances: (z_y − z_j) / ‖∇_x (z_y − z_j)‖_*, shape ``(n, classes)``; infinity for j = y
            and where the gradient is zero but the logits differ, 0 where the logits are equal. NaN
            where rounding determines the logits.
        steepness: ‖∇_x (z_j − z_y)‖_*, shape ``(n, classes)``.
    """

    def __init__(self, context: MeasureContext, x: Tensor, labels: Tensor, norm: Norm) -> None:
        self._pass = _Pass(context, x)
        self._labels = labels
        self.logits = self._pass.outputs.detach()
        classes = self.logits.shape[1]
        self._slopes: Tensor | None = None
        if classes * x.numel() <= GRADIENT_NUMBERS:
            self._slopes = torch.stack(list(self._pass.slopes(labels)), dim=1)
            self.steepness = dual_lengths(self._slopes, norm)
        else:
            columns = [dual_lengths(slope, norm) for slope in self._pass.slopes(labels)]
            self.steepness = torch.stack(columns, dim=1).scatter(1, labels[:, None], 0)
        gaps = self.logits.gather(1, labels[:, None]) - self.logits
        self._flatten_rounding(context, x, gaps, norm)
        # 0 / 0 lies on the boundary; anything else over 0 is infinitely far from it.
        distances = torch.where(gaps == 0, torch.zeros_like(gaps), gaps / self.steepness)
        distances[set_by_rounding(context, x, self.logits)] = torch.nan
        self.distances = distances.scatter(1, labels[:, None], torch.inf)

    def slope(self, classes: Tensor) -> Tensor:
        """Return ∇_x (z_j − z_y) for one class j per example, flat: ``(n, input_size)``."""
        if self._slopes is not None:
            return self._slopes[torch.arange(len(classes), device=classes.device), classes]
        of_classes, of_labels = (self._pass.gradient(one) for one in (classes, self._labels))
        return of_classes - of_labels

    def _flatten_rounding(
        self, context: MeasureContext, x: Tensor, gaps: Tensor, norm: Norm
    ) -> None:
        """Set the steepness to zero where it is only rounding."""
        reach = lengths(x, norm).max()
        self.steepness[unresolved(self.steepness, reach, self.logits)] = 0
        far = (gaps.abs() > FAR * reach * self.steepness) & (reach > 0)
        rows = (far & (self.steepness > 0)).any(dim=1).nonzero()[:, 0]
        if not len(rows):
            return
        labels = self._labels[rows]
        pairs = zip(
            _Pass(context, x[rows]).slopes(labels),
            _Pass(context, shaken(x[rows])).slopes(labels),
            strict=True,
        )
        changes = torch.stack([dual_lengths(one - other, norm) for one, other in pairs], dim=1)
        noise = far[rows] & (changes > UNSTEADY * self.steepness[rows])
        self.steepness[rows] = self.steepness[rows].masked_fill(noise, 0)


class _Pass:
    """A forward pass, and the gradients of its logits with respect to its inputs."""

    def __init__(self, context: MeasureContext, x: Tensor) -> None:
        with torch.enable_grad():
            self._x = x.detach().requires_grad_()
            self.outputs = context.forward(self._x)

    def slopes(self, labels: Tensor) -> Iterator[Tensor]:
        """Yield ∇_x (z_j − z_y) for each class j in turn, flat: ``(n, input_size)``."""
        own = self.gradient(labels)
        for j in range(self.outputs.shape[1]):
            slope = self.gradient(torch.full_like(labels, j)) - own
            slope[labels == j] = 0
            yield slope

    def gradient(self, classes: Tensor) -> Tensor:
        """Return the gradient of the logit of one class per example, flat: ``(n, input_size)``."""
        with torch.enable_grad():
            output = self.outputs.gather(1, classes[:, None])
            (found,) = torch.autograd.grad(
                output.sum(), self._x, retain_graph=True, materialize_grads=True
            )
        return found.flatten(1)


def nearest_class(context: MeasureContext, x: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """Return the other class whose boundary is nearest to first order, shape ``(n,)``, for a pass.

    Among classes that are equally near up to rounding, it is the one with the largest logit. If a
    single unit is active, all classes are equally near, and rounding must not choose among them.
    The class with the largest logit is also chosen if all boundaries are infinitely far.
    """
    found = Boundaries(context, x, labels, norm)
    logits, distances = found.logits, found.distances
    if logits.shape[1] == 1:
        return labels
    nearest = distances.amin(dim=1, keepdim=True)
    rounding = torch.finfo(distances.dtype).eps ** 0.5 * nearest.abs()
    others = logits.masked_fill(distances > nearest + rounding, -torch.inf)
    return others.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
