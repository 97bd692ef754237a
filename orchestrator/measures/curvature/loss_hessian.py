"""The Hessian of one example's loss with respect to its logits, as a sum of few squares.

``exact_trace`` sends each square back through the network, so their number is what it costs.
Where there are many classes, squares come a few at a time, and no matrix of classes × classes is
formed; where there are too many, ``factor_draws`` replaces them by random ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from orchestrator.measures.derivatives import require_second_derivatives
from orchestrator.measures.precise_loss import PerExampleLoss, is_cross_entropy

MOST_SQUARES = 256
"""Where the Hessian of an example has more squares, measures that may choose draw random ones."""
NUMBERS_AT_ONCE = 2**18
"""Most numbers in the squares that are formed together, except that one is always formed."""


class LossHessian(NamedTuple):
    """Σ_r signs[r, i] · columns[r, i] columns[r, i]ᵀ, all or a part of ∂²ℓ_i/∂z², for each i.

    Attributes:
        columns: Shape ``(r, n, classes)``.
        signs: 1, −1, or 0 where a column counts for nothing, shape ``(r, n)``; None if all are 1.
    """

    columns: Tensor
    signs: Tensor | None


def loss_hessian(loss: PerExampleLoss, logits: Tensor, labels: Tensor) -> Iterator[LossHessian]:
    """Factorize the Hessian of each example's loss, in the way that is best for this loss.

    Args:
        loss: The loss, as built from a study file or the user's own.
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.

    Yields:
        Parts that add up to it. Each has at most ``NUMBERS_AT_ONCE`` numbers or a single square
        (two for losses other than cross-entropy). Up to ``MOST_SQUARES`` + 1 classes the squares
        of such losses come as one part.
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
    return _softmax_part(*_log_tails(logits), 0, logits.shape[1] - 1)


def softmax_squares(logits: Tensor) -> Iterator[LossHessian]:
    """The squares of :func:`softmax_hessian`, as many at a time as ``NUMBERS_AT_ONCE`` allows."""
    log_p, log_tail = _log_tails(logits)
    squares = logits.shape[1] - 1
    together = max(1, NUMBERS_AT_ONCE // max(1, logits.numel()))
    for first in range(0, squares, together):
        yield _softmax_part(log_p, log_tail, first, min(first + together, squares))


def _log_tails(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log p_k and log q_k, both of shape ``(n, classes)``."""
    log_p = logits.log_softmax(1)
    return log_p, log_p.flip(1).logcumsumexp(1).flip(1)


def _softmax_part(log_p: Tensor, log_tail: Tensor, first: int, last: int) -> LossHessian:
    """The columns from ``first`` to before ``last``, counted from 0."""
    here, behind = log_tail[:, first:last], log_tail[:, first + 1 : last + 1]
    scales = (0.5 * (log_p[:, first:last] + behind - here)).exp()
    shares = (log_p[:, None, :] - behind[:, :, None]).clamp(max=0).exp()
    places = torch.arange(log_p.shape[1], device=log_p.device)
    units = (places[first:last, None] == places).to(log_p)
    columns = units - shares.triu(1 + first)
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
    """Two squares a_i for each example with Σ_r s_r ‖J a_ir‖² = ⟨J u_i, J A_i u_i⟩ for every J.

    With A_i = ∂²ℓ_i/∂z² that is a term of tr(J A_i Jᵀ): summed over the unit vectors u it is the
    trace, and over random u with E u uᵀ = I it has the trace as its mean. They are
    (u ± A u) / 2, each vector first brought to the length of the other so that neither is lost
    beside it, and count with the signs + and −.

    Args:
        loss: Twice differentiable by autograd; each example's loss depends on its own logits.
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
    """A_i u_i of each example, shape ``(n, classes)``.

    For softmax cross-entropy it is p ∘ (u − ⟨p, u⟩), with u counted from its value at the most
    probable class, so that nothing cancels where the others' probabilities are tiny.

    Args:
        loss: Twice differentiable by autograd; each example's loss depends on its own logits.
        logits: Shape ``(n, classes)``, detached.
        labels: Shape ``(n,)``.
        vectors: u, shape ``(n, classes)``.
    """
    if is_cross_entropy(loss):
        p = logits.softmax(1)
        u = vectors - vectors.gather(1, p.argmax(1, keepdim=True))
        return p * (u - (p * u).sum(1, keepdim=True))
    logits = logits.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.per_example(logits, labels).sum()
        (gradient,) = torch.autograd.grad(total, logits, create_graph=True)
    if not gradient.requires_grad:  # piecewise linear in the logits
        return torch.zeros_like(vectors)
    require_second_derivatives([gradient])
    (product,) = torch.autograd.grad(gradient, logits, vectors)
    return product
