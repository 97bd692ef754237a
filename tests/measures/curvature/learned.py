"""A small network near a minimum, as snapshots are, where |λ_min| is far below λ_1."""

import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.measures.context import MeasureContext
from tests.measures.cases import CROSS_ENTROPY, mlp, random_dataset


def learned_context(activation=nn.ReLU, updates=200, **options):
    """5-8-3 on 40 examples of which the largest of three inputs is the class."""
    data = random_dataset((5,), 40, 3)
    data = Dataset(
        "largest",
        data.train_x,
        data.train_x[:, :3].argmax(1),
        data.test_x,
        data.test_x[:, :3].argmax(1),
        3,
        "hash",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp(5, 8, 3, activation=activation)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(updates):
        optimizer.zero_grad()
        CROSS_ENTROPY.per_example(model(data.train_x), data.train_y).mean().backward()
        optimizer.step()
    return MeasureContext(model, data, CROSS_ENTROPY, **options)
