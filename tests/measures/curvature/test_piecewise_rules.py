"""Each operation between two linear layers: accepted and then really right, or refused."""

import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orchestrator.measures.curvature.exact_trace import exact_trace, proof
from orchestrator.measures.curvature.piecewise_linear import prove_piecewise_linear
from tests.measures.cases import Case
from tests.measures.references import dense_hessian

WIDTH = 4


class Between(nn.Module):
    """linear → operation → flatten → linear, on values of shape ``(n, *shape)``.

    ``w`` and ``v`` are parameters for the operation, ``c`` a constant.
    """

    def __init__(self, operation, shape=(WIDTH,), outputs=WIDTH):
        super().__init__()
        self.first = nn.Linear(5, torch.Size(shape).numel())
        self.shape = shape
        self.w = nn.Parameter(torch.linspace(0.5, 1.5, WIDTH))
        self.v = nn.Parameter(torch.linspace(-1.0, 1.0, WIDTH))
        self.register_buffer("c", torch.linspace(-1.0, 2.0, WIDTH))
        self.last = nn.Linear(outputs, 3)
        self.operation = operation

    def forward(self, x):
        x = self.first(x).unflatten(1, self.shape)
        return self.last(self.operation(self, x).flatten(1))


def context_of(operation, shape=(WIDTH,), outputs=WIDTH):
    return Case("between", lambda: Between(operation, shape, outputs)).context()


