"""The exact trace of the Hessian of a piecewise linear network, for a few gradients.

With J_i the Jacobian of example i's logits and A_i = ∂²ℓ_i/∂z² = Σ_r s_r v_r v_rᵀ,

    H = 1/n Σ_i J_iᵀ A_i J_i + 1/n Σ_i Σ_k (∂ℓ_i/∂z_k) ∇²z_k .

Where logits are affine in each single parameter tensor and the pattern of open units is locally
constant (``piecewise_linear`` proves it), ∂²z_k/∂θ_a² = 0 for every scalar parameter θ_a. The
second sum has entries off the diagonal only, where two layers meet, so that almost everywhere

    tr H = 1/n Σ_i tr(J_iᵀ A_i J_i) = 1/n Σ_i Σ_r s_r ‖∇_θ ⟨v_r, z_i⟩‖² ,

exactly, for every loss on the logits. For softmax cross-entropy A_i = diag(p) − ppᵀ and C − 1
terms suffice (``loss_hessian``), so that this is C − 1 backward passes, and these need neither
gradients with respect to weights nor those of single examples (``gradient_norms``).

That the diagonal blocks of Hessian and Gauss-Newton matrix agree for piecewise linear networks:
Botev, Ritter and Barber, arXiv:1706.03662. "Almost everywhere" means what automatic
differentiation sees: kinks carry no curvature here, as in any Hessian-vector product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import grad, vmap

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.gradient_norms import (
    AffineLayer,
    AffineNorms,
    BatchNorm,
    LayerNorms,
    ScaleNorms,
)
from orchestrator.measures.loss_hessian import LossHessian, loss_hessian
from orchestrator.measures.piecewise_linear import Proof, prove_piecewise_linear

# Numbers held at a time: about what the caches keep on a CPU, and enough to be busy elsewhere.
_NUMBERS_ON_CPU = 2**21
_NUMBERS_ON_DEVICE = 2**27


@dataclass(frozen=True)
class ExactTrace:
    """The trace of the Hessian of the mean training loss, and what it is made of.

    Attributes:
        total: tr H.
        per_parameter: The trace of each parameter's diagonal block, by name; sums to ``total``.
        per_example: tr ∇²ℓ_i of each example, shape ``(n,)``, float64; averages to ``total``.
    """

    total: float
    per_parameter: dict[str, float]
    per_example: Tensor


def proof(context: MeasureContext) -> Proof:
    """Whether the exact trace applies to the network of ``context``, and if not, why."""

    def prove() -> Proof:
        inputs, _ = next(context.batches("train"))
        return prove_piecewise_linear(context.model, inputs)

    return context.shared("piecewise_linear_proof", prove)


def exact_trace(context: MeasureContext) -> ExactTrace:
    """Compute tr H of the mean training loss without an estimate.

    Args:
        context: Its network must be proven piecewise linear in each parameter.

    Raises:
        MeasureError: If it is not.
    """
    outcome = proof(context)
    if not outcome.proven:
        raise MeasureError(
            f"the exact Hessian trace needs a network that is piecewise linear in each "
            f"parameter: {outcome.reason}",
            "use method: hutchinson, or auto, which chooses it where it must",
        )
    return context.shared("exact_trace", lambda: _compute(context))


def _compute(context: MeasureContext) -> ExactTrace:
    sums: defaultdict[str, list[Tensor]] = defaultdict(list)
    limit = _examples_at_a_time(context)
    for inputs, labels in context.batches("train"):
        for x, y in zip(torch.split(inputs, limit), torch.split(labels, limit), strict=True):
            for name, of_examples in _traces(context, x, y).items():
                sums[name].append(of_examples.to(torch.float64))
    n = context.n_examples("train")
    by_name = {name: torch.cat(sums[name]) for name in context.parameters}
    per_example = torch.stack(list(by_name.values())).sum(0)
    return ExactTrace(
        total=per_example.sum().item() / n,
        per_parameter={name: values.sum().item() / n for name, values in by_name.items()},
        per_example=per_example.cpu(),
    )


def _traces(context: MeasureContext, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The trace of each parameter's block for each of a few examples, by parameter name."""
    with _tapped(context.model) as taps:
        logits = context.forward(x)
    hessian = loss_hessian(context.loss, logits.detach(), y)
    traces = {name: logits.new_zeros(len(x)) for name in context.parameters}
    loose = _loose_parameters(context, logits, taps)
    if loose:
        traces |= _of_loose_parameters(context, x, hessian, loose)
    reached = [tap for tap in taps if tap.edge is not None]
    norms = [tap.norms() for tap in reached]
    edges = [tap.edge for tap in reached if tap.edge is not None]
    for r, column in enumerate(hessian.columns if reached else ()):
        sign = None if hessian.signs is None else hessian.signs[r]
        deltas = torch.autograd.grad(logits, edges, column, retain_graph=True, allow_unused=True)
        for accumulator, delta in zip(norms, deltas, strict=True):
            if delta is not None:
                accumulator.add(delta, sign)
    names = {id(parameter): name for name, parameter in context.parameters.items()}
    for tap, accumulator in zip(reached, norms, strict=True):
        found = accumulator.squared_norms()
        for name, parameter in tap.module.named_parameters():
            if id(parameter) in names:
                traces[names[id(parameter)]] = found[name]
    return traces


