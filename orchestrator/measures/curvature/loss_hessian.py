"""The Hessian of one example's loss with respect to its logits, as a sum of few squares.

``exact_trace`` sends each square back through the network, so their number is what it costs.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from orchestrator.measures.context import PerExampleLoss


class LossHessian(NamedTuple):
    """∂²ℓ_i/∂z² = Σ_r signs[r, i] · columns[r, i] columns[r, i]ᵀ for each example i.

    Attributes:
        columns: Shape ``(r, n, classes)``.
        signs: 1, −1, or 0 where a column counts for nothing, shape ``(r, n)``; None if all are 1.
    """

    columns: Tensor
    signs: Tensor | None


def loss_hessian(loss: PerExampleLoss, logits: Tensor, labels: Tensor) -> LossHessian:
    """Factorize the Hessian of each example's loss, in the way that is best for this loss.

    Args:
        loss: The loss, as built from a study file or the user's own.
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.
    """
    if is_cross_entropy(loss):
        return softmax_hessian(logits)
    return autograd_hessian(loss, logits, labels)


def is_cross_entropy(loss: PerExampleLoss) -> bool:
    """Whether ``loss`` is torch's softmax cross-entropy, with label smoothing or without."""
    function = loss.per_example
    return (
        isinstance(function, partial)
        and function.func is F.cross_entropy
        and not function.args
        and set(function.keywords) <= {"label_smoothing", "reduction"}
    )


def softmax_hessian(logits: Tensor) -> LossHessian:
    """Factorize diag(p) − ppᵀ, the Hessian of softmax cross-entropy, into classes − 1 squares.

    It does not depend on the label, and label smoothing leaves it as it is. With the tail sums
    q_k = Σ_{j≥k} p_j, its LDLᵀ decomposition (the covariance of one multinomial draw, taken
    class by class) has the columns

        √(p_k q_{k+1} / q_k) · (e_k − Σ_{j>k} (p_j / q_{k+1}) e_j),   k = 1 … C − 1,

    one fewer than √p_c (e_c − p). All of it is sums, products and quotients of positive numbers,
    done on logarithms: nothing cancels, so that an example whose margin is 40 or 400, where
    1 − p_y computed by subtraction is 0, still has its curvature with full relative precision.

    Args:
        logits: Shape ``(n, classes)``.
    """
    log_p = logits.log_softmax(1)
    log_tail = log_p.flip(1).logcumsumexp(1).flip(1)
    here, behind = log_tail[:, :-1], log_tail[:, 1:]
    scales = (0.5 * (log_p[:, :-1] + behind - here)).exp()
    shares = (log_p[:, None, :] - behind[:, :, None]).clamp(max=0).exp()
    columns = torch.eye(logits.shape[1]).to(logits)[:-1] - shares.triu(1)
    return LossHessian((scales[:, :, None] * columns).transpose(0, 1), None)


def autograd_hessian(loss: PerExampleLoss, logits: Tensor, labels: Tensor) -> LossHessian:
    """Factorize the Hessian of any loss, from its eigenvalues and eigenvectors.

    The precision is that of the loss's own second derivatives. Where logits or derivatives
    aren't finite, the factors are NaN.

    Args:
        loss: Twice differentiable by autograd; each example's loss depends on its own logits.
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.
    """
    logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.per_example(logits, labels).sum()
        (gradient,) = torch.autograd.grad(total, logits, create_graph=True)
    if not gradient.requires_grad:  # piecewise linear in the logits
        return LossHessian(logits.new_zeros(0, *logits.shape), None)
    rows = [
        torch.autograd.grad(gradient[:, c].sum(), logits, retain_graph=True)[0]
        for c in range(logits.shape[1])
    ]
    hessian = torch.stack(rows, dim=1)
    finite = hessian.isfinite().all(dim=(1, 2)) & logits.detach().isfinite().all(dim=1)
    symmetric = (0.5 * (hessian + hessian.mT)).where(finite[:, None, None], 0.0)
    values, vectors = torch.linalg.eigh(symmetric)
    rounding = torch.finfo(values.dtype).eps * logits.shape[1] * values.abs().amax(1, keepdim=True)
    values = values.where(values.abs() > rounding, 0.0)
    # Largest first, so that examples with few squares have them in the same columns.
    order = values.abs().argsort(dim=1, descending=True)
    values = values.gather(1, order)
    vectors = vectors.gather(2, order[:, None, :].expand_as(vectors))
    columns = (vectors * values.abs().sqrt()[:, None, :]).permute(2, 0, 1)
    columns = columns.where(finite[None, :, None], torch.nan)
    used = (columns != 0).any(dim=(1, 2))
    signs = values.sign().T[used]
    return LossHessian(columns[used], signs if (signs < 0).any() else None)