ENTRYWISE = {
    "relu": lambda m, x: F.relu(x),
    "torch.relu": lambda m, x: torch.relu(x),
    "method relu": lambda m, x: x.relu(),
    "in place": lambda m, x: F.relu(x, inplace=True),
    "leaky": lambda m, x: F.leaky_relu(x, 0.2),
    "relu6": lambda m, x: F.relu6(10 * x),
    "hardtanh": lambda m, x: F.hardtanh(x),
    "threshold": lambda m, x: F.threshold(x, 0.1, 0.0),
    "clamp": lambda m, x: x.clamp(-0.3, 0.4),
    "abs": lambda m, x: x.abs(),
    "negative": lambda m, x: -x,
    "dropout": lambda m, x: F.dropout(x, 0.5, m.training),
    "prelu": lambda m, x: F.prelu(x, m.w),
    "add constant": lambda m, x: x + m.c + 1,
    "subtract from one": lambda m, x: 1 - x,
    "add parameter": lambda m, x: F.relu(x + m.w),
    "scale by constant": lambda m, x: F.relu(x * m.c) / 3,
    "scale by parameter": lambda m, x: F.relu(x * m.w),
    "scale by two parameters": lambda m, x: F.relu(x * (m.w * m.v)),
    "scale by the size of a parameter": lambda m, x: F.relu(x * m.v.abs()),
    "scale and shift": lambda m, x: torch.add(torch.mul(x, m.w), m.v),
    "residual": lambda m, x: x + F.relu(x),
    "twice": lambda m, x: F.relu(x) - 0.5 * F.relu(-x),
    "maximum": lambda m, x: torch.maximum(x, m.c - x),
    "linear": lambda m, x: F.linear(x, m.w.reshape(4, 1) * m.c, m.v),
    "matmul": lambda m, x: x @ (m.w.reshape(4, 1) * m.c),
    "clone": lambda m, x: x.clone().contiguous(),
    "shape of a parameter": lambda m, x: x.reshape(-1, m.w.shape[0]) + m.w,
}
SHAPED = {
    "view": ((2, 6), 12, lambda m, x: F.relu(x.view(x.size(0), -1))),
    "view inferring the batch": ((2, 6), 12, lambda m, x: F.relu(x.view(-1, 12))),
    "reshape": ((2, 6), 12, lambda m, x: F.relu(x.reshape(x.shape[0], 3, 4))),
    "flatten": ((2, 6), 12, lambda m, x: F.relu(torch.flatten(x, 1))),
    "permute": ((2, 3, 2), 12, lambda m, x: F.relu(x.permute(0, 3, 1, 2))),
    "permute a tuple": ((2, 3, 2), 12, lambda m, x: F.relu(x.permute((0, 2, 3, 1)))),
    "transpose": ((2, 6), 12, lambda m, x: F.relu(x.transpose(1, -1))),
    "unsqueeze": ((2, 6), 12, lambda m, x: F.relu(x.unsqueeze(1)).squeeze(1)),
    "unsqueeze at the end": ((2, 6), 12, lambda m, x: F.relu(x.unsqueeze(-1)).squeeze(-1)),
    "slices": ((3, 4, 4), 12, lambda m, x: F.relu(x[:, :, ::2, 1:3])),
    "channel": ((3, 4), 4, lambda m, x: F.relu(x[:, 1])),
    "mean": ((3, 4), 4, lambda m, x: F.relu(x).mean(dim=1)),
    "mean of two axes": ((3, 2, 2), 3, lambda m, x: F.relu(x).mean((2, 3))),
    "mean of last": ((3, 2, 2), 6, lambda m, x: torch.mean(F.relu(x), -1)),
    "sum": ((3, 4), 4, lambda m, x: F.relu(x).sum(1, keepdim=True)),
    "largest": ((3, 4), 4, lambda m, x: x.amax(1)),
    "concatenation": ((4,), 8, lambda m, x: F.relu(torch.cat([x, 2 * F.relu(x)], dim=1))),
    "padding": ((2, 4), 12, lambda m, x: F.relu(F.pad(x, (1, 1)))),
    "max_pool1d": ((2, 6), 6, lambda m, x: F.max_pool1d(x, 2)),
    "max_pool2d": ((1, 4, 4), 4, lambda m, x: F.max_pool2d(x, 2)),
    "avg_pool2d": ((1, 4, 4), 4, lambda m, x: F.relu(F.avg_pool2d(x, 2))),
    "adaptive_avg_pool2d": ((2, 4, 4), 2, lambda m, x: F.adaptive_avg_pool2d(F.relu(x), 1)),
    "adaptive_max_pool2d": ((2, 4, 4), 2, lambda m, x: F.adaptive_max_pool2d(x, 1)),
    "conv2d": ((1, 4, 4), 9, lambda m, x: F.relu(F.conv2d(x, m.w.reshape(1, 1, 2, 2)))),
    "conv1d": ((2, 4), 6, lambda m, x: F.relu(F.conv1d(x, m.w.reshape(2, 1, 2), groups=2))),
    "linear on an axis": ((3, 4), 12, lambda m, x: F.relu(F.linear(x, m.w.reshape(4, 1) * m.c))),
}


@pytest.mark.parametrize("operation", ENTRYWISE.values(), ids=ENTRYWISE)
def test_accepted_operations_are_exact(operation):
    check_right(context_of(operation))


@pytest.mark.parametrize(("shape", "outputs", "operation"), SHAPED.values(), ids=SHAPED)
def test_accepted_operations_on_shapes_are_exact(shape, outputs, operation):
    check_right(context_of(operation, shape, outputs))


def check_right(context):
    assert proof(context).reason == ""
    expected = dense_hessian(context).trace().item()
    assert exact_trace(context).total == pytest.approx(expected, rel=1e-10)


NOT_LINEAR = "isn't known to be piecewise linear"
TWICE = "enters in more than one place"
MIXES = "mixes different examples"
AXES = "isn't restricted to axes after the example axis"
TWO_ACTIVATIONS = "multiplies two values that depend on the input"