@dataclass(frozen=True)
class _Tap:
    """One call of a layer: what went in, and where the gradient of what came out arrives."""

    module: AffineLayer | BatchNorm
    inputs: Tensor
    outputs: int
    edge: GradientEdge | None

    def norms(self) -> LayerNorms:
        if isinstance(self.module, BatchNorm):
            return ScaleNorms(self.module, self.inputs)
        return AffineNorms(self.module, self.inputs)


@contextmanager
def _tapped(model: nn.Module) -> Iterator[list[_Tap]]:
    """Record every call of a layer that has trainable parameters and a short way to its norms."""
    taps: list[_Tap] = []

    def record(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # An edge, as the output itself may be overwritten in place by an activation.
        edge = get_gradient_edge(output) if output.requires_grad else None
        taps.append(_Tap(module, inputs[0].detach(), output.numel(), edge))

    hooks = [
        module.register_forward_hook(record)
        for module in model.modules()
        if type(module) in _LAYERS and any(p.requires_grad for p in module.parameters())
    ]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


_LAYERS = (*get_args(AffineLayer), *get_args(BatchNorm))


def _examples_at_a_time(context: MeasureContext) -> int:
    """How many examples to work on together so that what is held of them stays in the caches."""
    inputs, _ = next(context.batches("train"))
    with torch.no_grad(), _tapped(context.model) as taps:
        context.forward(inputs[:1])
    numbers = sum(tap.outputs + tap.inputs.numel() + tap.norms().numbers for tap in taps)
    limit = _NUMBERS_ON_CPU if context.device.type == "cpu" else _NUMBERS_ON_DEVICE
    return max(1, limit // max(1, numbers))


def _loose_parameters(
    context: MeasureContext, logits: Tensor, taps: list[_Tap]
) -> dict[str, Tensor]:
    """Parameters that logits depend on otherwise than through a tapped layer."""
    tapped = {id(parameter) for tap in taps for parameter in tap.module.parameters()}
    others = {name: p for name, p in context.parameters.items() if id(p) not in tapped}
    if not others or not logits.requires_grad:
        return {}
    gradients = torch.autograd.grad(
        logits.sum(), list(others.values()), retain_graph=True, allow_unused=True
    )
    pairs = zip(others.items(), gradients, strict=True)
    return {name: p.detach() for (name, p), gradient in pairs if gradient is not None}


def _of_loose_parameters(
    context: MeasureContext, x: Tensor, hessian: LossHessian, loose: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Their traces, from gradients of single examples: dearer, but right for any parameter."""

    def squares(one: Tensor, column: Tensor) -> dict[str, Tensor]:
        def output(values: dict[str, Tensor]) -> Tensor:
            return (context.forward(one[None], values)[0] * column).sum()

        return {name: g.square().sum() for name, g in grad(output)(loose).items()}

    together = max(1, _NUMBERS_ON_CPU // sum(values.numel() for values in loose.values()))
    sums = {name: x.new_zeros(len(x)) for name in loose}
    # One column after the other: torch cannot nest vmap around the derivative of PReLU.
    for r, column in enumerate(hessian.columns):
        sign = 1.0 if hessian.signs is None else hessian.signs[r]
        for name, of_column in vmap(squares, chunk_size=together)(x, column).items():
            sums[name] += of_column * sign
    return sums
