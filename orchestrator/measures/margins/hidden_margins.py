"""First-order distances to the decision boundary in the spaces of hidden layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, nan, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.example_axis import (
    FEW,
    follow_examples,
    probe_examples,
    separate_rows,
)
from orchestrator.measures.margins.output_margins import margins
from orchestrator.measures.rounding import FAR, UNSTEADY, set_by_rounding, shaken, unresolved
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.margins import HiddenMarginOptions

_QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75}
_HIGHER: Direction = "higher"
_NEUTRAL: Direction = "neutral"
_SPREAD = " (total_variation)"
_NOT_HIDDEN = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.MultiheadAttention)


@dataclass(frozen=True)
class HiddenMargins:
    """Margins of all measured training examples at one layer.

    Attributes:
        distances: d_i = (z_y − z_j) / ‖∇_h (z_y − z_j)‖_*, shape ``(n,)``, float64.
        total_variation: sqrt(Σ_k Var_i h_k), the spread of the layer's outputs.
    """

    distances: Tensor
    total_variation: float


def hidden_margins(
    context: MeasureContext, norm: str = "l2", layers: Sequence[str] | None = None
) -> list[HiddenMargins]:
    """Return the first-order margins of every hidden layer, from one backward pass.

    Class j is the runner-up, i.e. the class with the largest other logit, and ‖·‖_* is the dual
    of the distance norm (Elsayed et al., arXiv:1803.05598; Jiang et al., arXiv:1810.00113, eq. 3).
    Distances are negative for misclassified examples, and infinite where the gradient is zero, as
    behind a layer whose units are all inactive.

    Args:
        context: The network and its training examples.
        norm: Norm of the distance, ``l2`` or ``linf``.
        layers: Names of the modules whose outputs are used, in the order of their calls; by
            default the modules of PyTorch's activation classes.

    Returns:
        One entry per call of such a module, in order.

    Raises:
        MeasureError: If the network has only one class or no such module, if a named module does
            not exist, or if a module does not return one output per example.
    """
    modules = _modules(context, layers)
    distances: list[list[Tensor]] = []
    spreads: list[_Spread] = []
    for x, y in context.data.batches("train"):
        outputs, found = _of_pass(context, x, y, norm, modules)
        if not distances:
            distances, spreads = [[] for _ in outputs], [_Spread() for _ in outputs]
        for place, (output, of_layer) in enumerate(zip(outputs, found, strict=True)):
            distances[place].append(of_layer)
            spreads[place].add(output)
    return [
        HiddenMargins(torch.cat(parts), spread.total_variation)
        for parts, spread in zip(distances, spreads, strict=True)
    ]


def _modules(context: MeasureContext, layers: Sequence[str] | None) -> list[nn.Module]:
    named = dict(context.model.named_modules())
    if layers is not None:
        for name in layers:
            if name not in named:
                raise MeasureError(
                    f"hidden_margin: the network has no module {name!r}",
                    f"available: {', '.join(filter(None, named))}",
                )
        return [named[name] for name in layers]
    return [
        module
        for module in named.values()
        if type(module).__module__ == "torch.nn.modules.activation"
        and not isinstance(module, _NOT_HIDDEN)
    ]


def _of_pass(
    context: MeasureContext, x: Tensor, y: Tensor, norm: str, modules: list[nn.Module]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the outputs and distances of each layer for one pass."""
    logits, calls = _called(context, x, modules)
    lead = margins(logits.detach(), y)
    _require_rows(context, calls, len(x), [module for module, _ in _shown(context, modules)])
    outputs = [output for _, output in calls]
    gradients = _gradients(logits, y, outputs)
    unknown = set_by_rounding(context, x, logits)
    found = []
    again: list[Tensor] = []
    for number, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
        slope = _lengths(gradient, norm)
        sizes = output.detach().flatten(1).to(torch.float64)
        reach = torch.linalg.vector_norm(sizes, ord=2.0 if norm == "l2" else inf, dim=1).max()
        slope[unresolved(slope, reach, logits)] = 0
        far = (lead.abs() > FAR * reach * slope) & (slope > 0) & (reach > 0)
        if far.any():
            if not again:
                shaken_logits, shaken_calls = _called(context, shaken(x), modules)
                again = _gradients(shaken_logits, y, [one for _, one in shaken_calls])
            slope[far & (_lengths(gradient - again[number], norm) > UNSTEADY * slope)] = 0
        distances = torch.where(lead == 0, torch.zeros_like(lead), lead / slope)
        found.append(distances.masked_fill(unknown, nan))
    return [output.detach() for output in outputs], found


