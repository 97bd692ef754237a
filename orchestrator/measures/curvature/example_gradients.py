"""Squared per-example gradient norms for every network, without storing gradients.

For linear layers, convolutions and batch normalizations that are called once, the norms follow from
the layer's input and the gradient at its output (``gradient_norms``). This takes one backward pass
for all examples. For all other parameters (layer normalization, a weight used twice, a plain
``nn.Parameter``) they are computed from per-example gradients by ``torch.func.vmap``, which is
slower but always correct. If ``torch.func`` cannot batch an operation (LSTM, GRU), examples are
processed one at a time.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.func import grad, vmap

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.layer_taps import Tap, mixing_layers, tapped, usable_taps
from orchestrator.measures.curvature.loss_hessian import (
    MOST_SQUARES,
    LossHessian,
)
from orchestrator.measures.derivatives import gradients
from orchestrator.measures.memory import is_out_of_memory
from orchestrator.measures.precise_loss import is_cross_entropy

logger = logging.getLogger(__name__)

# Numbers in memory at a time: about the CPU caches, and enough to keep another device busy.
NUMBERS_ON_CPU = 2**21
_NUMBERS_ON_DEVICE = 2**27

Columns = Callable[[Tensor, Tensor], Iterable[LossHessian]]


def squared_gradient_norms(context: MeasureContext, columns: Columns) -> dict[str, Tensor]:
    """Return Σ_r s_ri ‖∇_θ ⟨v_ri, z_i⟩‖² of each training example i, per parameter.

    Args:
        context: The network and its data.
        columns: Function from detached logits ``(n, classes)`` and labels ``(n,)`` of a few
            examples to the vectors v, shape ``(r, n, classes)``, and their signs s, part by part.
            It is called for the examples in order.

    Returns:
        For each name in ``context.parameters``, a float64 tensor of shape ``(n,)``. Parameters
        that the logits do not depend on have zeros.

    Raises:
        MeasureError: If logits of one example depend on others.
    """
    mixing_layers(context)  # First: it raises the error for networks that mix examples.
    sums: defaultdict[str, list[Tensor]] = defaultdict(list)
    limit = examples_at_a_time(context)
    for inputs, labels in context.data.batches("train"):
        for x, y in zip(torch.split(inputs, limit), torch.split(labels, limit), strict=True):
            for name, of_examples in _norms(context, x, y, columns).items():
                sums[name].append(of_examples.to(torch.float64))
    return {name: torch.cat(sums[name]) for name in context.parameters}


def _norms(context: MeasureContext, x: Tensor, y: Tensor, columns: Columns) -> dict[str, Tensor]:
    """Return the sums for a few examples, by parameter name."""
    mixing = mixing_layers(context)
    with torch.enable_grad(), tapped(context.model) as taps:
        logits = context.forward(x)
    used = [tap for tap in usable_taps(logits, taps) if id(tap.module) not in mixing]
    found = {name: logits.new_zeros(len(x)) for name in context.parameters}
    loose = _loose_parameters(context, logits, used)
    norms = [tap.norms() for tap in used]
    edges = [tap.edge for tap in used if tap.edge is not None]
    for chosen in columns(logits.detach(), y):
        if loose:
            for name, sums in _of_loose_parameters(context, x, chosen, loose).items():
                found[name] += sums
        for r, column in enumerate(chosen.columns if used else ()):
            sign = None if chosen.signs is None else chosen.signs[r]
            deltas = torch.autograd.grad(
                logits, edges, column, retain_graph=True, allow_unused=True
            )
            for accumulator, delta in zip(norms, deltas, strict=True):
                if delta is not None:
                    accumulator.add(delta, sign)
    names = {id(parameter): name for name, parameter in context.parameters.items()}
    for tap, accumulator in zip(used, norms, strict=True):
        squares = accumulator.squared_norms()
        for name, parameter in tap.module.named_parameters():
            if id(parameter) in names:
                found[names[id(parameter)]] = squares[name]
    return found


def examples_at_a_time(context: MeasureContext) -> int:
    """Return the number of examples to process together so that their data fits the caches."""
    inputs, _ = next(context.data.batches("train"))
    with torch.enable_grad(), tapped(context.model) as taps:
        logits = context.forward(inputs[:1])
    usable = usable_taps(logits, taps)
    numbers = sum(tap.outputs + tap.inputs.numel() + tap.norms().numbers for tap in usable)
    if context.classes - 1 <= MOST_SQUARES and not is_cross_entropy(context.loss):
        numbers = max(numbers, context.classes**2)  # Its Hessian in the logits is formed.
    limit = NUMBERS_ON_CPU if context.device.type == "cpu" else _NUMBERS_ON_DEVICE
    return max(1, limit // max(1, numbers))


def _loose_parameters(
    context: MeasureContext, logits: Tensor, taps: list[Tap]
) -> dict[str, Tensor]:
    """Return the parameters that logits depend on and that no tap covers."""
    covered = {id(parameter) for tap in taps for parameter in tap.module.parameters()}
    others = {name: p for name, p in context.parameters.items() if id(p) not in covered}
    if not others or not logits.requires_grad:
        return {}
    gradients = torch.autograd.grad(
        logits.sum(), list(others.values()), retain_graph=True, allow_unused=True
    )
    pairs = zip(others.items(), gradients, strict=True)
    return {name: p.detach() for (name, p), gradient in pairs if gradient is not None}


def _of_loose_parameters(
    context: MeasureContext, x: Tensor, chosen: LossHessian, loose: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the sums for ``loose`` parameters, from per-example gradients."""
    try:
        return _together(context, x, chosen, loose)
    except RuntimeError as error:
        if isinstance(error, torch.AcceleratorError) or is_out_of_memory(error):
            raise
        # torch.func cannot batch every operation (LSTM, GRU, branches by an example's value).
        logger.debug("computing per-example gradients one at a time: %s", error)
    return _one_by_one(context, x, chosen, loose)


