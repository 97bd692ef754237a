"""The path norm of a ReLU network."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan, sqrt
from typing import Any

import torch
from torch import Tensor, fx, nn

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import proof
from orchestrator.models.shared_tensors import copy_with_ties
from orchestrator.study.measure_options.norms import PathNormOptions

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_MODULES = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_BATCH_NORMS),
    *(nn.ReLU, nn.Identity, nn.Flatten, nn.Unflatten),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
)
_POOLING = {f"{kind}_pool{axes}d" for kind in ("max", "avg") for axes in (1, 2, 3)}
_FUNCTIONS = {
    *("relu", "relu_", "dropout", "linear", "conv1d", "conv2d", "conv3d", "add", "add_"),
    *("mean", "sum", "amax", "squeeze", "unsqueeze", "cat", "concat", "getitem", "getattr"),
    *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "contiguous", "clone"),
    *("size", "dim"),
    *(_POOLING | {f"adaptive_{name}" for name in _POOLING}),
}


def path_norm(context: MeasureContext) -> float:
    """Return √(Σ Π w²), summed over all paths from an input or a bias to a logit.

    It is computed by squaring every parameter, passing an input of ones through the network and
    summing over the logits. Biases are weights of a unit that is always 1. Batch normalization in
    eval mode is a layer of weights γ / sqrt(σ² + ε) and biases β − μ γ / sqrt(σ² + ε). This is
    the same as folding it into the preceding layer, if that has no bias of its own.

    Raises:
        MeasureError: If the network is not proven to consist of linear layers, convolutions,
            batch normalization, ReLU, pooling, sums and rearrangements, with each parameter used
            once.
    """
    return context.shared("path_norm", lambda: _path_norm(context))


class PathNorm(Measure, options=PathNormOptions):
    """√ Σ_paths Π_{w on the path} w², the path norm with p = 2.

    Without pooling the sum runs over all paths. Pooling is kept as it is, as in equation 44 of
    arXiv:1912.02178: max pooling takes the largest of its sums, average pooling their mean. If it
    is undefined (activations other than ReLU, normalization by a sample's own statistics, weights
    used twice), the value is NaN with the reason. The value is the root itself, not its square.

    Invariances: it does not change under function-preserving rescaling of the nodes of ReLU
    layers, nor with the scale of weights before a batch normalization in eval mode whose
    statistics follow. It scales with the logits. Lower is less complex. Cost: one forward pass of
    one example; only the shape of the data is used.
    """

    entries = (
        CatalogEntry(
            measure="path_norm",
            family="norm",
            symbol="√ Σ_paths Π w²",
            unit="1",
            direction="lower",
            citation="Neyshabur, Tomioka, Srebro, arXiv:1503.00036; arXiv:1912.02178, eq. 44",
            cost="1 F of one example",
            invariances="layer rescaling",
        ),
    )

    def __init__(self, options: PathNormOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the value."""
        try:
            value = path_norm(context)
        except MeasureError as error:
            yield Value("path_norm", nan, split=None, reason=error_text(error))
            return
        reason = None if isfinite(value) else "the sum over paths overflows or is NaN"
        yield Value("path_norm", value, split=None, reason=reason)


def _path_norm(context: MeasureContext) -> float:
    outcome = proof(context)
    reason = outcome.reason if not outcome.proven else _obstacle(context.model)
    if reason:
        raise MeasureError(f"the path norm is undefined for this network: {reason}")
    squared = copy_with_ties(context.model, "the network").to(torch.float64).requires_grad_(False)
    for module in squared.modules():
        if isinstance(module, _BATCH_NORMS):
            _become_a_layer(module)
    for parameter in squared.parameters():
        parameter.square_()
    inputs, _ = next(context.data.batches("train"))
    with torch.no_grad():
        total = squared(torch.ones_like(inputs[:1], dtype=torch.float64)).sum().item()
    return sqrt(total)


def _become_a_layer(module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    """Move the statistics of a batch normalization into its weight and bias."""
    assert module.running_mean is not None  # noqa: S101 - the proof requires it
    assert module.running_var is not None  # noqa: S101
    scale = (module.running_var + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight
    shift = -module.running_mean * scale
    if module.bias is not None:
        shift = shift + module.bias
    module.weight = nn.Parameter(scale, requires_grad=False)
    module.bias = nn.Parameter(shift, requires_grad=False)
    module.running_mean = torch.zeros_like(scale)
    # Some versions of PyTorch refuse an ε of zero, so the variance compensates for it.
    module.running_var = torch.ones_like(scale) - module.eps


def _obstacle(model: nn.Module) -> str:
    """Name the part of a proven network that the path norm does not support, or return ""."""
    modules = dict(model.named_modules())
    for node in fx.symbolic_trace(model).graph.nodes:
        if node.op == "call_module":
            module = modules[node.target]
            if type(module) not in _MODULES:
                return f"{type(module).__name__} (layer {node.target!r}) is not supported"
        elif node.op == "get_attr":
            if not isinstance(_attribute(model, node.target), nn.Parameter):
                return f"it uses the constant {node.target!r}"
        elif node.op in ("call_function", "call_method"):
            name = node.target if isinstance(node.target, str) else node.target.__name__
            if name not in _FUNCTIONS:
                return f"{name} (operation {node.name!r}) is not supported"
            if name in ("add", "add_") and not _adds_values(node):
                return f"{node.name!r} adds a constant"
    return ""


def _adds_values(node: fx.Node) -> bool:
    nodes = [argument for argument in node.args if isinstance(argument, fx.Node)]
    return len(nodes) == len(node.args) == 2 and not node.kwargs


def _attribute(model: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    found: Tensor | nn.Module = getattr(model.get_submodule(owner), name)
    return found
