"""The classifier as it looks to first order from an input: gradients, nearest boundaries."""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.ball import Norm, dual_lengths


def class_gradients(context: MeasureContext, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of one pass and their gradients in the inputs, by one backward pass a class.

    Args:
        context: The network; in eval mode each example's logits are its own.
        x: Shape ``(n, *input_shape)``.

    Returns:
        Logits, shape ``(n, classes)``, and gradients, shape ``(n, classes, input_size)``.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = context.forward(x)
        columns = [
            torch.autograd.grad(column.sum(), x, retain_graph=True, materialize_grads=True)[0]
            for column in logits.unbind(dim=1)
        ]
    return logits.detach(), torch.stack([column.flatten(1) for column in columns], dim=1)


def boundary_distances(
    logits: Tensor, gradients: Tensor, labels: Tensor, norm: Norm
) -> tuple[Tensor, Tensor]:
    """Distances to the boundaries between the label and each class, of linear classifiers.

    Args:
        logits: Shape ``(n, classes)``.
        gradients: Of the logits, shape ``(n, classes, input_size)``.
        labels: Shape ``(n,)``.
        norm: Of the distances.

    Returns:
        (z_y − z_j) / ‖∇(z_y − z_j)‖_*, shape ``(n, classes)``, infinity for j = y; and
        ∇(z_j − z_y), shape of ``gradients``.
    """
    own = labels[:, None]
    gaps = logits.gather(1, own) - logits
    slopes = gradients - gradients.gather(1, own[..., None].expand(-1, 1, gradients.shape[2]))
    # 0 / 0 lies on the boundary; anything else over 0 is infinitely far from it.
    distances = torch.where(gaps == 0, torch.zeros_like(gaps), gaps / dual_lengths(slopes, norm))
    return distances.scatter(1, own, torch.inf), slopes


def nearest_class(context: MeasureContext, x: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """The other class whose boundary is nearest to first order, shape ``(n,)``, of one pass.

    Of classes that are equally near up to rounding it is the one with the largest logit: where a
    single unit is on, all of them are, and rounding must not choose. Where all are infinitely far
    it is that one, too.
    """
    logits, gradients = class_gradients(context, x)
    if logits.shape[1] == 1:
        return labels
    distances, _ = boundary_distances(logits, gradients, labels, norm)
    nearest = distances.amin(dim=1, keepdim=True)
    rounding = torch.finfo(distances.dtype).eps ** 0.5 * nearest.abs()
    others = logits.masked_fill(distances > nearest + rounding, -torch.inf)
    return others.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
