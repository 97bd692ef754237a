"""Networks whose layers all have rules, a kind of layer each, and networks that have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.measures.cases import Case, randomize_batch_norm

IMAGE = (2, 6, 5)
SIGNAL = (2, 7)
VOLUME = (1, 4, 3, 4)


class Written(nn.Module):
    """Layers called by a function."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def activations(*kinds: Callable[[], nn.Module]) -> list[Case]:
    return [
        Case(
            kind().__class__.__name__ + (" in place" if getattr(kind(), "inplace", False) else ""),
            lambda kind=kind: nn.Sequential(
                nn.Linear(5, 4), kind(), nn.Linear(4, 4), kind(), nn.Linear(4, 3)
            ),
        )
        for kind in kinds
    ]


def convolutional(name: str, shape: tuple[int, ...], *layers: Callable[[], nn.Module]) -> Case:
    """Layers from ``shape`` to two channels, then a linear layer on everything flat."""

    def build() -> nn.Module:
        front = randomize_batch_norm(nn.Sequential(*(layer() for layer in layers)))
        with torch.no_grad():
            size = front.eval()(torch.zeros(1, *shape)).numel()
        return nn.Sequential(front, nn.Flatten(), nn.Linear(size, 3))

    return Case(name, build, shape, examples=8)


def conv(dims: int, *arguments: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(nn, f"Conv{dims}d")(*arguments, **options)


def written(name: str, forward: Callable[[Any, Tensor], Tensor], *sizes: int) -> Case:
    """Linear layers a, b … of these sizes, called by ``forward``."""

    def build() -> nn.Module:
        pairs = zip(sizes[::2], sizes[1::2], strict=True)
        layers = {chr(ord("a") + place): nn.Linear(*pair) for place, pair in enumerate(pairs)}
        return Written(forward, **layers)

    return Case(name, build)


def frozen() -> nn.Module:
    model = nn.Sequential(
        nn.Linear(5, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)
    )
    randomize_batch_norm(model)
    for parameter in (model[0].weight, model[0].bias, model[2].bias, model[3].weight):
        parameter.requires_grad_(False)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    model[2].weight = model[0].weight
    return model


def twice() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.SiLU(), layer, nn.SiLU(), nn.Linear(5, 3))


def _sizes(m: Any, x: Tensor) -> Tensor:
    h = torch.tanh(m.a(x)).view(x.size(0), 2, x.shape[1] - 2)
    h = h.transpose(1, 2).permute(0, 2, 1).unsqueeze(2).squeeze(2)
    return m.b(torch.flatten(h.contiguous().clone(), 1))


