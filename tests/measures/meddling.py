"""Users' measures that change what they are handed, and networks that change by themselves."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.measures import MeasureContext


def meddles(context: MeasureContext, change: str) -> Iterator[Any]:
    {**CHANGES, **SILENT}[change](context)
    yield "meddled", 1.0


def draws(context: MeasureContext) -> Iterator[Any]:
    yield "drawn", torch.randn(()).item() + random.random() + np.random.uniform()


def moves_and_returns(context: MeasureContext) -> Iterator[Any]:
    """What is asked for in between is of another network."""
    with torch.no_grad():
        for parameter in context.model.parameters():
            parameter.data += 1
        moved = context.loss_value("train"), context.gradient("train").norm()
        for parameter in context.model.parameters():
            parameter.data -= 1
    yield "moved", moved[0]


def weights(context: MeasureContext) -> None:
    with torch.no_grad():
        for parameter in context.model.parameters():
            parameter.add_(0.1)


def weights_unnoticed(context: MeasureContext) -> None:
    next(context.model.parameters()).detach().numpy()[0] = 3.0


def weights_through_data(context: MeasureContext) -> None:
    next(context.model.parameters()).data.mul_(-1)


def sign_of_a_zero(context: MeasureContext) -> None:
    parameter = list(context.model.parameters())[-1]
    parameter.data.copysign_(torch.tensor(-1.0))


def weights_replaced(context: MeasureContext) -> None:
    layer = first_layer(context)
    layer.weight = nn.Parameter(layer.weight.detach() * 2)


def weights_reshaped(context: MeasureContext) -> None:
    first_layer(context).weight.data = torch.zeros(1, 1)


def pruned(context: MeasureContext) -> None:
    layer = first_layer(context)
    weight = layer.weight
    del layer.weight
    layer.weight = weight.detach() * 2


def precision(context: MeasureContext) -> None:
    context.model.half()


def training_mode(context: MeasureContext) -> None:
    context.model.train()


def one_mode(context: MeasureContext) -> None:
    list(context.model.modules())[-1].training = True


def running_statistics(context: MeasureContext) -> None:
    context.model.train()(context.data("train")[0].to(context.dtype))
    context.model.eval()


def buffer_replaced(context: MeasureContext) -> None:
    for module in context.model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean = module.running_mean + 1


def frozen(context: MeasureContext) -> None:
    next(context.model.parameters()).requires_grad_(False)


def hooked(context: MeasureContext) -> None:
    first_layer(context).register_forward_hook(lambda module, inputs, output: output * 2)


def hooked_before(context: MeasureContext) -> None:
    context.model.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))


def hooked_backward(context: MeasureContext) -> None:
    first_layer(context).register_full_backward_hook(lambda module, inputs, outputs: None)


def hooked_state(context: MeasureContext) -> None:
    context.model.register_state_dict_pre_hook(lambda *_: None)


def hooked_tensor(context: MeasureContext) -> None:
    next(context.model.parameters()).register_hook(lambda gradient: gradient * 2)


def layer_replaced(context: MeasureContext) -> None:
    context.model.add_module("0", nn.Linear(5, 6, dtype=context.dtype))


def layer_added(context: MeasureContext) -> None:
    context.model.append(nn.Softmax(dim=1))


def method_replaced(context: MeasureContext) -> None:
    layer = first_layer(context)
    layer.forward = lambda x: F.linear(x, -layer.weight)


def attribute(context: MeasureContext) -> None:
    for module in context.model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = 1.0


def parametrized(context: MeasureContext) -> None:
    nn.utils.parametrizations.weight_norm(first_layer(context))


def data(context: MeasureContext) -> None:
    context.data("train")[0].zero_()


def data_unnoticed(context: MeasureContext) -> None:
    context.data("test")[0].numpy()[:] = 1


def labels(context: MeasureContext) -> None:
    context.data.labels("train").fill_(0)


def logits(context: MeasureContext) -> None:
    context.logits("train").sub_(1)
    context.logits("test").zero_()


def logits_unnoticed(context: MeasureContext) -> None:
    values = context.logits("train").numpy()
    values[:] = values[::-1].copy()


def gradient(context: MeasureContext) -> None:
    context.gradient("train").clamp_(0, 1e-3)


def parameters(context: MeasureContext) -> None:
    context.parameters.popitem()


def another_model(context: MeasureContext) -> None:
    context.model = nn.Linear(5, 3, dtype=context.dtype)


def probes(context: MeasureContext) -> None:
    context.seed = 1


def default_dtype(context: MeasureContext) -> None:
    torch.set_default_dtype(torch.float64)


def threads(context: MeasureContext) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def gradient_mode(context: MeasureContext) -> None:
    torch.set_grad_enabled(False)


def patched(context: MeasureContext) -> None:
    F.linear = lambda x, weight, bias=None: x @ weight.T * 2


def global_hook(context: MeasureContext) -> None:
    nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)


# What does not let a measure's value stand, and the words that name it.
CHANGES: dict[str, Callable[[MeasureContext], None]] = {
    f"{name}: {function.__name__}": function
    for name, functions in {
        "weights (": (
            *(weights, weights_unnoticed, weights_through_data, sign_of_a_zero),
            *(weights_replaced, weights_reshaped, precision),
        ),
        "parameters registered in (": (pruned,),
        "training mode (": (training_mode, one_mode),
        "buffers (": (running_statistics, buffer_replaced),
        "requires_grad (": (frozen,),
        "hooks (": (hooked, hooked_before, hooked_backward, hooked_state, hooked_tensor),
        "modules registered in (": (layer_replaced, layer_added),
        "methods (": (method_replaced,),
        "attributes (": (attribute,),
        "class (": (parametrized,),
        "the data": (data, data_unnoticed, labels),
        "shared results (": (logits, logits_unnoticed, gradient),
        "the context's ": (parameters, another_model, probes),
        "the process: default dtype": (default_dtype,),
        "the process: threads": (threads,),
        "the process: gradient mode": (gradient_mode,),
        "the process: the function torch.nn.functional.linear": (patched,),
        "the process: hooks on all modules": (global_hook,),
    }.items()
    for function in functions
}


def backward(context: MeasureContext) -> None:
    context.loss.per_example(
        context.forward(context.data("train")[0].to(context.dtype)), context.data.labels("train")
    ).sum().backward()


def seeds(context: MeasureContext) -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)


def filters(context: MeasureContext) -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")


def to_and_fro(context: MeasureContext) -> None:
    with torch.no_grad():
        for parameter in context.model.parameters():
            before = parameter.clone()
            parameter.add_(1)
            parameter.copy_(before)


SILENT: dict[str, Callable[[MeasureContext], None]] = {
    function.__name__: function for function in (backward, seeds, filters, to_and_fro)
}


def first_layer(context: MeasureContext) -> Any:
    return next(module for module in context.model.modules() if isinstance(module, nn.Linear))


class ChangesByItself(nn.Module):
    """A network that counts its calls and keeps what it saw last."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.seen: list[int] = []
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.seen.append(len(x))
        self.last = x
        torch.set_float32_matmul_precision("high")
        logits: Tensor = self.linear(x)
        return logits


class MovesItself(nn.Module):
    """A network whose weights are others after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x)
        self.linear.weight.data.mul_(0.9)
        return logits
