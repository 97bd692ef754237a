"""Linear classifiers and networks whose distances to the boundary are known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures import MeasureContext
from tests.measures.cases import CROSS_ENTROPY

# The runner-up of an input near the origin is class 1, but class 2 is nearer: its weight differs
# more from that of class 0.
RUNNER_UP_WEIGHT = torch.tensor([[1.0, 0.0], [0.8, 0.0], [-9.0, 0.0]])
RUNNER_UP_BIAS = torch.tensor([1.0, 0.5, 0.0])


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear classifier with these weights, shape ``(classes, inputs)``."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def context_of(model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> MeasureContext:
    """Training and test split are the same examples."""
    with torch.no_grad():
        classes = model(x[:2].to(next(model.parameters()))).shape[1]
    data = Dataset("given", x, y, x, y, classes, "hash")
    return MeasureContext(model, data, CROSS_ENTROPY, **options)


def random_linear(seed: int = 0, n: int = 40, **options: Any) -> MeasureContext:
    """A random linear classifier of three classes in five dimensions, about half of it right."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 5, generator=generator)
    x = torch.randn(n, 5, generator=generator)
    y = torch.where(
        torch.rand(n, generator=generator) < 0.7,
        (x @ weight.T).argmax(dim=1),
        torch.randint(0, 3, (n,), generator=generator),
    )
    return context_of(linear(weight, torch.zeros(3)), x, y, **options)


def exact_distances(context: MeasureContext, norm: str) -> Tensor:
    """Of a linear classifier: min_j (z_y − z_j) / ‖w_y − w_j‖_*, in float64."""
    layer = context.model
    assert isinstance(layer, nn.Linear)
    x, y = context.data("train")
    weight, z = layer.weight.detach().double(), layer(x.to(context.dtype)).detach().double()
    found = torch.full((len(y),), torch.inf, dtype=torch.float64)
    for i in range(len(y)):
        for j in range(len(weight)):
            if j != y[i]:
                slope = weight[y[i]] - weight[j]
                size = slope.norm() if norm == "l2" else slope.abs().sum()
                found[i] = min(found[i], (z[i, y[i]] - z[i, j]) / size)
    return found


def half_dead() -> MeasureContext:
    """A ReLU network of one input that is constant for x < 0: nothing flips there nearby."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 3))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[2].weight.copy_(torch.tensor([[-1.0], [1.0], [0.0]]))
        model[2].bias.copy_(torch.tensor([1.0, 0.0, -5.0]))
    # For x > 0 the margin of class 0 is 1 − 2x: the boundary is at 0.5.
    x = torch.tensor([[-3.0], [-2.0], [0.1], [0.3]])
    return context_of(model, x, torch.zeros(4, dtype=torch.int64))
