"""Networks with an accuracy to lose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures.context import MeasureContext
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset


class ThresholdClassifier(nn.Module):
    """Logits (w − x, 0): class 0 where x < w."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.weight - x, torch.zeros_like(x)], 1)


def threshold_context(weight: float, points: Tensor, seed: int = 0) -> MeasureContext:
    """Examples at ``points``, all of class 0: w classifies those below it rightly."""
    x = points[:, None].double()
    y = torch.zeros(len(x), dtype=torch.int64)
    data = Dataset("points", x, y, x[:1], y[:1], 2, "hash")
    model = ThresholdClassifier(weight)
    return MeasureContext(
        model, data, CROSS_ENTROPY, seed=seed, initial_state={"weight": torch.zeros(1)}
    )


def accurate_context(model: nn.Module | str, seed: int = 0, **options: Any) -> MeasureContext:
    """A network, or the case of that name, on 40 random examples that it classifies rightly."""
    subject = case("mlp" if isinstance(model, nn.Module) else model)
    network = model if isinstance(model, nn.Module) else subject.model(seed)
    data = random_dataset(subject.input_shape, 40, subject.classes, seed)
    with torch.no_grad():
        kind = next(network.parameters()).dtype
        labels = network.eval()(data.train_x.to(kind)).argmax(1)
    return MeasureContext(network, replace(data, train_y=labels), CROSS_ENTROPY, **options)


def trained_context(name: str, steps: int = 150) -> MeasureContext:
    """The case of that name, trained to classify its examples with confidence."""
    context = accurate_context(name)
    optimizer = torch.optim.Adam(context.parameters.values(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        x, y = next(context.data.batches("train"))
        CROSS_ENTROPY.per_example(context.model(x), y).mean().backward()
        optimizer.step()
    optimizer.zero_grad()
    return context


class Exponential(nn.Module):
    """An activation that overflows soon, after which logits are no numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


def overflowing() -> nn.Module:
    """A network whose logits are NaN under large changes of its weights, in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), Exponential(), nn.Linear(6, 3))
