"""Relative flatness of layers: curvature weighed by the weights, free of their scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, nan

import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import proof
from orchestrator.measures.curvature.example_gradients import examples_at_a_time
from orchestrator.measures.curvature.gradient_norms import AffineLayer, AffineNorms, BatchNorm
from orchestrator.measures.curvature.hutchinson import TraceEstimate, probe_means
from orchestrator.measures.curvature.layer_taps import Tap, mixing_layers, tapped, usable_taps
from orchestrator.measures.curvature.loss_hessian import MOST_SQUARES, loss_hessian
from orchestrator.measures.curvature.weight_layers import (
    WeightLayer,
    weight_layers,
    weight_matrices,
)
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import RelativeFlatnessOptions


def exact_relative_flatness(
    context: MeasureContext, layers: Sequence[WeightLayer]
) -> dict[str, float]:
    """κ of those of ``layers`` for which a few gradients give it exactly.

    Where logits are affine in the weight W of a layer while all else stands still, the layer's
    block of the Hessian is that of the Gauss-Newton matrix, 1/n Σ_i J_iᵀ A_i J_i with
    A_i = ∂²ℓ_i/∂z² = Σ_r s_r v_r v_rᵀ. With G the gradient of ⟨v_r, z_i⟩ by W, which is Δ Uᵀ
    of what arrives at the layer's output and what its weights saw,

        κ = 1/n Σ_i Σ_r s_r ‖Wᵀ G‖² = 1/n Σ_i Σ_r s_r ‖(Wᵀ Δ) Uᵀ‖² .

    That is so for the layer that returns the logits, of every network, and for all layers of
    networks that are proven piecewise linear (``exact_trace``) and have at most 257 classes;
    always provided that the weight enters in this one place.

    Args:
        context: The network and its data.
        layers: Some of ``weight_layers(context)``.

    Returns:
        κ by name of the weight; layers it cannot be given for are left out.
    """
    wanted = {id(layer.module): layer for layer in layers}
    try:
        mixing = mixing_layers(context)
    except MeasureError:  # logits of one example depend on others: nothing is exact
        return {}
    sums: dict[str, float] = {}
    few = context.classes - 1 <= MOST_SQUARES
    for inputs, labels in context.batches("train"):
        limit = examples_at_a_time(context)
        for x, y in zip(torch.split(inputs, limit), torch.split(labels, limit), strict=True):
            with torch.enable_grad(), tapped(context.model) as taps:
                logits = context.forward(x)
            chosen = [
                tap
                for tap in usable_taps(logits, taps)
                if id(tap.module) in wanted
                and id(tap.module) not in mixing
                and (_returns(logits, tap) or (few and proof(context).proven))
            ]
            for tap, value in zip(chosen, _sums(context, logits, y, chosen), strict=True):
                name = wanted[id(tap.module)].name
                sums[name] = sums.get(name, 0.0) + value
    return {name: value / context.n_examples("train") for name, value in sums.items()}


def _returns(logits: Tensor, tap: Tap) -> bool:
    """Whether the logits are what this linear layer returned."""
    return (
        isinstance(tap.module, nn.Linear)
        and tap.edge is not None
        and tap.edge.node is logits.grad_fn
    )


def _sums(context: MeasureContext, logits: Tensor, labels: Tensor, taps: list[Tap]) -> list[float]:
    """Σ_i Σ_r s_r ‖(Wᵀ Δ) Uᵀ‖² of each tap."""
    edges = [tap.edge for tap in taps if tap.edge is not None]
    layers = [tap.module for tap in taps if not isinstance(tap.module, BatchNorm)]
    norms = [AffineNorms(layer, tap.inputs) for layer, tap in zip(layers, taps, strict=True)]
    for columns, signs in loss_hessian(context.loss, logits.detach(), labels) if taps else ():
        for r, column in enumerate(columns):
            deltas = torch.autograd.grad(logits, edges, column, retain_graph=True)
            for layer, accumulator, delta in zip(layers, norms, deltas, strict=True):
                accumulator.add(_pulled_back(layer, delta), None if signs is None else signs[r])
    return [accumulator.weight().sum(dtype=torch.float64).item() for accumulator in norms]


def _pulled_back(layer: AffineLayer, delta: Tensor) -> Tensor:
    """Wᵀ Δ, laid out as Δ is."""
    matrices = weight_matrices(layer)
    if isinstance(layer, nn.Linear):
        return delta @ matrices[0]
    grouped = delta.reshape(len(delta), len(matrices), matrices.shape[1], -1)
    return (matrices.mT @ grouped).flatten(1, 2)


def estimated_relative_flatness(
    context: MeasureContext,
    layers: Sequence[WeightLayer],
    *,
    probes: int = 256,
    relative_error: float = 0.05,
) -> dict[str, TraceEstimate]:
    """κ of each layer, unbiased, from one Hessian-vector product per probe for all together.

    With C Cᵀ = W Wᵀ and R of independent entries ±1, the rows of V = C R have
    E V_sj V_s'j' = ⟨w_s, w_s'⟩ δ_jj', so that E vec(V)ᵀ H vec(V) = κ. Probes of different
    layers are independent, so that ⟨V_l, (H V)_l⟩ is unbiased for each. The R depend on the
    probes' seed, the layer and the probe's number alone, and are common to all checkpoints.

    Args:
        context: The network and its data.
        layers: Some of ``weight_layers(context)``.
        probes: Most probes to use, at least 2.
        relative_error: Stop once each standard error is at most this times its estimate.

    Returns:
        The estimates by name of the weight.
    """
    factors = {layer.name: _factor(weight_matrices(layer.module)) for layer in layers}

    def sample(index: int) -> list[float]:
        directions = [torch.zeros_like(p) for p in context.parameters.values()]
        for name, direction in zip(context.parameters, directions, strict=True):
            if name in factors:
                direction.copy_(_probe(context, name, index, factors[name], direction))
        product = context.hessian_vector_product(context.flatten(directions))
        pairs = zip(context.parameters, directions, context.unflatten(product), strict=True)
        forms = {name: (v * hv).sum(dtype=torch.float64).item() for name, v, hv in pairs}
        return [forms[name] for name in factors]

    estimates = probe_means(sample, probes=probes, relative_error=relative_error)
    return dict(zip(factors, estimates, strict=True))


def _factor(matrices: Tensor) -> Tensor:
    """C with C Cᵀ = W Wᵀ in each group: W itself, or what has fewer columns."""
    outputs, inputs = matrices.shape[1:]
    if inputs <= outputs or not matrices.isfinite().all():
        return matrices
    # The symmetric root, as it changes little when W does.
    values, vectors = torch.linalg.eigh((matrices @ matrices.mT).to(torch.float64))
    root: Tensor = vectors * values.clamp_min(0).sqrt()[:, None, :] @ vectors.mT
    return root.to(matrices.dtype)


def _probe(context: MeasureContext, name: str, index: int, factor: Tensor, like: Tensor) -> Tensor:
    groups, _, rank = factor.shape
    inputs = like.numel() // (groups * factor.shape[1])
    generator = context.generator("relative_flatness", name, index)
    bits = torch.randint(0, 2, (groups, rank, inputs), generator=generator)
    signs = (bits * 2 - 1).to(device=factor.device, dtype=factor.dtype)
    return (factor @ signs).reshape(like.shape)


class RelativeFlatness(Measure, options=RelativeFlatnessOptions):
    """κ_l = Σ_{s,s'} ⟨w_s, w_s'⟩ tr(H_{s,s'}), with w_s the rows of one layer's weights.

    H_{s,s'} is the block ∂²L/∂w_s∂w_s' of the Hessian of the mean training loss. Despite its
    name large values are sharp. A convolution's kernel counts as the matrix with one row per
    output channel, groups apart. Biases have no part in it.

    The variant ``last`` is the layer called last, usually the one that returns the logits, for
    which the theory is stated (a linear layer on fixed features); ``layers: all`` adds the
    variants ``layer_1``, ``layer_2`` … in the order of the calls. It is exact, without standard
    error, for the layer that returns the logits and for all layers of networks of at most 257
    classes that are proven piecewise linear; otherwise estimated from random probes.

    Invariances: it does not change under rescaling of layers that leaves the function as it is
    (W_l → α W_l with the next layer divided by α); it changes with the scale of logits. Lower
    is flatter. For a single linear layer without bias under cross-entropy it is at least the
    Fisher-Rao norm, as θᵀFθ = vec(W)ᵀ H vec(W), with equality for a single input. Cost: exact
    for ``last`` about one pass; exact for all layers classes − 1 gradients; estimated about 2
    gradients per probe.

    Raises:
        MeasureError: If a single probe is allowed.
    """

    needs = frozenset({"gradient_graph"})
    requires = SECOND_DERIVATIVES
    version = 3
    entries = (
        CatalogEntry(
            measure="relative_flatness",
            family="flatness",
            symbol="Σ_{s,s'} ⟨w_s, w_s'⟩ tr(H_{s,s'})",
            unit="loss",
            direction="lower",
            citation="Petzka et al., arXiv:2001.00939",
            cost="1 F where exact, otherwise about 2 G per probe",
            invariances="layer rescaling",
        ),
    )

    def __init__(self, options: RelativeFlatnessOptions) -> None:
        if options.probes < 2:
            raise MeasureError(
                "relative_flatness: one probe has no standard error, expected at least 2 probes"
            )
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the last layer's value, then each layer's if asked for."""
        layers = weight_layers(context)
        if not layers:
            reason = "no linear layer or convolution with trainable weights reaches the logits"
            yield Value("relative_flatness", nan, variant="last", reason=reason)
            return
        chosen = layers if self.options.layers == "all" else layers[-1:]
        exact = exact_relative_flatness(context, chosen)
        rest = [layer for layer in chosen if layer.name not in exact]
        estimates = self._estimates(context, rest) if rest else {}
        numbered = {f"layer_{rank}": layer for rank, layer in enumerate(layers, 1)}
        variants = {"last": layers[-1]} | (numbered if self.options.layers == "all" else {})
        for variant, layer in variants.items():
            if layer.name in exact:
                yield _value(exact[layer.name], None, variant)
            else:
                estimate = estimates[layer.name]
                yield _value(estimate.value, estimate.standard_error, variant)

    def _estimates(
        self, context: MeasureContext, layers: list[WeightLayer]
    ) -> dict[str, TraceEstimate]:
        return estimated_relative_flatness(
            context,
            layers,
            probes=self.options.probes,
            relative_error=self.options.relative_error,
        )


def _value(value: float, error: float | None, variant: str) -> Value:
    reason = None if isfinite(value) else "the loss has no finite curvature at these weights"
    return Value("relative_flatness", value, error, variant, reason=reason)
