"""Brute force: what the measures are compared with, written in the most direct way."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev

from orchestrator.data.dataset import Split
from orchestrator.measures.context import MeasureContext


def loss_of(context: MeasureContext, theta: Tensor, split: Split = "train") -> Tensor:
    """Mean loss as a function of the flat parameter vector, all examples at once."""
    parameters, start = {}, 0
    for name, parameter in context.parameters.items():
        end = start + parameter.numel()
        parameters[name] = theta[start:end].view_as(parameter)
        start = end
    x = torch.cat([x for x, _ in context.data.batches(split)])
    logits = functional_call(context.model, parameters, (x,))
    return context.loss.per_example(logits, context.data.labels(split)).mean()


def dense_gradient(context: MeasureContext, split: Split = "train") -> Tensor:
    """∇L, shape ``(P,)``."""
    theta = context.parameter_vector()
    return grad(lambda theta: loss_of(context, theta, split))(theta)


def dense_hessian(context: MeasureContext) -> Tensor:
    """∇²L of the training loss, shape ``(P, P)``."""
    # Reverse over reverse: the forward mode of torch.func.hessian still calls torch.jit.script,
    # which warns that it is deprecated.
    return jacrev(jacrev(lambda theta: loss_of(context, theta)))(context.parameter_vector())
