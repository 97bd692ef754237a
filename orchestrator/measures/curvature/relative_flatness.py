"""Relative flatness of layers: curvature weighted by the weights, independent of their scale."""

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
    """Return κ for those of ``layers`` for which a few gradients give it exactly.

    If logits are affine in the weight W of a layer with all else fixed, the layer's block of the
    Hessian is that of the Gauss-Newton matrix, 1/n Σ_i J_iᵀ A_i J_i with
    A_i = ∂²ℓ_i/∂z² = Σ_r s_r v_r v_rᵀ. Let G be the gradient of ⟨v_r, z_i⟩ with respect to W. It
    equals Δ Uᵀ, with Δ the gradient at the layer's output and U the inputs of its weights, so

        κ = 1/n Σ_i Σ_r s_r ‖Wᵀ G‖² = 1/n Σ_i Σ_r s_r ‖(Wᵀ Δ) Uᵀ‖² .

    This applies to the layer that returns the logits, in every network. It also applies to all
    layers of networks that are proven piecewise linear (``exact_trace``) and have at most 257
    classes. In both cases the weight must be used in this one place only.

    Args:
        context: The network and its data.
        layers: Layers from ``weight_layers(context)``.

    Returns:
        κ by weight name; layers without an exact value are omitted.
    """
    wanted = {id(layer.module): layer for layer in layers}
    try:
        mixing = mixing_layers(context)
    except MeasureError:  # Logits depend on other examples: nothing is exact.
        return {}
    sums: dict[str, float] = {}
    few = context.classes - 1 <= MOST_SQUARES
    for inputs, labels in context.data.batches("train"):
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
    return {name: value / context.data.n_examples("train") for name, value in sums.items()}


def _returns(logits: Tensor, tap: Tap) -> bool:
    """Whether the logits are the output of this linear layer."""
    return (
        isinstance(tap.module, nn.Linear)
        and tap.edge is not None
        and tap.edge.node is logits.grad_fn
    )


def _sums(context: MeasureContext, logits: Tensor, labels: Tensor, taps: list[Tap]) -> list[float]:
    """Return Σ_i Σ_r s_r ‖(Wᵀ Δ) Uᵀ‖² of each tap."""
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
    """Return Wᵀ Δ in the layout of Δ."""
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
    """Estimate κ of all layers, unbiased, from one joint Hessian-vector product per probe.

    With C Cᵀ = W Wᵀ and R of independent entries ±1, the rows of V = C R have
    E V_sj V_s'j' = ⟨w_s, w_s'⟩ δ_jj', so E vec(V)ᵀ H vec(V) = κ. Probes of different layers are
    independent, so ⟨V_l, (H V)_l⟩ is unbiased for each layer. R depends only on the probes' seed,
    the layer and the probe's number, and is the same for all checkpoints.

    Args:
        context: The network and its data.
        layers: Layers from ``weight_layers(context)``.
        probes: Maximum number of probes, at least 2.
        relative_error: Stop once each standard error is at most this times its estimate.

    Returns:
        The estimates by weight name.
    """
    factors = {layer.name: _factor(weight_matrices(layer.module)) for layer in layers}

    def sample(index: int) -> list[float]:
        directions = [torch.zeros_like(p) for p in context.parameters.values()]
        for name, direction in zip(context.parameters, directions, strict=True):
            if name in factors:
                direction.copy_(_probe(context, name, index, factors[name], direction))
        product = context.hessian @ context.flatten(directions)
        pairs = zip(context.parameters, directions, context.unflatten(product), strict=True)
        forms = {name: (v * hv).sum(dtype=torch.float64).item() for name, v, hv in pairs}
        return [forms[name] for name in factors]

    estimates = probe_means(sample, probes=probes, relative_error=relative_error)
    return dict(zip(factors, estimates, strict=True))


def _factor(matrices: Tensor) -> Tensor:
    """Return C with C Cᵀ = W Wᵀ in each group: W, or a matrix with fewer columns."""
    outputs, inputs = matrices.shape[1:]
    if inputs <= outputs or not matrices.isfinite().all():
        return matrices
    # The symmetric root changes little when W changes little.
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

    H_{s,s'} is the block ∂²L/∂w_s∂w_s' of the Hessian of the mean training loss. Despite the
    name, large values are sharp. A convolution's kernel is treated as a matrix with one row per
    output channel, separately per group. Biases are excluded.

    The variant ``last`` is the layer called last, usually the one that returns the logits. The
    theory is stated for this layer (a linear layer on fixed features). ``layers: all`` adds the
    variants ``layer_1``, ``layer_2`` … in call order. The value is exact, without standard
    error, for the layer that returns the logits, and for all layers of networks with at most 257
    classes that are proven piecewise linear. Otherwise it is estimated from random probes.

    Invariances: unchanged under rescaling of layers that preserves the function (W_l → α W_l
    with the next layer divided by α); changes with the scale of logits. Lower is flatter. For a
    single linear layer without bias under cross-entropy, it is at least the Fisher-Rao norm, as
    θᵀFθ = vec(W)ᵀ H vec(W), with equality for a single input. Cost: about one pass for an exact
    ``last``, classes − 1 gradients for exact values of all layers, and about 2 gradients per
    probe for estimates.

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
        """Yield the last layer's value, then each layer's if requested."""
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
