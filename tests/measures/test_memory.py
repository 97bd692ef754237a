from __future__ import annotations

import torch
from torch import nn

from orchestrator.measures.memory import graph_bytes_per_example


def test_only_memory_that_grows_with_the_examples_is_counted() -> None:
    """Per example the product keeps x and exp its result; the weight does not grow."""
    weight = nn.Parameter(torch.ones(10, dtype=torch.float64))

    def differentiate(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x * weight).exp() * 2.0 + weight.exp().sum()

    found = graph_bytes_per_example(differentiate, torch.ones(1, 10).double(), torch.zeros(1))
    kept_by_product, kept_by_exp = 10 * 8, 10 * 8
    assert found == kept_by_product + kept_by_exp


def test_counted_memory_grows_with_the_network() -> None:
    def of(width: int) -> int:
        model = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))

        def differentiate(x: torch.Tensor, y: torch.Tensor) -> object:
            loss = nn.functional.cross_entropy(model(x), y)
            return torch.autograd.grad(loss, list(model.parameters()), create_graph=True)

        return graph_bytes_per_example(differentiate, torch.ones(4, 5), torch.zeros(4).long())

    narrow, wide, wider = of(10), of(1000), of(2000)
    assert narrow < wide < wider
    assert 2 * 1000 * 4 < wider - wide < 20 * 1000 * 4
