"""Reparametrizations: other weights for the same function, to which measures should be invariant.

Units that can be rescaled or permuted are found by trial, not from the architecture: a pair of
layers qualifies if the network's logits on data do not change in float64. This also works for the
user's own networks. Layers that do not qualify stay unchanged, for example because of skip
connections around a layer, smooth activations, or statistics of a layer's own input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from orchestrator.measures.network import in_precision, measured_copy

TOLERANCE = 1e-9
"""Largest change of a logit, relative to the largest logit, that counts as rounding."""

_Normalization = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class HiddenUnits:
    """Units between two layers, with arbitrary scale and order.

    Attributes:
        makers: Names of the layer that outputs them and of the normalizations after it.
        user: Name of the layer that takes them as input.
    """

    makers: tuple[str, ...]
    user: str


def rescaled(model: nn.Module, inputs: Tensor, factor: float) -> tuple[nn.Module, int]:
    """Multiply a layer's outputs by α and the next layer's weights by 1/α (Dinh et al. 2017).

    Args:
        model: Any network; not modified.
        inputs: Examples to test on, of any floating type.
        factor: α > 0.

    Returns:
        A copy in float64 and eval mode, and the number of rescaled hidden layers, possibly 0.
    """

    def apply(network: nn.Module, units: HiddenUnits) -> None:
        _multiply(network.get_submodule(units.makers[-1]), ("weight", "bias"), factor)
        _multiply(network.get_submodule(units.user), ("weight",), 1 / factor)

    return _where_nothing_changes(model, inputs, apply)


def permuted(model: nn.Module, inputs: Tensor, seed: int = 0) -> tuple[nn.Module, int]:
    """Shuffle the units of hidden layers.

    Args:
        model: Any network; not modified.
        inputs: Examples to test on, of any floating type.
        seed: Seed of the permutations.

    Returns:
        A copy in float64 and eval mode, and the number of permuted hidden layers, possibly 0.
    """
    generator = torch.Generator().manual_seed(seed)

    def apply(network: nn.Module, units: HiddenUnits) -> None:
        maker: Any = network.get_submodule(units.makers[0])
        count = len(maker.weight)
        order = torch.randperm(count, generator=generator)
        for name in units.makers:
            module = network.get_submodule(name)
            for tensor in (*module.parameters(False), *module.buffers(False)):
                if tensor.ndim and len(tensor) == count:
                    tensor.copy_(tensor[order.to(tensor.device)])
        weight: Any = network.get_submodule(units.user).weight
        if weight.shape[1] % count == 0:  # After a flattening, each unit feeds several inputs.
            blocks = weight.unflatten(1, (count, -1))
            weight.copy_(blocks[:, order.to(weight.device)].flatten(1, 2))

    return _where_nothing_changes(model, inputs, apply)


def with_scaled_logits(model: nn.Module, inputs: Tensor, factor: float) -> nn.Module | None:
    """Multiply all logits by a factor by scaling the last layer.

    Args:
        model: Any network; not modified.
        inputs: Examples to test on, of any floating type.
        factor: c > 0.

    Returns:
        A copy in float64 and eval mode; None if the last layer does not scale the logits.
    """
    network, x = _prepared(model, inputs)
    layers = _called_layers(network, x)
    if not layers:
        return None
    with torch.no_grad():
        before = network(x.clone())
        _multiply(network.get_submodule(layers[-1]), ("weight", "bias"), factor)
        return network if _same(network(x.clone()), factor * before) else None


def _where_nothing_changes(
    model: nn.Module, inputs: Tensor, apply: Callable[[nn.Module, HiddenUnits], None]
) -> tuple[nn.Module, int]:
    network, x = _prepared(model, inputs)
    changed = 0
    with torch.no_grad():
        before = network(x.clone())
        for units in _hidden_units(network, _called_layers(network, x)):
            state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            apply(network, units)
            if _same(network(x.clone()), before):
                changed += 1
            else:
                network.load_state_dict(state)
    return network, changed


def _prepared(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    return measured_copy(model, dtype=torch.float64), in_precision(inputs, torch.float64)


def _hidden_units(network: nn.Module, layers: list[str]) -> list[HiddenUnits]:
    """Return each weight layer, the normalizations after it, and the next weight layer."""
    makes = [name for name in layers if not _is_normalization(network, name)]
    found = []
    for maker, user in pairwise(makes):
        behind = layers[layers.index(maker) + 1 :]
        norms = takewhile(lambda name: _is_normalization(network, name), behind)
        found.append(HiddenUnits((maker, *norms), user))
    return found


def _is_normalization(network: nn.Module, name: str) -> bool:
    return isinstance(network.get_submodule(name), _Normalization)


def _called_layers(network: nn.Module, x: Tensor) -> list[str]:
    """Return linear, convolution and normalization layers in the order of one forward pass.

    Layers that are called twice or share weights are excluded, because changing one use would
    also change the other.
    """
    known: dict[nn.Module, str] = {
        module: name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd, *_Normalization))
        and not isinstance(module, _ConvTransposeNd)
    }
    calls: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda called, *_: calls.append(called)) for module in known
    ]
    try:
        with torch.no_grad():
            network(x.clone())
    finally:
        for hook in hooks:
            hook.remove()
    owners: dict[int, int] = {}
    for module in known:
        for parameter in module.parameters(False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    return [
        known[module]
        for module in calls
        if calls.count(module) == 1
        and all(owners[id(parameter)] == 1 for parameter in module.parameters(False))
    ]


def _multiply(module: nn.Module, names: tuple[str, ...], factor: float) -> None:
    for name in names:
        tensor = getattr(module, name, None)
        if tensor is not None:  # The bias is optional.
            tensor.mul_(factor)


def _same(after: Tensor, before: Tensor) -> bool:
    largest = float(before.abs().max())
    return bool(torch.isfinite(after).all()) and float((after - before).abs().max()) <= (
        TOLERANCE * max(largest, 1e-300)
    )