REFUSED = {
    "tanh": (NOT_LINEAR, lambda m, x: torch.tanh(x)),
    "gelu": (NOT_LINEAR, lambda m, x: F.gelu(x)),
    "softmax": (NOT_LINEAR, lambda m, x: x.softmax(1)),
    "square": (NOT_LINEAR, lambda m, x: x**2),
    "root": (NOT_LINEAR, lambda m, x: x.abs().sqrt()),
    "layer_norm": (NOT_LINEAR, lambda m, x: F.layer_norm(x, (4,))),
    "batch_norm": (NOT_LINEAR, lambda m, x: F.batch_norm(x, None, None, training=True)),
    "tanh of a parameter": (NOT_LINEAR, lambda m, x: x * torch.tanh(m.w)),
    "reciprocal parameter": ("divides by a value", lambda m, x: x / m.w),
    "reciprocal activation": ("divides by a value", lambda m, x: 1 / x),
    "normalized activation": ("divides by a value", lambda m, x: x / x.sum(1, keepdim=True)),
    "gate": (TWO_ACTIVATIONS, lambda m, x: x * F.relu(x)),
    "gate in place": (TWO_ACTIVATIONS, lambda m, x: operator.imul(F.relu(x), x)),
    "attention": (AXES, lambda m, x: x.transpose(0, 1) @ x),
    "transposed matrix": (NOT_LINEAR, lambda m, x: x.T @ x),
    "weights made of the input": (TWO_ACTIVATIONS, lambda m, x: F.linear(x, x[:, :])),
    "parameter twice": (TWICE, lambda m, x: F.relu(x * m.w) + m.w),
    "parameter squared": (TWICE, lambda m, x: x * (m.w * m.w)),
    "parameter through a copy": (TWICE, lambda m, x: apply_twice(x, 2 * m.w)),
    "layer twice": (TWICE, lambda m, x: F.linear(m.last(x), m.w.reshape(4, 1) * m.c[:3])),
    "mean over examples": (AXES, lambda m, x: x - x.mean(0)),
    "mean over everything": (AXES, lambda m, x: x - x.mean()),
    "mean over examples from behind": (AXES, lambda m, x: x - x.mean(-2)),
    "largest of everything": (AXES, lambda m, x: x + torch.amax(x, (0, 1))),
    "permuted examples": (AXES, lambda m, x: x.permute(1, 0)),
    "transposed examples": (AXES, lambda m, x: x.transpose(0, 1)),
    "stacked examples": (AXES, lambda m, x: torch.cat([x, x])[:3]),
    "squeezed by chance": (AXES, lambda m, x: x.unsqueeze(1).squeeze()),
    "new first axis": (AXES, lambda m, x: x.unsqueeze(0)),
    "folded examples": (MIXES, lambda m, x: x.reshape(2, -1)),
    "flattened examples": (MIXES, lambda m, x: x.flatten()),
    "one example": ("selects among the examples", lambda m, x: x[0:1] + x),
    "shifted examples": ("adds examples", lambda m, x: F.pad(x, (0, 0, 1, -1))),
    "picked by the input": (NOT_LINEAR, lambda m, x: x[:, x.argmax(1)]),
    "values of the first axis": (MIXES, lambda m, x: x[:, :3] + x[:, 0]),
    "parameter for each example": ("has a parameter for each", lambda m, x: x + m.last.weight),
    "dropout": ("is in training mode", lambda m, x: F.dropout(x, 0.5)),
    "options made of the input": ("has options", lambda m, x: x.clamp(min=x)),
    "detached parameter": (NOT_LINEAR, lambda m, x: x * m.w.detach()),
    "data-dependent size": (NOT_LINEAR, lambda m, x: x * x.numel()),
}


def apply_twice(x, weight):
    return F.relu(x * weight) * weight


@pytest.mark.parametrize(("reason", "operation"), REFUSED.values(), ids=REFUSED)
def test_refused_operations_give_their_reason(reason, operation):
    # Of the module alone: not all of them give logits.
    outcome = prove_piecewise_linear(Between(operation).eval(), torch.randn(14, 5))
    assert not outcome.proven
    assert reason in outcome.reason