def _gradients(logits: Tensor, y: Tensor, outputs: list[Tensor]) -> list[Tensor]:
    """Return the gradient of the labels' lead with respect to each output."""
    with torch.enable_grad():
        own = logits.gather(1, y[:, None])[:, 0]
        other = logits.scatter(1, y[:, None], -inf).amax(dim=1)
        return list(torch.autograd.grad((own - other).sum(), outputs, materialize_grads=True))


def _lengths(gradient: Tensor, norm: str) -> Tensor:
    """Return the dual norm of each example's gradient, in float64."""
    flat = gradient.flatten(1).to(torch.float64)
    found: Tensor = torch.linalg.vector_norm(flat, ord=2.0 if norm == "l2" else 1.0, dim=1)
    return found


_Call = tuple[nn.Module, Tensor]


def _called(
    context: MeasureContext, x: Tensor, modules: list[nn.Module]
) -> tuple[Tensor, list[_Call]]:
    """Return the logits, and the output of every call of ``modules`` in the logits' graph."""
    calls: list[_Call] = []

    def record(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            raise _refused(context, module, "does not return a tensor of real numbers")
        kept = output.clone()
        if not kept.requires_grad:  # All layers before it are frozen.
            kept.requires_grad_()
        calls.append((module, kept))
        return kept.clone()  # Later layers may modify it in place.

    hooks = [module.register_forward_hook(record) for module in modules]
    try:
        with torch.enable_grad():
            logits = context.forward(x)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, calls


def _shown(context: MeasureContext, modules: list[nn.Module]) -> list[_Call]:
    """Return the calls of a pass over real examples, checked to return one row per example.

    Raises:
        MeasureError: If a call does not, or no module is called.
    """

    def compute() -> list[_Call]:
        x, _ = probe_examples(context)
        logits, calls = _called(context, x, modules)
        _, fewer = _called(context, x[:FEW], modules)
        if not calls:
            raise MeasureError(
                "hidden_margin: no activation is called as a module", "set layers: [...]"
            )
        _require_rows(context, fewer, FEW, [module for module, _ in calls])
        shapes = zip(calls, fewer, strict=True)
        shown = [follow_examples(one.shape, other.shape) for (_, one), (_, other) in shapes]
        separate = separate_rows(logits, [output for _, output in calls]) if all(shown) else shown
        for (module, _), rows in zip(calls, separate, strict=True):
            if not rows:
                raise _refused(context, module, "does not return one output per example")
        return calls

    return context.shared(("hidden_layers", tuple(map(id, modules))), compute)


def _require_rows(
    context: MeasureContext, calls: list[_Call], n: int, expected: list[nn.Module]
) -> None:
    """Refuse a pass whose layer calls differ from ``expected`` or do not have all ``n`` rows."""
    called = [module for module, _ in calls]
    for module in [*called, *expected]:
        if called.count(module) != expected.count(module):
            raise _refused(context, module, "is not called the same number of times in every pass")
    for module, output in calls:
        if output.ndim == 0 or len(output) != n:
            raise _refused(context, module, "does not return one output per example")


def _refused(context: MeasureContext, module: nn.Module, what: str) -> MeasureError:
    names = {id(one): name for name, one in context.model.named_modules()}
    return MeasureError(
        f"hidden_margin: layer {names[id(module)]!r} ({type(module).__name__}) {what}, so "
        f"distances in its space are undefined",
        "set layers: [...] to layers that process every example once",
    )


class _Spread:
    """Sum Σ_k Var_i h_k over passes, by the pairwise update of Chan, Golub and LeVeque 1983."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares = 0.0

    def add(self, output: Tensor) -> None:
        h = output.flatten(1).to(torch.float64)
        n, mean = len(h), h.mean(dim=0)
        self.squares += float((h - mean).square().sum())
        if self.mean is None:
            self.mean, self.count = mean, n
            return
        total, step = self.count + n, mean - self.mean
        self.squares += float(step.square().sum()) * self.count * n / total
        self.mean, self.count = self.mean + step * (n / total), total

    @property
    def total_variation(self) -> float:
        return sqrt(self.squares / self.count)


class HiddenMargin(Measure, options=HiddenMarginOptions):
    """The signature of the margin distribution at each hidden layer.

    The layers are the activation calls in order. The variants ``layer_1``, ``layer_2`` … are the
    distances themselves. The variants ``layer_1 total_variation`` … are the distances divided by
    the spread of the layer's outputs, sqrt(Σ_k Var_i h_k) (Jiang et al., arXiv:1810.00113,
    eq. 5). On the training split:

    - ``hidden_margin_p10``, ``_p25``, ``_median``, ``_p75``: order statistics, in which infinite
      distances keep their rank;
    - ``hidden_margin_lower_fence`` and ``_upper_fence``: p25 − 1.5 (p75 − p25) and
      p75 + 1.5 (p75 − p25), NaN if p75 is infinite; with the quartiles they form the signature;
    - ``hidden_margin_min``;
    - ``hidden_margin_infinite_share``: share of examples for which nothing at that layer moves
      the logits. They are counted but never averaged.

    Invariances: divided by the spread, distances do not change under rescaling of layers. Neither
    variant changes with the scale of logits or when units are permuted. Higher is expected to be
    better. Cost: one forward and one backward pass for all layers together.
    """

    version = 3
    entries = tuple(
        CatalogEntry(
            measure=f"hidden_margin_{name}",
            family="margin",
            symbol=symbol,
            unit="1" if name == "infinite_share" else "activation",
            direction=direction,
            citation="Jiang et al., arXiv:1810.00113, eq. 3 and 5",
            cost="1 G for all layers",
            invariances=f"layer rescaling{condition}, logit scale",
        )
        for name, symbol, direction, condition in (
            *((name, f"{name} of d_l", _HIGHER, _SPREAD) for name in (*_QUANTILES, "min")),
            ("lower_fence", "Q1 − 1.5 IQR of d_l", _HIGHER, _SPREAD),
            ("upper_fence", "Q3 + 1.5 IQR of d_l", _HIGHER, _SPREAD),
            ("infinite_share", "Pr[d_l = ∞]", _NEUTRAL, ""),
        )
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: HiddenMarginOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the signature of each layer, raw and over its spread.

        Raises:
            MeasureError: If the network has only one class, a named module does not exist, or a
                layer does not return one output per example.
        """
        modules = _modules(context, self.options.layers)
        if not modules:
            margins(context.logits("train"), context.data.labels("train"))  # Raises for one class.
            for entry in self.entries:
                reason = "no activation is called as a module; set layers: [...]"
                yield Value(entry.measure, nan, reason=reason)
            return
        layers = hidden_margins(context, self.options.norm, self.options.layers)
        for number, layer in enumerate(layers, start=1):
            yield from _signature(layer.distances, f"layer_{number}", None)
            spread = layer.total_variation
            constant = None if spread else "the layer's outputs are the same for all examples"
            relative = layer.distances / spread if spread else layer.distances * nan
            yield from _signature(relative, f"layer_{number} total_variation", constant)


def _signature(distances: Tensor, variant: str, reason: str | None) -> Iterator[Value]:
    value = partial(Value, variant=variant)
    array = distances.cpu().numpy()
    missing = int(np.isnan(array).sum())
    if missing:
        why = reason or f"{missing} of {len(array)} distances are NaN"
        for entry in HiddenMargin.entries:
            yield value(entry.measure, nan, reason=why)
        return
    quantile = {
        name: float(np.quantile(array, share, method="inverted_cdf"))
        for name, share in _QUANTILES.items()
    }
    spread = quantile["p75"] - quantile["p25"] if isfinite(quantile["p75"]) else nan
    found = {
        **quantile,
        "min": float(array.min()),
        "lower_fence": quantile["p25"] - 1.5 * spread,
        "upper_fence": quantile["p75"] + 1.5 * spread,
        "infinite_share": float(np.isposinf(array).mean()),
    }
    unmoved = (
        f"for a share of {found['infinite_share']:.3g} of the examples, nothing moves the logits"
    )
    for name, number in found.items():
        why_not = None if isfinite(number) else unmoved
        yield value(f"hidden_margin_{name}", number, reason=why_not)
