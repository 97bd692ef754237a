"""Small networks and data sets that every kind of measure is tried on.

Each case has few enough parameters for a dense Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.study.training_options import CrossEntropyOptions, MseOptions
from orchestrator.training import build_loss

CROSS_ENTROPY = build_loss(CrossEntropyOptions())


class SquaredHinge:
    """Multi-class squared hinge loss: a user's own, with kinks in its gradient."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        true = logits.gather(1, labels[:, None])
        hinges = (1 - true + logits).clamp_min(0).square()
        return hinges.scatter(1, labels[:, None], 0).mean(1)


@dataclass(frozen=True)
class Case:
    """A network, data that fit it, and a loss.

    Attributes:
        name: Readable identity, for test ids.
        build: Makes the network; called under a fixed random seed.
        input_shape: Of one example.
        loss: The loss.
        piecewise_linear: Whether its logits are provably affine in each parameter tensor.
        examples: Training examples; half as many are for testing.
        classes: Number of classes.
        constant_labels: Whether every example has the label 0.
    """

    name: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...] = (5,)
    loss: PerExampleLoss = CROSS_ENTROPY
    piecewise_linear: bool = True
    examples: int = 14
    classes: int = 3
    constant_labels: bool = False

    def model(self, seed: int = 0) -> nn.Module:
        """The network, float32, in training mode, the same for equal seeds."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build()

    def dataset(self, seed: int = 0) -> Dataset:
        """Random examples and labels."""
        data = random_dataset(self.input_shape, self.examples, self.classes, seed)
        if not self.constant_labels:
            return data
        zeros = torch.zeros_like(data.train_y), torch.zeros_like(data.test_y)
        return replace(data, train_y=zeros[0], test_y=zeros[1])

    def context(self, **options: Any) -> MeasureContext:
        """The case, ready to measure."""
        return MeasureContext(self.model(), self.dataset(), self.loss, **options)


def random_dataset(
    input_shape: tuple[int, ...], examples: int, classes: int, seed: int = 0
) -> Dataset:
    """Gaussian inputs, uniform labels; test examples half as many, at least one."""
    generator = torch.Generator().manual_seed(seed)
    tests = max(1, examples // 2)
    x = torch.randn(examples + tests, *input_shape, generator=generator)
    y = torch.randint(0, classes, (examples + tests,), generator=generator)
    return Dataset(
        "random", x[:examples], y[:examples], x[examples:], y[examples:], classes, "hash"
    )


def classes_of(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """How many logits a network gives."""
    with torch.no_grad():
        inputs = torch.zeros(2, *input_shape, dtype=next(model.parameters()).dtype)
        logits: Tensor = deepcopy(model).eval()(inputs)
    return logits.shape[1]


def regression_context(model: nn.Module, data: Dataset, loss: PerExampleLoss) -> MeasureContext:
    """A context for a single output, which has closed forms but is no classifier."""
    with patch("orchestrator.measures.loss_surface.require_fitting"):
        return MeasureContext(model, data, loss)


def mlp(
    *sizes: int, activation: Callable[[], nn.Module] = nn.ReLU, bias: bool = True
) -> nn.Sequential:
    """Linear layers of ``sizes`` with an activation between each two."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), activation()]
    return nn.Sequential(*layers[:-1])


def certain() -> nn.Module:
    """So sure of class 0, whatever its weights, that its loss is exactly 0."""
    return nn.Sequential(mlp(5, 6, 1), nn.ConstantPad1d((0, 1), -1e6))


def cnn() -> nn.Module:
    """Two convolutions with max-pooling and padding, on 6 × 6 images."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2, stride=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


class Residual(nn.Module):
    """One convolutional block around a skip connection, then a mean over positions."""

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1, bias=not normalize)
        self.first = nn.Conv2d(3, 3, 3, padding=1, bias=not normalize)
        self.second = nn.Conv2d(3, 3, 3, padding=1, bias=not normalize)
        norms = [nn.BatchNorm2d(3) if normalize else nn.Identity() for _ in range(3)]
        self.norm0, self.norm1, self.norm2 = norms
        self.relu0, self.relu1, self.relu2 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(3, 3)
        randomize_batch_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu0(self.norm0(self.stem(x)))
        y = self.relu1(self.norm1(self.first(x)))
        x = self.relu2(self.norm2(self.second(y)) + x)
        return self.head(self.flatten(self.pool(x)))


def randomize_batch_norm(model: nn.Module) -> nn.Module:
    """Give every batch normalization scales, shifts and statistics as training would."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


class Tied(nn.Module):
    """Two hidden layers that share one weight matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.relu1 = nn.ReLU()
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.relu2 = nn.ReLU()
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu2(self.second(self.relu1(self.first(x)))))


class Unused(nn.Module):
    """A network with a layer that takes no part in its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.unused = nn.Linear(6, 6)
        self.relu = nn.ReLU()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.first(x)))


def saturated() -> nn.Module:
    """Logits so large that softmax is one-hot in float64."""
    model = mlp(5, 6, 3)
    with torch.no_grad():
        model[2].weight.mul_(1e4)
    return model


IMAGE = (1, 6, 6)

CASES = (
    Case("linear", lambda: nn.Linear(5, 3)),
    Case("mlp", lambda: mlp(5, 6, 4, 3)),
    Case("mlp_without_bias", lambda: mlp(5, 6, 4, 3, bias=False)),
    Case("leaky_relu", lambda: mlp(5, 6, 3, activation=nn.LeakyReLU)),
    Case("cnn", cnn, IMAGE),
    Case("residual", Residual, IMAGE),
    Case("residual_batch_norm", lambda: Residual(normalize=True), IMAGE),
    Case(
        "mlp_batch_norm",
        lambda: randomize_batch_norm(
            nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
        ),
    ),
    Case("unused_parameter", Unused),
    Case(
        "label_smoothing",
        lambda: mlp(5, 6, 3),
        loss=build_loss(CrossEntropyOptions(label_smoothing=0.1)),
    ),
    Case("mse", lambda: mlp(5, 6, 3), loss=build_loss(MseOptions(name="mse"))),
    Case("squared_hinge", lambda: mlp(5, 6, 3), loss=SquaredHinge()),
    Case("one_example", lambda: mlp(5, 6, 3), examples=1),
    Case("certain", certain, classes=2, constant_labels=True),
    Case("constant_labels", lambda: mlp(5, 6, 3), constant_labels=True),
    Case("saturated", saturated),
    Case("tanh", lambda: mlp(5, 6, 3, activation=nn.Tanh), piecewise_linear=False),
    Case("gelu", lambda: mlp(5, 6, 3, activation=nn.GELU), piecewise_linear=False),
    Case("tied", Tied, piecewise_linear=False),
    Case(
        "group_norm",
        lambda: nn.Sequential(nn.Linear(5, 6), nn.GroupNorm(2, 6), nn.ReLU(), nn.Linear(6, 3)),
        piecewise_linear=False,
    ),
)


def case(name: str) -> Case:
    """The case of that name."""
    return {case.name: case for case in CASES}[name]
