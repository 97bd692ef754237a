"""Whether the rules of layers compute what a network computes, on a few of its examples.

A traced graph may miss code that affects passes or derivatives (``torch.no_grad``, branches on
types). Rules are therefore used only if logits, gradient and a Hessian product of few examples
agree with those that automatic differentiation finds in the network itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from orchestrator.errors import error_text
from orchestrator.measures.double_backward import DoubleBackward
from orchestrator.measures.layer_rules.layer_call import UnknownLayerError
from orchestrator.measures.layer_rules.layer_network import LayerNetwork
from orchestrator.measures.layer_rules.network_pass import NetworkPass
from orchestrator.measures.memory import is_out_of_memory
from orchestrator.measures.network_state import unchanged
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.models.wrappers import eagerly
from orchestrator.training.process_guard import left_as_found

logger = logging.getLogger(__name__)

EXAMPLES = 16


def verified_network(
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    loss: PerExampleLoss,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
) -> LayerNetwork | None:
    """Return the network as layers with rules; None if it is not known or they disagree.

    Args:
        model: Network in eval mode; not modified.
        parameters: Its trainable parameters by name, in the order of flat vectors.
        loss: Loss of each example.
        forward: Function from inputs to the network's own differentiable logits.
        inputs: Examples as the network takes them, of which ``EXAMPLES`` are used.
        labels: Their labels.
    """
    few = min(len(labels), EXAMPLES)
    chosen = torch.arange(few, device=labels.device) * len(labels) // few
    try:
        with left_as_found(functions=False), unchanged(model), eagerly():
            network = LayerNetwork(model, parameters)
            _verify(network, parameters, loss, forward, inputs[chosen], labels[chosen])
    except Exception as error:  # User code runs here and may raise anything.
        if isinstance(error, torch.AcceleratorError) or is_out_of_memory(error):
            raise
        logger.debug("the network is differentiated as a whole: %s", error_text(error))
        return None
    return network


def _verify(
    network: LayerNetwork,
    parameters: Mapping[str, nn.Parameter],
    loss: PerExampleLoss,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
) -> None:
    tensors = list(parameters.values())
    sizes = [parameter.numel() for parameter in tensors]
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, sum(sizes), generator=generator, dtype=torch.float64)
    rows = rows.to(tensors[0])
    for n in {len(inputs), 1}:
        x, y = inputs[:n], labels[:n]
        by_rules = NetworkPass(network, x, y, loss, n)
        with torch.enable_grad():
            logits = forward(x)
            scalar = loss.per_example(logits, y).sum() / n
        whole = DoubleBackward(scalar, tensors)
        _require_agreement("logits", [by_rules.logits], [logits.detach()])
        _require_agreement("gradient", *(torch.split(p.gradient, sizes) for p in (by_rules, whole)))
        for found, expected in zip(by_rules.hessian(rows), whole.hessian(rows), strict=True):
            _require_agreement(
                "Hessian product", torch.split(found, sizes), torch.split(expected, sizes)
            )


def _require_agreement(
    what: str, found: list[Tensor] | tuple[Tensor, ...], expected: list[Tensor] | tuple[Tensor, ...]
) -> None:
    """Require equality up to rounding, relative to each part or, less, to all of them."""
    rounding = torch.finfo(expected[0].dtype).eps
    whole = torch.stack([_norm(part) for part in expected]).norm()
    for one, other in zip(found, expected, strict=True):
        allowed = max(rounding**0.5 * _norm(other), rounding**0.75 * whole)
        if one.dtype != other.dtype or not _norm(one - other) <= allowed:  # Also if it is NaN.
            raise UnknownLayerError(f"the {what} by rules of layers differs")


def _norm(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values)
    return norm
