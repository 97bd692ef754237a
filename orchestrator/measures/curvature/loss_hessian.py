"""The Hessian of one example's loss in its logits, as a sum of few squares.

``exact_trace`` propagates each square back through the network, so their number determines the
cost. With many classes, squares are computed a few at a time, without forming a classes × classes
matrix. With too many classes, ``factor_draws`` replaces them by random squares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from orchestrator.measures.derivatives import require_second_derivatives
from orchestrator.measures.precise_loss import PerExampleLoss, is_cross_entropy

MOST_SQUARES = 256
"""Number of squares per example above which measures draw random ones, if they may choose."""
NUMBERS_AT_ONCE = 2**18
"""Maximum count of numbers in squares formed together, unless a single square exceeds it."""


class LossHessian(NamedTuple):
    """Σ_r signs[r, i] · columns[r, i] columns[r, i]ᵀ, all or part of ∂²ℓ_i/∂z², for each i.

    Attributes:
        columns: Vectors of shape ``(r, n, classes)``.
        signs: 1, −1, or 0 for an unused column, shape ``(r, n)``; None if all are 1.
    """

    columns: Tensor
    signs: Tensor | None


def loss_hessian(loss: PerExampleLoss, logits: Tensor, labels: Tensor) -> Iterator[LossHessian]:
    """Factorize the Hessian of each example's loss, with the best method for this loss.

    Args:
        loss: The loss, built from a study file or the user's own.
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.

    Yields:
        Parts that sum to the Hessian. Each has at most ``NUMBERS_AT_ONCE`` numbers or a single
        square (two for losses other than cross-entropy). Up to ``MOST_SQUARES`` + 1 classes, the
        squares of such losses come as one part.
    """
    if is_cross_entropy(loss):
        yield from softmax_squares(logits)
    elif logits.shape[1] - 1 <= MOST_SQUARES:
        yield autograd_hessian(loss, logits, labels)
    else:
        for unit in range(logits.shape[1]):
            directions = torch.zeros_like(logits)
            directions[:, unit] = 1
            yield paired_squares(loss, logits, labels, directions)


def softmax_hessian(logits: Tensor) -> LossHessian:
    """Factorize diag(p) − ppᵀ, the Hessian of softmax cross-entropy, into classes − 1 squares.

    The Hessian does not depend on the label or on label smoothing. With the tail sums
    q_k = Σ_{j≥k} p_j, its LDLᵀ decomposition (the covariance of one multinomial draw, taken
    class by class) has the columns

        √(p_k q_{k+1} / q_k) · (e_k − Σ_{j>k} (p_j / q_{k+1}) e_j),   k = 1 … C − 1,

    one fewer than √p_c (e_c − p). The computation uses only sums, products and quotients of
    positive numbers, on a log scale, so nothing cancels. An example with margin 40 or 400, where
    1 − p_y computed by subtraction is 0, therefore keeps full relative precision.

    Args:
        logits: Shape ``(n, classes)``.
    """
    return _softmax_part(*_log_tails(logits), 0, logits.shape[1] - 1)


def softmax_squares(logits: Tensor) -> Iterator[LossHessian]:
    """Yield the squares of :func:`softmax_hessian` in parts limited by ``NUMBERS_AT_ONCE``."""
    log_p, log_tail = _log_tails(logits)
    squares = logits.shape[1] - 1
    together = max(1, NUMBERS_AT_ONCE // max(1, logits.numel()))
    for first in range(0, squares, together):
        yield _softmax_part(log_p, log_tail, first, min(first + together, squares))


def _log_tails(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p_k and log q_k, both of shape ``(n, classes)``."""
    log_p = logits.log_softmax(1)
    return log_p, log_p.flip(1).logcumsumexp(1).flip(1)


