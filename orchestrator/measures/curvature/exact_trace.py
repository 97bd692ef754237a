"""The exact Hessian trace of a piecewise linear network, at the cost of a few gradients.

With J_i the Jacobian of example i's logits and A_i = ∂²ℓ_i/∂z² = Σ_r s_r v_r v_rᵀ,

    H = 1/n Σ_i J_iᵀ A_i J_i + 1/n Σ_i Σ_k (∂ℓ_i/∂z_k) ∇²z_k .

If logits are affine in each parameter tensor and the activation pattern is locally constant
(proven by ``piecewise_linear``, verified by ``exactness``), then ∂²z_k/∂θ_a² = 0 for every scalar
parameter θ_a. The second sum then has only off-diagonal entries, between two layers, so almost
everywhere

    tr H = 1/n Σ_i tr(J_iᵀ A_i J_i) = 1/n Σ_i Σ_r s_r ‖∇_θ ⟨v_r, z_i⟩‖² ,

exactly, for every loss on the logits. For softmax cross-entropy, A_i = diag(p) − ppᵀ and C − 1
terms suffice (``loss_hessian``). The cost is then C − 1 backward passes, which need neither
gradients with respect to weights nor per-example gradients (``example_gradients``).

Botev, Ritter and Barber, arXiv:1706.03662, show that the diagonal blocks of Hessian and
Gauss-Newton matrix agree for piecewise linear networks. "Almost everywhere" is in the sense of
automatic differentiation: kinks have no curvature here, as in any Hessian-vector product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exactness import verify_exactness
from orchestrator.measures.curvature.example_gradients import squared_gradient_norms
from orchestrator.measures.curvature.loss_hessian import loss_hessian
from orchestrator.measures.curvature.piecewise_linear import Proof


@dataclass(frozen=True)
class ExactTrace:
    """The exact trace of a mean over the training examples, and its decomposition.

    The matrix is the Hessian of the loss, its Gauss-Newton matrix or the Fisher information.

    Attributes:
        total: The trace.
        per_parameter: Trace of each parameter's diagonal block, by name; sums to ``total``.
        per_example: Trace of each example's own matrix, such as tr ∇²ℓ_i, shape ``(n,)``,
            float64; averages to ``total``.
    """

    total: float
    per_parameter: dict[str, float]
    per_example: Tensor

    @classmethod
    def of(cls, by_name: dict[str, Tensor]) -> ExactTrace:
        """Build the trace from per-example contributions of each parameter, shapes ``(n,)``."""
        per_example = torch.stack(list(by_name.values())).sum(0)
        n = len(per_example)
        return cls(
            total=per_example.sum().item() / n,
            per_parameter={name: values.sum().item() / n for name, values in by_name.items()},
            per_example=per_example.cpu(),
        )


def proof(context: MeasureContext) -> Proof:
    """Return whether the exact trace applies to the network of ``context``, and why not.

    It applies if the proof succeeds and is confirmed numerically (``exactness``).
    """

    def prove() -> Proof:
        obstacle = verify_exactness(context)
        return Proof(obstacle is None, obstacle or "")

    return context.shared("piecewise_linear_proof", prove)


def exact_trace(context: MeasureContext) -> ExactTrace:
    """Compute tr H of the mean training loss without an estimate.

    Args:
        context: Context whose network is proven piecewise linear in each parameter.

    Raises:
        MeasureError: If the network is not proven.
    """
    outcome = proof(context)
    if not outcome.proven:
        raise MeasureError(
            f"the exact Hessian trace needs a network that is piecewise linear in each "
            f"parameter: {outcome.reason}",
            "use method: hutchinson, or auto, which estimates if necessary",
        )
    columns = partial(loss_hessian, context.loss)
    return context.shared(
        "exact_trace", lambda: ExactTrace.of(squared_gradient_norms(context, columns))
    )