def _together(
    context: MeasureContext, x: Tensor, chosen: LossHessian, loose: dict[str, Tensor]
) -> dict[str, Tensor]:
    def squares(one: Tensor, column: Tensor) -> dict[str, Tensor]:
        def output(values: dict[str, Tensor]) -> Tensor:
            return (context.forward(one[None], values)[0] * column).sum()

        return {name: g.square().sum() for name, g in grad(output)(loose).items()}

    together = max(1, NUMBERS_ON_CPU // sum(values.numel() for values in loose.values()))
    sums = {name: chosen.columns.new_zeros(len(x)) for name in loose}
    # One column at a time: torch cannot nest vmap around the derivative of PReLU.
    for r, column in enumerate(chosen.columns):
        sign = 1.0 if chosen.signs is None else chosen.signs[r]
        with torch.no_grad():  # ``grad`` builds its own graph inside.
            of_column = vmap(squares, chunk_size=together)(x, column)
        for name, values in of_column.items():
            sums[name] += values * sign
    return sums


def _one_by_one(
    context: MeasureContext, x: Tensor, chosen: LossHessian, loose: dict[str, Tensor]
) -> dict[str, Tensor]:
    parameters = [context.parameters[name] for name in loose]
    sums = chosen.columns.new_zeros(len(loose), len(x))
    for i in range(len(x)):
        with torch.enable_grad():
            logits = context.forward(x[i : i + 1])
        for r, column in enumerate(chosen.columns if logits.requires_grad else ()):
            sign = 1.0 if chosen.signs is None else chosen.signs[r, i]
            found = gradients([logits], [column[i : i + 1]], parameters, retain_graph=True)
            sums[:, i] += torch.stack([g.square().sum() for g in found]) * sign
    return dict(zip(loose, sums, strict=True))
