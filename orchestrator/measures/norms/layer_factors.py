"""The factors that each layer contributes to the products of norms over a network.

A network computes z = f_L(… f_1(x)). The products Π ‖W_l‖₂ and Π ‖W_l‖_F run over the layers
that one forward pass actually calls, each as often as it is called:

- linear layers: norms of the weight matrix;
- convolutions: the operator norm at the image size they receive (``operator_norm``) and the
  Frobenius norm of the kernel;
- batch normalization in eval mode is the diagonal map x ↦ γ / sqrt(σ² + ε) · x + …, and counts
  with that map's norm max_c |γ_c| / sqrt(σ_c² + ε_c) in both products. Scaling the weights in
  front of it together with its statistics therefore leaves both products unchanged;
- layers that normalize by the statistics of their own input (group, layer, RMS normalization)
  count with the norm of their learned scale, max |γ|. They have no such invariance, and the
  product is then not a Lipschitz constant;
- PReLU counts with max(1, max |a|).

Biases, other activations, pooling, skip connections and constants by which ``forward`` multiplies
count as 1. The products are undefined, and the row gives the reason, if the logits depend on one
of these:

- a parameter of any other kind of layer;
- a parameter used outside the calls of its layer (a weight used once more in ``F.linear``);
- hooks that change inputs or outputs of modules.

Layers with tied weights count as separate layers: the weight counts once per call.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.derivatives import graph_nodes
from orchestrator.measures.norms.hooks import hooks_change_logits
from orchestrator.measures.norms.operator_norm import convolution_norm, matrix_norm

_Statistics = (_BatchNorm, _InstanceNorm)
_OwnStatistics = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_HINT = "use only normalizations: [raw, logit_norm, total_variation]"
_Known = (nn.Linear, _ConvNd, *_Statistics, *_OwnStatistics, nn.PReLU)


@dataclass(frozen=True)
class LayerFactor:
    """The two norms of one call of one layer.

    Attributes:
        name: The layer's name in the network.
        spectral: Factor of the spectral product.
        frobenius: Factor of the Frobenius product.
        input_shape: Shape of one input.
        output_shape: Shape of one output.
    """

    name: str
    spectral: float
    frobenius: float
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def layer_factors(context: MeasureContext) -> tuple[LayerFactor, ...]:
    """Return the factors of every layer call in one forward pass, in the order of the calls.

    Raises:
        MeasureError: If logits depend on a parameter outside the known kinds of layers.
    """
    return context.shared("layer_factors", lambda: tuple(_factors(context)))


@dataclass(frozen=True)
class WeightLayer:
    """One call of a linear layer or convolution, with its change since before training.

    Attributes:
        factor: Norms of the layer.
        module: The layer.
        change: W − W₀, float64, shape of the weight; None where W₀ is not known.
    """

    factor: LayerFactor
    module: nn.Linear | _ConvNd
    change: Tensor | None


def matrix_layers(context: MeasureContext) -> list[WeightLayer]:
    """Return the calls of ``layer_factors`` whose layer has a weight matrix or kernel.

    Raises:
        MeasureError: As ``layer_factors``.
    """
    found = []
    for factor in layer_factors(context):
        module = context.model.get_submodule(factor.name)
        if isinstance(module, nn.Linear | _ConvNd):
            before = _initial_weight(context, factor.name)
            change = None
            if before is not None and before.shape == module.weight.shape:
                weight = module.weight.detach().to(torch.float64)
                change = weight - before.to(device=weight.device, dtype=torch.float64)
            found.append(WeightLayer(factor, module, change))
    return found


def _initial_weight(context: MeasureContext, layer: str) -> Tensor | None:
    """Return the weight of a layer before training; None if it is not known."""
    initial = context.initial_state
    if initial is None:
        return None
    name = f"{layer}.weight".removeprefix(".")  # The layer may be the whole network.
    if name in initial:
        return initial[name]
    # The layer computes its weight from its own parameters, as with weight normalization.
    network = context.shared("initial_network", lambda: _initial_network(context))
    weight = getattr(network.get_submodule(layer), "weight", None) if network else None
    return weight.detach() if isinstance(weight, Tensor) else None


def _initial_network(context: MeasureContext) -> nn.Module | None:
    """Return a copy of the network in its state before training; None if that does not fit."""
    inputs, _ = next(context.data.batches("train"))
    try:
        network = deepcopy(context.model)
        network.load_state_dict(dict(context.initial_state or {}))
        with torch.no_grad():
            network(inputs[:2].clone())  # Hooks that set weights do so in a pass.
    except RuntimeError:  # Names or shapes differ.
        return None
    return network


def spectral_product(context: MeasureContext) -> float:
    """Return Π_l ‖W_l‖₂.

    Raises:
        MeasureError: As ``layer_factors``.
    """
    return prod(factor.spectral for factor in layer_factors(context))


def frobenius_product(context: MeasureContext) -> float:
    """Return Π_l ‖W_l‖_F.

    Raises:
        MeasureError: As ``layer_factors``.
    """
    return prod(factor.frobenius for factor in layer_factors(context))


def _factors(context: MeasureContext) -> Iterator[LayerFactor]:
    if hooks_change_logits(context):
        raise MeasureError(
            "the products of norms are undefined for this network: hooks on its modules change "
            "its function, so its weights do not determine it",
            _HINT,
        )
    calls, unknown = _trace(context)
    if unknown:
        owner = type(context.model.get_submodule(unknown[0].rpartition(".")[0])).__name__
        raise MeasureError(
            f"the products of norms are undefined for this network: parameter {unknown[0]!r} "
            f"of {owner} is used outside linear, convolution, normalization and PReLU layers "
            f"of PyTorch",
            _HINT,
        )
    names = {id(module): name for name, module in context.model.named_modules()}
    found: dict[tuple[int, tuple[int, ...]], LayerFactor] = {}
    for module, shape, output_shape in calls:
        call = (id(module), shape)
        if call not in found:
            norms = _norms(module, shape)
            found[call] = LayerFactor(names[id(module)], *norms, shape, output_shape)
        yield found[call]


_Call = tuple[nn.Module, tuple[int, ...], tuple[int, ...]]


def _trace(context: MeasureContext) -> tuple[list[_Call], list[str]]:
    """Return the calls of known kinds of layers, and names of parameters used outside them.

    During these calls no parameter requires a gradient. Any parameter left in the graph of the
    logits, frozen ones included, is therefore used elsewhere.
    """
    calls: list[_Call] = []
    used: set[int] = set()

    def detach(module: nn.Module, inputs: Any) -> None:
        for parameter in module.parameters():
            parameter.requires_grad_(False)

    def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for parameter in module.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.append((module, tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))
        else:  # The input is a keyword argument.
            used.update(map(id, module.parameters()))

    parameters = dict(context.model.named_parameters())
    trainable = {name: parameter.requires_grad for name, parameter in parameters.items()}
    known = [module for module in context.model.modules() if _is_known(module)]
    # Prepended, as the network's own hooks may compute a layer's weight from other parameters.
    hooks = [module.register_forward_pre_hook(detach, prepend=True) for module in known]
    hooks += [module.register_forward_hook(record) for module in known]
    inputs, _ = next(context.data.batches("train"))
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.enable_grad():
            logits = context.forward(inputs[:2])
    finally:
        for hook in hooks:
            hook.remove()
        for name, parameter in parameters.items():
            parameter.requires_grad_(trainable[name])
    used |= {id(node.variable) for node in graph_nodes(logits) if hasattr(node, "variable")}
    return calls, [name for name, parameter in parameters.items() if id(parameter) in used]


def _is_known(module: nn.Module) -> bool:
    """Whether a layer is of a known kind and computes the same as PyTorch's own class."""
    if not isinstance(module, _Known) or "forward" in vars(module):
        return False
    if type(module).__call__ is not nn.Module.__call__:
        return False
    methods = (getattr(type(module), name, None) for name in ("forward", "_conv_forward"))
    return all(m is None or m.__module__.startswith("torch.nn.modules.") for m in methods)


def _norms(module: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the spectral and the Frobenius factor of a layer of a known kind."""
    if isinstance(module, nn.Linear):
        return matrix_norm(module.weight), _frobenius(module.weight)
    if isinstance(module, _ConvNd):
        return convolution_norm(module, shape), _frobenius(module.weight)
    scale = _scale(module)
    return scale, scale


def _frobenius(weight: Tensor) -> float:
    return float(torch.linalg.vector_norm(weight.detach(), dtype=torch.float64))


def _scale(module: Any) -> float:
    """Return the norm of the diagonal map that a normalization or PReLU layer applies."""
    weight = getattr(module, "weight", None)
    scale = torch.ones(1) if weight is None else weight.detach().abs()
    scale = scale.to(torch.float64)
    if isinstance(module, nn.PReLU):
        return max(1.0, float(scale.max()))
    if isinstance(module, _Statistics) and module.running_var is not None:
        deviation = (module.running_var.to(torch.float64) + module.eps).sqrt()
        scale = scale.to(deviation.device) / deviation
    return float(scale.max())
