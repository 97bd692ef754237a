"""The Gauss-Newton matrix G = 1/n Σ_i J_iᵀ A_i J_i, as an operator.

J_i is the Jacobian of example i's logits and A_i = ∂²ℓ_i/∂z² the Hessian of its loss in them. For
cross-entropy, G is the Fisher information (Martens, arXiv:1412.1193, section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.loss_hessian import loss_hessian_product
from orchestrator.measures.derivatives import require_second_derivatives
from orchestrator.measures.layer_rules.network_pass import NetworkPass
from orchestrator.measures.symmetric_operator import SymmetricOperator


def logit_derivative(
    context: MeasureContext, logits: Tensor, direction: Sequence[Tensor]
) -> Tensor:
    """Return J v, the derivative of the logits along a direction in parameter space.

    It differentiates ⟨Jᵀw, v⟩ with respect to w, a double backward pass that works wherever a
    Hessian-vector product does.

    Args:
        context: Context whose ``forward`` computed the logits.
        logits: Shape ``(n, classes)``, with their graph, which is kept.
        direction: v, one tensor per parameter of the context.

    Returns:
        Shape ``(n, classes)``, detached.

    Raises:
        MeasureError: If an operation of the network prevents a second derivative.
    """
    with torch.enable_grad():
        weights = torch.zeros_like(logits, requires_grad=True)
        if not logits.requires_grad:
            return weights.detach()
        parameters = list(context.parameters.values())
        gradients = torch.autograd.grad(
            logits, parameters, weights, create_graph=True, allow_unused=True
        )
        context.shared("logit_derivative", lambda: require_second_derivatives(gradients))
        pairs = zip(gradients, direction, strict=True)
        product = torch.stack([(g * v).sum() for g, v in pairs if g is not None]).sum()
    (derivative,) = torch.autograd.grad(product, weights)
    return derivative


def gauss_newton(context: MeasureContext) -> SymmetricOperator:
    """Return G of the mean training loss, on flat vectors of length ``n_parameters``.

    Networks whose layers all have rules (``LossSurface.layer_network``) are differentiated layer
    by layer, several columns together. Cost of a product: about 3 gradients without rules, less
    with them, and the memory of one pass. Products are detached.
    """
    return SymmetricOperator(
        lambda vector: _products(context, vector[None])[0],
        context.n_parameters,
        context.dtype,
        context.device,
        rows=partial(_products, context),
    )


def _products(context: MeasureContext, rows: Tensor) -> Tensor:
    """Return G v for each row v of ``rows``."""
    if context.layer_network() is not None:
        products = torch.zeros_like(rows)
        for one in context.training_passes():
            assert isinstance(one, NetworkPass)  # noqa: S101
            products += one.gauss_newton(rows)
        if bool(products.isfinite().all()):
            return products
    return torch.stack([_product(context, row) for row in rows])


def _product(context: MeasureContext, vector: Tensor) -> Tensor:
    total = torch.zeros_like(vector)
    direction = context.unflatten(vector)
    parameters = list(context.parameters.values())
    n = context.data.n_examples("train")
    for x, y in context.data.batches("train"):
        with torch.enable_grad():
            logits = context.forward(x)
        if not logits.requires_grad:
            continue
        change = logit_derivative(context, logits, direction)
        arriving = loss_hessian_product(context.loss, logits.detach(), y, change) / n
        gradients = torch.autograd.grad(logits, parameters, arriving, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        total += context.flatten([torch.zeros_like(p) if g is None else g for g, p in pairs])
    return total