KNOWN = (
    *activations(
        nn.ReLU,
        lambda: nn.ReLU(inplace=True),
        lambda: nn.LeakyReLU(0.2),
        nn.ReLU6,
        nn.Hardtanh,
        nn.Tanh,
        nn.Sigmoid,
        nn.GELU,
        lambda: nn.GELU("tanh"),
        nn.SiLU,
        nn.ELU,
        nn.SELU,
        lambda: nn.ELU(0.7, inplace=True),
        nn.CELU,
        nn.Softplus,
        nn.Mish,
        nn.LogSigmoid,
        nn.Softsign,
        nn.Tanhshrink,
        nn.PReLU,
        lambda: nn.LayerNorm(4),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.Softmax(-1),
        nn.Hardswish,
        nn.Identity,
        nn.Dropout,
    ),
    convolutional("conv1d", SIGNAL, conv(1, 2, 3, 3, stride=2, padding=1), nn.Tanh),
    convolutional(
        "conv1d in groups",
        SIGNAL,
        conv(1, 2, 4, 2, padding=1),
        nn.GELU,
        conv(1, 4, 4, 2, groups=2, dilation=2, bias=False),
        nn.ReLU,
    ),
    convolutional(
        "conv2d",
        IMAGE,
        conv(2, 2, 3, 3, padding=1),
        nn.Tanh,
        lambda: nn.MaxPool2d(2),
        conv(2, 3, 4, 2, padding=(1, 0)),
        nn.ReLU,
    ),
    convolutional(
        "conv2d depthwise",
        IMAGE,
        conv(2, 2, 3, (3, 2), stride=(1, 2)),
        nn.SiLU,
        conv(2, 3, 6, 2, groups=3, padding=1),
        nn.Tanh,
    ),
    convolutional(
        "conv2d same",
        IMAGE,
        conv(2, 2, 2, 2, padding="same"),
        nn.Tanh,
        conv(2, 2, 2, 2, padding="same", dilation=2),
    ),
    convolutional(
        "conv2d valid",
        IMAGE,
        conv(2, 2, 2, 2, padding="valid"),
        nn.Tanh,
        conv(2, 2, 2, (3, 2), padding="valid"),
    ),
    *(
        convolutional(
            f"conv2d {mode}",
            IMAGE,
            conv(2, 2, 2, 3, padding=1),
            nn.Tanh,
            conv(2, 2, 2, 3, padding=(1, 2), padding_mode=mode),
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    convolutional(
        "conv3d",
        VOLUME,
        conv(3, 1, 2, 2),
        nn.Tanh,
        lambda: nn.AvgPool3d((1, 2, 1)),
        conv(3, 2, 2, (2, 1, 2), stride=(1, 1, 2), padding=(1, 0, 0)),
    ),
    convolutional(
        "batch norm",
        IMAGE,
        conv(2, 2, 3, 3, bias=False),
        lambda: nn.BatchNorm2d(3),
        nn.ReLU,
        conv(2, 3, 2, 2),
        lambda: nn.BatchNorm2d(2, affine=False),
        nn.Tanh,
    ),
    convolutional("batch norm on the input", IMAGE, lambda: nn.BatchNorm2d(2), conv(2, 2, 2, 3)),
    convolutional(
        "batch norm of signals",
        SIGNAL,
        conv(1, 2, 3, 3),
        lambda: nn.BatchNorm1d(3),
        nn.Tanh,
    ),
    convolutional(
        "overlapping maxima",
        IMAGE,
        conv(2, 2, 3, 2),
        nn.Tanh,
        lambda: nn.MaxPool2d(3, stride=1, padding=1, dilation=1, ceil_mode=True),
        lambda: nn.AdaptiveMaxPool2d((2, 1)),
    ),
    convolutional("max_pool1d", SIGNAL, conv(1, 2, 3, 2), lambda: nn.MaxPool1d(2)),
    convolutional("max_pool3d", VOLUME, conv(3, 1, 2, 2), lambda: nn.MaxPool3d(2, stride=1)),
    convolutional(
        "averages",
        IMAGE,
        conv(2, 2, 3, 2),
        nn.Tanh,
        lambda: nn.AvgPool2d(2, 1, padding=1),
        lambda: nn.ZeroPad2d((1, 0, 2, 0)),
        lambda: nn.AdaptiveAvgPool2d((2, 3)),
    ),
    convolutional(
        "linear on rows", IMAGE, lambda: nn.Linear(5, 3), nn.Tanh, lambda: nn.Linear(3, 2)
    ),
    convolutional("layer norm of images", IMAGE, conv(2, 2, 3, 3), lambda: nn.LayerNorm([3, 4, 3])),
    written(
        "residual", lambda m, x: m.c(x + torch.tanh(m.b(torch.relu(m.a(x))))), 5, 4, 4, 5, 5, 3
    ),
    written(
        "residual of activations",
        lambda m, x: m.b((h := F.silu(m.a(x))) - F.gelu(h) + 0.5),
        5,
        4,
        4,
        3,
    ),
    written("one minus", lambda m, x: m.b(1 - torch.sigmoid(m.a(x) * 2.0) / 3), 5, 4, 4, 3),
    written("concatenated", lambda m, x: m.b(torch.cat([x, m.a(x).tanh()], dim=1)), 5, 4, 9, 3),
    written("negated", lambda m, x: -m.b(F.softplus(-m.a(x), beta=2)), 5, 4, 4, 3),
    written("of sizes", _sizes, 5, 6, 6, 3),
    written(
        "mean of positions",
        lambda m, x: m.b(F.relu(m.a(x.unsqueeze(2))).mean(1) + m.a(x.reshape(-1, 5, 1)).sum((1,))),
        1,
        4,
        4,
        3,
    ),
    written(
        "dropout in eval", lambda m, x: m.b(F.dropout(m.a(x), 0.5, training=m.training)), 5, 4, 4, 3
    ),
    written(
        "pooled by functions",
        lambda m, x: m.b(
            F.avg_pool1d(F.max_pool1d(m.a(x).tanh().unsqueeze(1), 2, 1), 2, 1).flatten(1)
        ),
        5,
        6,
        4,
        3,
    ),
    written(
        "in place",
        lambda m, x: m.b(F.relu(m.a(x), inplace=True).mean(-1, keepdim=True)),
        5,
        4,
        1,
        3,
    ),
    Case("frozen", frozen),
    Case("tied", tied),
    Case("one layer twice", twice),
    Case(
        "single example",
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
        examples=1,
    ),
)
"""Networks all of whose layers have rules."""


class BatchMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Half(torch.autograd.Function):
    """The identity with half its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 2


def _without(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        h = torch.tanh(m.a(x))
    return m.b(h + torch.tanh(m.a(x)))


def _overwritten(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.b(F.relu(h, inplace=True) + h)


def _overwritten_view(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.b(F.relu(h.view(-1, 4), inplace=True) + h)


def with_hook(where: Callable[[nn.Module], nn.Module], kind: str, hook: Any) -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    getattr(where(model), f"register_{kind}")(hook)
    return model


def replaced_forward() -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    model[1].forward = torch.sigmoid
    return model


def in_training() -> nn.Module:
    class Stubborn(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Stubborn:
            return super().train(True)

    return nn.Sequential(nn.Linear(5, 4), Stubborn(4), nn.Linear(4, 3))


UNKNOWN = (
    Case("parts of a batch", lambda: nn.Sequential(nn.Linear(5, 4), BatchMean(), nn.Linear(4, 3))),
    Case(
        "batch statistics",
        lambda: nn.Sequential(
            nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)
        ),
    ),
    Case("in training mode", in_training),
    Case(
        "hook",
        lambda: with_hook(lambda m: m[1], "forward_hook", lambda _, inputs, output: output * 2),
    ),
    Case(
        "backward hook",
        lambda: with_hook(
            lambda m: m[2], "full_backward_hook", lambda _, before, after: (2 * before[0],)
        ),
    ),
    Case("replaced forward pass", replaced_forward),
    Case(
        "weight normalization",
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)
        ),
    ),
    written("own derivative", lambda m, x: m.b(Half.apply(torch.tanh(m.a(x)))), 5, 4, 4, 3),
    written("without gradients", _without, 5, 4, 4, 3),
    written("detached", lambda m, x: m.b(torch.tanh(m.a(x)).detach() + m.a(x)), 5, 4, 4, 3),
    written("overwritten", _overwritten, 5, 4, 4, 3),
    written("overwritten through a view", _overwritten_view, 5, 4, 4, 3),
    written("product of activations", lambda m, x: m.b(m.a(x) * m.a(x).tanh()), 5, 4, 4, 3),
    written("sum with itself", lambda m, x: m.b((h := m.a(x).tanh()) + h), 5, 4, 4, 3),
    written("broadcast", lambda m, x: m.b(m.a(x).tanh() + m.a(x).sum(1, keepdim=True)), 5, 4, 4, 3),
    written("weight used outside", lambda m, x: m.b(F.linear(x, m.a.weight).tanh()), 5, 4, 4, 3),
    written("noise", lambda m, x: m.b(m.a(x) + 0 * torch.randn_like(m.a(x))), 5, 4, 4, 3),
)
"""Networks that only double backward passes differentiate."""