def _softmax_part(log_p: Tensor, log_tail: Tensor, first: int, last: int) -> LossHessian:
    """Return the columns from ``first`` up to but excluding ``last``, counted from 0."""
    here, behind = log_tail[:, first:last], log_tail[:, first + 1 : last + 1]
    scales = (0.5 * (log_p[:, first:last] + behind - here)).exp()
    shares = (log_p[:, None, :] - behind[:, :, None]).clamp(max=0).exp()
    places = torch.arange(log_p.shape[1], device=log_p.device)
    units = (places[first:last, None] == places).to(log_p)
    columns = units - shares.triu(1 + first)
    return LossHessian((scales[:, :, None] * columns).transpose(0, 1), None)


def autograd_hessian(loss: PerExampleLoss, logits: Tensor, labels: Tensor) -> LossHessian:
    """Factorize the Hessian of any loss by eigendecomposition.

    The precision is that of the loss's own second derivatives. The factors are NaN for examples
    with non-finite logits or derivatives.

    Args:
        loss: Loss, twice differentiable by autograd, in which each example depends on its own
            logits.
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.
    """
    logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.per_example(logits, labels).sum()
        (gradient,) = torch.autograd.grad(total, logits, create_graph=True)
    if not gradient.requires_grad:  # piecewise linear in the logits
        return LossHessian(logits.new_zeros(0, *logits.shape), None)
    require_second_derivatives([gradient])
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


def paired_squares(
    loss: PerExampleLoss, logits: Tensor, labels: Tensor, directions: Tensor
) -> LossHessian:
    """Return two squares per example with Σ_r s_r ‖J a_ir‖² = ⟨J u_i, J A_i u_i⟩ for every J.

    With A_i = ∂²ℓ_i/∂z², this is a term of tr(J A_i Jᵀ). Its sum over the unit vectors u is the
    trace, and its mean over random u with E u uᵀ = I is also the trace. The squares are
    (u ± A u) / 2 with signs + and −. Both vectors are first scaled to the same length, so that
    rounding loses neither.

    Args:
        loss: Loss, twice differentiable by autograd, in which each example depends on its own
            logits.
        logits: Shape ``(n, classes)``, detached.
        labels: Shape ``(n,)``.
        directions: u, shape ``(n, classes)``.
    """
    products = loss_hessian_product(loss, logits, labels, directions)
    lengths, found = (
        torch.linalg.vector_norm(vectors, dim=1, keepdim=True) for vectors in (directions, products)
    )
    scale = (found / lengths).sqrt()
    there = torch.where(found == 0, 0, products / scale)
    there = torch.where(logits.isfinite().all(1, keepdim=True), there, torch.nan)
    here = scale * directions
    columns = torch.stack([here + there, here - there]) / 2
    signs = torch.ones_like(columns[..., 0])
    signs[1] = -1
    return LossHessian(columns, signs)


def loss_hessian_product(
    loss: PerExampleLoss, logits: Tensor, labels: Tensor, vectors: Tensor
) -> Tensor:
    """Return A_i u_i of each example, in the shape of ``vectors``.

    For softmax cross-entropy it is p ∘ (u − ⟨p, u⟩), with u shifted by its value at the most
    probable class, so that nothing cancels if the other probabilities are tiny.

    Args:
        loss: Loss, twice differentiable by autograd, in which each example depends on its own
            logits.
        logits: Shape ``(n, classes)``, detached.
        labels: Shape ``(n,)``.
        vectors: u, shape ``(n, classes)`` or ``(k, n, classes)``.
    """
    if is_cross_entropy(loss):
        p = logits.softmax(1)
        likeliest = p.argmax(1, keepdim=True).expand(*vectors.shape[:-1], 1)
        u = vectors - vectors.gather(-1, likeliest)
        return p * (u - (p * u).sum(-1, keepdim=True))
    logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.per_example(logits, labels).sum()
        (gradient,) = torch.autograd.grad(total, logits, create_graph=True)
    if not gradient.requires_grad:  # piecewise linear in the logits
        return torch.zeros_like(vectors)
    require_second_derivatives([gradient])
    products = [
        torch.autograd.grad(gradient, logits, u, retain_graph=True)[0]
        for u in vectors.reshape(-1, *logits.shape)
    ]
    return torch.stack(products).reshape(vectors.shape)
