"""Check that the Hessian product is symmetric and is the derivative of the gradient.

Torch silently differentiates some backward passes incorrectly, and omits the contribution of
detached factors. Symmetry detects the first problem, central differences detect both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.scaling import norm
from orchestrator.measures.trust.checked_network import Subject
from orchestrator.measures.trust.finding import Finding
from orchestrator.measures.trust.finite_differences import STEPS, no_double, unit_directions

_ATTEMPTS = (16, 8, 2)
"""Examples in each attempt; fewer examples have fewer ReLU kinks within a step."""
_SYMMETRY = 1e-7  # Relative to the length of the product.
_TOLERANCE = 1e-3  # Relative to the product, over one parameter tensor.
_NEGLIGIBLE = 1e-5  # Parts smaller than this fraction of a product are not compared.
_ROUNDING = 1e3 * torch.finfo(torch.float64).eps
_CONSISTENT = 0.1  # Maximum difference between steps, relative to that from the product.
_HINT = (
    "write the layer in plain operations, or omit Hessian measures; a network with detach() or "
    "estimated gradients has no Hessian"
)


def second_derivatives(subject: Subject) -> Finding:
    """Check the Hessian product for symmetry and against central differences of the gradient.

    If the differences at two step sizes agree with each other but not with the product, the
    product is wrong. If they disagree, a kink lies within the step or rounding dominates, and
    other examples and another direction are tried.
    """
    if subject.double is None:
        return no_double(subject, "second_derivatives")
    first = 0
    for attempt, n in enumerate(_ATTEMPTS):
        context = subject.part(first, n)
        found = _attempt(context, attempt)
        if found is not None:
            return found
        first += n
    return Finding(
        "second_derivatives",
        "undecided",
        "central differences of the gradient do not converge (nearby kinks or non-finite values)",
    )


def _attempt(context: MeasureContext, attempt: int) -> Finding | None:
    """Return the finding for one direction; None if inconclusive."""
    v = context.flatten(list(unit_directions(context, f"product {attempt}").values()))
    product = context.hessian @ v
    pairs = [(_gradient(context, h * v), _gradient(context, -h * v)) for h in STEPS]
    differences = [
        (ahead - behind) / (2 * h) for (ahead, behind), h in zip(pairs, STEPS, strict=True)
    ]
    if not all(bool(t.isfinite().all()) for t in (product, *differences)):
        return None
    if attempt == 0:
        asymmetric = _asymmetry(context, v, product)
        if asymmetric is not None:
            return asymmetric
    larger = max(norm(product), norm(differences[1]))
    rounding = _ROUNDING * norm(pairs[1][0]) / STEPS[1]
    decided = True
    for name, h, one, two in zip(
        context.parameters, *map(context.unflatten, (product, *differences)), strict=True
    ):
        size = max(norm(h), norm(two))
        if size <= max(_NEGLIGIBLE * larger, rounding):
            continue
        off = min(norm(one - h), norm(two - h))
        if off <= _TOLERANCE * size:
            continue
        if norm(one - two) > _CONSISTENT * off:
            decided = False
            continue
        return Finding(
            "second_derivatives",
            "failed",
            f"the Hessian product differs from central differences of the gradient by "
            f"{off / size:.2g} of its length in {name}",
            _HINT,
        )
    return Finding("second_derivatives") if decided else None


def _asymmetry(context: MeasureContext, v: Tensor, product: Tensor) -> Finding | None:
    u = context.flatten(list(unit_directions(context, "product of the other side").values()))
    other = context.hessian @ u
    one, two = torch.dot(u, product).item(), torch.dot(v, other).item()
    if not abs(one - two) > _SYMMETRY * (norm(product) + norm(other)):
        return None
    return Finding(
        "second_derivatives",
        "failed",
        f"the Hessian product is not symmetric: ⟨u, Hv⟩ = {one:.6g}, but ⟨v, Hu⟩ = {two:.6g}",
        _HINT,
    )


def _gradient(context: MeasureContext, displacement: Tensor) -> Tensor:
    """Return the gradient of the mean training loss at displaced weights."""
    moved = {
        name: (p.detach() + step).requires_grad_()
        for (name, p), step in zip(
            context.parameters.items(), context.unflatten(displacement), strict=True
        )
    }
    x, y = next(context.data.batches("train"))
    with torch.enable_grad():
        loss = context.loss.per_example(context.forward(x.clone(), moved), y).mean()
        if not loss.requires_grad:
            return torch.zeros_like(displacement)
        parts = torch.autograd.grad(
            loss, list(moved.values()), allow_unused=True, materialize_grads=True
        )
    return context.flatten(list(parts))
