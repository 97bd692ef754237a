"""The classifier as it looks to first order from an input: gradients, nearest boundaries."""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.ball import Norm, dual_lengths

GRADIENT_NUMBERS = 2**24
"""Most numbers in the gradients of all classes that are kept together."""


class Boundaries:
    """The boundaries of the linearized classifier between the label and each other class.

    The gradients of all logits are kept if they are at most ``GRADIENT_NUMBERS`` numbers;
    otherwise one class at a time is looked at, for one more backward pass and another for each
    call of :meth:`slope`, and memory does not grow with classes × input size.

    Args:
        context: The network; in eval mode each example's logits are its own.
        x: Inputs of one pass, shape ``(n, *input_shape)``.
        labels: Shape ``(n,)``.
        norm: Of the distances.

    Attributes:
        logits: Shape ``(n, classes)``, detached.
        distances: (z_y − z_j) / ‖∇_x (z_y − z_j)‖_*, shape ``(n, classes)``; infinity for j = y
            and where the gradient is zero but the logits differ, 0 where they are equal.
        steepness: ‖∇_x (z_j − z_y)‖_*, shape ``(n, classes)``.
    """

    def __init__(self, context: MeasureContext, x: Tensor, labels: Tensor, norm: Norm) -> None:
        with torch.enable_grad():
            self._x = x.detach().requires_grad_()
            self._outputs = context.forward(self._x)
        self._labels = labels
        self.logits = self._outputs.detach()
        classes = self.logits.shape[1]
        self._slopes: Tensor | None = None
        if classes * x.numel() <= GRADIENT_NUMBERS:
            columns = [self._gradient(self._outputs[:, j]) for j in range(classes)]
            gradients = torch.stack(columns, dim=1)
            own = labels[:, None, None].expand(-1, 1, gradients.shape[2])
            self._slopes = gradients - gradients.gather(1, own)
            self.steepness = dual_lengths(self._slopes, norm)
        else:
            own = self._gradient(self._of(labels))
            self.steepness = torch.stack(
                [
                    dual_lengths(self._gradient(self._outputs[:, j]) - own, norm)
                    for j in range(classes)
                ],
                dim=1,
            ).scatter(1, labels[:, None], 0)
        gaps = self.logits.gather(1, labels[:, None]) - self.logits
        # 0 / 0 lies on the boundary; anything else over 0 is infinitely far from it.
        distances = torch.where(gaps == 0, torch.zeros_like(gaps), gaps / self.steepness)
        self.distances = distances.scatter(1, labels[:, None], torch.inf)

    def slope(self, classes: Tensor) -> Tensor:
        """∇_x (z_j − z_y) for one class j of each example, flat: ``(n, input_size)``."""
        if self._slopes is not None:
            return self._slopes[torch.arange(len(classes), device=classes.device), classes]
        return self._gradient(self._of(classes)) - self._gradient(self._of(self._labels))

    def _of(self, classes: Tensor) -> Tensor:
        return self._outputs.gather(1, classes[:, None])[:, 0]

    def _gradient(self, output: Tensor) -> Tensor:
        """Of one number of each example, flat: ``(n, input_size)``."""
        with torch.enable_grad():
            (found,) = torch.autograd.grad(
                output.sum(), self._x, retain_graph=True, materialize_grads=True
            )
        return found.flatten(1)


def nearest_class(context: MeasureContext, x: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """The other class whose boundary is nearest to first order, shape ``(n,)``, of one pass.

    Of classes that are equally near up to rounding it is the one with the largest logit: where a
    single unit is on, all of them are, and rounding must not choose. Where all are infinitely far
    it is that one, too.
    """
    found = Boundaries(context, x, labels, norm)
    logits, distances = found.logits, found.distances
    if logits.shape[1] == 1:
        return labels
    nearest = distances.amin(dim=1, keepdim=True)
    rounding = torch.finfo(distances.dtype).eps ** 0.5 * nearest.abs()
    others = logits.masked_fill(distances > nearest + rounding, -torch.inf)
    return others.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
